// A page as LiveKit's documentation has people write them: everything it knows
// of its recorder comes from the SDK.
import EgressHelper from "@livekit/egress-sdk";
import { Room, RoomEvent } from "livekit-client";

const room = new Room({ adaptiveStream: { pixelDensity: 1 } });
EgressHelper.setRoom(room);

function show(layout) {
  document.body.className = layout;
  document.querySelector("h1").textContent = layout;
}

room.on(RoomEvent.TrackSubscribed, (track) => {
  const element = track.attach();
  document.querySelector("main").append(element);
  if (track.kind === "video") {
    element.requestVideoFrameCallback(() => EgressHelper.startRecording());
  }
});
room.on(RoomEvent.TrackUnsubscribed, (track) => track.detach().forEach((e) => e.remove()));

EgressHelper.onLayoutChanged(show);
show(EgressHelper.getLayout());
await room.connect(EgressHelper.getLiveKitURL(), EgressHelper.getAccessToken());
