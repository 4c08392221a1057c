// A viewer with hls.js: plays a playlist, and tells the page's server how that
// goes. What is played fast (rate) shows all of it in less time.
import Hls from "hls.js";

const query = new URLSearchParams(location.search);
const tell = (what) => fetch("/told", { method: "POST", body: JSON.stringify({ play: query.get("name"), ...what }) });
const video = document.querySelector("video");
const hls = new Hls({ startPosition: 0, enableWorker: false });

hls.on(Hls.Events.ERROR, (_, data) => tell({ error: `${data.type} ${data.details} ${data.error?.message ?? ""}`, fatal: data.fatal }));
hls.on(Hls.Events.LEVEL_LOADED, (_, { details }) =>
  tell({ live: details.live, segments: details.fragments.length, total: details.totalduration, date: details.fragments[0]?.programDateTime }),
);
hls.on(Hls.Events.MANIFEST_PARSED, async () => {
  video.playbackRate = Number(query.get("rate") ?? 1);
  await video.play();
});
let told = -1;
video.addEventListener("timeupdate", () => {
  if (Math.floor(video.currentTime) === told) return;
  told = Math.floor(video.currentTime);
  const { totalVideoFrames } = video.getVideoPlaybackQuality();
  tell({ at: video.currentTime, frames: totalVideoFrames, width: video.videoWidth, height: video.videoHeight });
});
video.addEventListener("ended", () => tell({ ended: true, at: video.currentTime }));
hls.loadSource(query.get("src"));
hls.attachMedia(video);
