// Somebody in the room, with LiveKit's client: tells the page's server whether
// the room is said to be recorded, now and whenever that changes.
import { Room, RoomEvent } from "livekit-client";

const query = new URLSearchParams(location.search);
const tell = (what) => fetch("/told", { method: "POST", body: JSON.stringify(what) });
const room = new Room();
room.on(RoomEvent.RecordingStatusChanged, (recording) => tell({ changed: recording, is: room.isRecording }));
room.on(RoomEvent.Disconnected, () => tell({ left: true }));
await room.connect(query.get("url"), query.get("token"));
await tell({ joined: true, is: room.isRecording });
