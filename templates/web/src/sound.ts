import type { RemoteTrack, RemoteTrackPublication } from 'livekit-client';

interface Playing {
  track: RemoteTrack;
  source: MediaStreamTrack;
  element: HTMLAudioElement;
}

/**
 * Plays every sound of the room. Plain elements, one for each: they play what WebRTC has already
 * aligned with the pictures, while an AudioContext would add a delay of its own.
 */
export class Sounds {
  private readonly playing = new Map<string, Playing>();
  private warned = false;

  /** Plays exactly these. */
  play(publications: RemoteTrackPublication[]): void {
    const wanted = new Map(publications.map((p) => [p.trackSid, p.track]));
    for (const [sid, { source, element }] of this.playing) {
      if (wanted.get(sid)?.mediaStreamTrack === source) continue;
      element.srcObject = null;
      this.playing.delete(sid);
    }
    for (const [sid, track] of wanted) {
      if (track && !this.playing.has(sid)) this.playing.set(sid, this.start(track));
    }
  }

  /** Reports whether a packet of sound has arrived yet. */
  heard(): boolean {
    return [...this.playing.values()].some(({ track }) => (track.receiver?.getSynchronizationSources().length ?? 0) > 0);
  }

  /** The tracks that are played. */
  tracks(): MediaStreamTrack[] {
    return [...this.playing.values()].map(({ source }) => source);
  }

  private start(track: RemoteTrack): Playing {
    const element = new Audio();
    element.autoplay = true;
    element.srcObject = new MediaStream([track.mediaStreamTrack]);
    element.play().catch((cause: Error) => {
      // An element that is taken away while it starts is no fault.
      if (cause.name === 'AbortError' || this.warned) return;
      this.warned = true;
      console.warn(`the room's sound cannot be played: ${cause.name}; start Chrome with --autoplay-policy=no-user-gesture-required`);
    });
    return { track, source: track.mediaStreamTrack, element };
  }
}
