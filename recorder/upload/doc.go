// Package upload is the spool and where it goes: S3, Google Cloud Storage, Azure,
// OSS, presigned PUT, local directory.
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
//	    segments-N/      what the pipeline writes of an HLS stream; images-N/ alike
//	    delivered-….jsonl  which files of a series are where
//	    job.log, *.png   for diagnosis
//
// The order of every delivery is: hash, send, verify, note that in
// upload-N.json, send the manifest, save recording.json, and only then remove
// the media. A process may be killed between any two of these steps; the next
// one repeats at most the step that was interrupted.
//
// A series goes the same way file by file, from its first closed file on, and a
// playlist only when all that it names is verified. What a storage refuses goes
// to the backup: a file alone, a series as a whole.
package upload
