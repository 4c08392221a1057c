import { type RemoteParticipant, type RemoteTrack, type Room, RoomEvent, Track } from 'livekit-client';

// Chrome holds sound for as long as the network jitters and plays it a little later still, while it
// shows pictures at once: unaligned, lips are 50 to 110 ms ahead. What is heard and seen together
// comes from a picture that is held as long as its sound.
//
// Milliseconds. behind is what a picture has to be held longer than its sound, and first is how long
// in all until the sound has been measured, both as they come out right in recordings.
const behind = 45;
const first = 108;
const most = 1000;
const unheard = 15;

const every = 1000;
// Asking for statistics is not free: in a large room, so many sounds at a time.
const perRound = 5;

/** How long the jitter buffer held what came out of it between two looks, in milliseconds. */
export class Held {
  private delay = 0;
  private count = 0;

  /** Takes the counters of RTCInboundRtpStreamStats; undefined when nothing came out since the last look. */
  next(delay: number, count: number): number | undefined {
    const held = count > this.count ? ((delay - this.delay) / (count - this.count)) * 1000 : undefined;
    this.delay = delay;
    this.count = count;
    return held;
  }
}

/** How long to hold a picture, or undefined when it is near enough: every change shows as a hitch. */
export function target(held: number, now: number): number | undefined {
  const wanted = Math.min(Math.round(held) + behind, most);
  return Math.abs(wanted - now) < unheard ? undefined : wanted;
}

// Chrome decodes on a beat of 64 Hz and draws on one of 60. Of a video of 30 frames a second whose
// frames come due just where the two meet, four a second are dropped, for as long as it stays there.
// Held half a beat longer, it is out of the way.
const halfBeat = 8;
const beating = { least: 3, most: 8 };
const roundsUntilShift = 2;

/** Watches the frames that a video element drops, and tells when the beat of drops is there to stay. */
export class Beat {
  private dropped = 0;
  private total = 0;
  private rounds = 0;

  /** Takes the counters of VideoPlaybackQuality, once a second. */
  persists(dropped: number, total: number): boolean {
    const lost = dropped - this.dropped;
    const shown = total - this.total;
    this.dropped = dropped;
    this.total = total;
    const beats = shown >= 24 && lost >= beating.least && lost <= beating.most;
    this.rounds = beats ? this.rounds + 1 : 0;
    if (this.rounds < roundsUntilShift) return false;
    this.rounds = 0;
    return true;
  }
}

interface Sound {
  track: RemoteTrack;
  participant: RemoteParticipant;
  held: Held;
}

/** Aligns every participant's pictures with the sound they belong to. */
export class LipSync {
  private readonly sounds: Sound[] = [];
  private readonly targets = new WeakMap<RTCRtpReceiver, number>();
  private readonly shifted = new WeakSet<RTCRtpReceiver>();
  private readonly beats = new WeakMap<HTMLVideoElement, Beat>();
  private readonly receivers = new WeakMap<MediaStreamTrack, RTCRtpReceiver>();

  constructor(room: Room) {
    room.on(RoomEvent.TrackSubscribed, (track, _, participant) => {
      if (track.kind === Track.Kind.Audio) this.sounds.push({ track, participant, held: new Held() });
      else this.hold(track, first);
    });
    room.on(RoomEvent.TrackUnsubscribed, (track) => {
      const at = this.sounds.findIndex((s) => s.track === track);
      if (at >= 0) this.sounds.splice(at, 1);
    });
    setInterval(() => void this.round(), every);
  }

  private async round(): Promise<void> {
    document.querySelectorAll('video').forEach((v) => this.stepOffBeat(v));
    const some = this.sounds.splice(0, perRound);
    this.sounds.push(...some);
    await Promise.all(some.map((s) => this.align(s)));
  }

  private async align({ track, participant, held }: Sound): Promise<void> {
    const picture = participant.getTrackPublication(pictureOf(track.source))?.track as RemoteTrack | undefined;
    const now = picture?.receiver && this.targets.get(picture.receiver);
    if (!picture || now === undefined) return;
    const stats = await track.receiver?.getStats();
    stats?.forEach((s: RTCInboundRtpStreamStats) => {
      if (s.type !== 'inbound-rtp') return;
      const ms = held.next(s.jitterBufferDelay ?? 0, s.jitterBufferEmittedCount ?? 0);
      const next = ms === undefined ? undefined : target(ms, now);
      if (next !== undefined) this.hold(picture, next);
    });
  }

  private stepOffBeat(video: HTMLVideoElement): void {
    const track = (video.srcObject as MediaStream | null)?.getVideoTracks()[0];
    const receiver = track && this.receivers.get(track);
    if (!receiver) return;
    const beat = this.beats.get(video) ?? new Beat();
    this.beats.set(video, beat);
    const { droppedVideoFrames, totalVideoFrames } = video.getVideoPlaybackQuality();
    if (!beat.persists(droppedVideoFrames, totalVideoFrames)) return;
    if (!this.shifted.delete(receiver)) this.shifted.add(receiver);
    this.apply(receiver);
  }

  private hold(picture: RemoteTrack, ms: number): void {
    const receiver = picture.receiver;
    // Other browsers than Chrome may not have it, nor need it.
    if (!receiver || !('jitterBufferTarget' in receiver)) return;
    this.receivers.set(picture.mediaStreamTrack, receiver);
    this.targets.set(receiver, ms);
    this.apply(receiver);
  }

  private apply(receiver: RTCRtpReceiver): void {
    receiver.jitterBufferTarget = (this.targets.get(receiver) ?? first) + (this.shifted.has(receiver) ? halfBeat : 0);
  }
}

function pictureOf(sound: Track.Source): Track.Source {
  return sound === Track.Source.ScreenShareAudio ? Track.Source.ScreenShare : Track.Source.Camera;
}
