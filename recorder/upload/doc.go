// Package upload is the spool and where it goes: S3, presigned PUT, local
// directory.
//
// A recording lives in the spool from its first byte until a verified copy of
// it is elsewhere. One directory per attempt:
//
//	<spool>/<job id>-<attempt>/
//	    lock             flock of the process that works on the entry
//	    task.json        the job, secrets included (mode 0600)
//	    recording.json   its state as last saved
//	    media-N.ext      what the pipeline writes
//	    upload-N.json    how far the upload of media-N came
//	    job.log, *.png   for diagnosis
//
// The order of every delivery is: hash, send, verify, note that in
// upload-N.json, send the manifest, save recording.json, and only then remove
// the media. A process may be killed between any two of these steps; the next
// one repeats at most the step that was interrupted.
package upload
