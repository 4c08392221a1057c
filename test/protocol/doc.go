// Package protocol is a model of how a job keeps one owner and its file one uploader: the
// lease in Redis, the takeover, the fences, and the completion of an upload on S3. Its test
// searches every state that the model can reach within its bounds, in the manner of TLC.
//
// One job with one file output, two or three workers. The file has three parts of an
// upload: the first holds the header and changes when the file is finalised, the second
// holds media, the third is there when the file is finalised.
//
// A worker may stand still between any two steps for as long as the others like, which
// is what a frozen process, a slow machine, a cut to Redis or to S3 amount to; so these are
// no actions of their own. An exchange whose answer is lost is one: the server did
// what was asked, and the worker does not know. A lease may lapse at any moment.
//
//	in the model              in the code
//	claim                     recorder/queue/scripts/take.lua, Queue.take
//	adopt                     take.lua in mode 'adopt', Queue.Adopt; Worker.recoverEntry
//	heartbeat                 renew.lua, and restore.lua where the state was forgotten
//	reportActive, note        report.lua, note.lua
//	finish                    finish.lua in mode 'lease', lease.Finish
//	amend                     amend.lua, Queue.Amend
//	look, reap                reaper.strays, Queue.reap: finish.lua in mode 'rev'; a rescue there is a claim
//	standing                  standing_of in prelude.lua
//	begin                     s3Store.claim in recorder/upload/grow_begin.go
//	send                      growth.send, growth.sendRest
//	complete                  growth.finish, s3Store.completeOf
//	put                       entry.Deliver of a file that is not uploaded in parts, or whose upload is gone
//	list, rescue              wreck.salvage, wreck.prefix, wreck.found in recorder/upload/rescue.go
package protocol
