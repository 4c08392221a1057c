import type { RemoteVideoTrack } from 'livekit-client';
import type { Media } from './people';

/** What a track is shown by, as adaptive stream sees it: always visible, and as large as its tile. */
class Shown {
  readonly visible = true;
  readonly pictureInPicture = false;
  visibilityChangedAt: number | undefined;
  handleResize?: () => void;
  handleVisibilityChanged?: () => void;

  constructor(
    readonly element: HTMLVideoElement,
    private readonly size: { width: number; height: number },
  ) {}

  width = (): number => this.size.width;
  height = (): number => this.size.height;
  observe(): void {}
  stopObserving(): void {}
}

// A picture may be cut to fill its tile as long as more than half of it is left: a usual camera's
// fills a square, and one of a telephone held upright is shown whole in a wide tile.
const mostCut = 1.8;

// Chrome's software compositor draws a picture that it need not scale in half the time (measured:
// 6.3 instead of 13 % of a processor for three tiles of 640x360 at 30 fps on a page of 1280x720). So a
// picture that is a little too large for its tile is cut rather than made smaller.
const leastScale = 0.93;

/**
 * The place of one picture. A new track's picture lies under the last one's until it is painted, so
 * that nothing is ever blank between them. The elements have streams of their own, because LiveKit's
 * attach would empty them when the connection is lost, and then the last picture is to stay.
 */
export class VideoSlot {
  private media?: Media;
  private track?: RemoteVideoTrack;
  private source?: MediaStreamTrack;
  private info?: Shown;
  private readonly size = { width: 0, height: 0 };
  private whole = false;

  constructor(
    private readonly host: HTMLElement,
    private readonly onPainted: (track: RemoteVideoTrack) => void,
  ) {}

  /** Sets how large the place is, and whether the picture may be cut. */
  resize(width: number, height: number, whole: boolean): void {
    this.size.width = width;
    this.size.height = height;
    this.whole = whole;
    this.host.querySelectorAll('video').forEach((v) => this.fit(v));
    this.ask();
  }

  /**
   * Shows a picture, or, with none, empties the place at once. One without its track yet, as after a
   * reconnect, leaves what was there.
   */
  show(media: Media | undefined): void {
    const track = media?.track;
    if (track === this.track && track?.mediaStreamTrack === this.source) return;
    this.release();
    this.media = media;
    this.track = track;
    this.source = track?.mediaStreamTrack;
    if (!track || !this.source) {
      if (!media) this.drop(this.host.querySelectorAll('video'));
      return;
    }
    const video = document.createElement('video');
    video.muted = true;
    video.autoplay = true;
    video.disablePictureInPicture = true;
    video.srcObject = new MediaStream([this.source]);
    video.addEventListener('resize', () => this.fit(video));
    this.host.prepend(video);
    this.info = new Shown(video, this.size);
    this.ask();
    track.observeElementInfo(this.info);
    this.awaitFrame(video, track);
  }

  close(): void {
    this.show(undefined);
  }

  private release(): void {
    if (this.track && this.info) this.track.stopObservingElementInfo(this.info);
    this.info = undefined;
  }

  /**
   * Asks for the layer that fills the place. Adaptive stream does so a moment later, and until then it
   * asks for the largest: of a full room, that is more than can be decoded.
   */
  private ask(): void {
    if (!this.info || !this.size.width) return;
    this.media?.publication.setVideoDimensions({ ...this.size });
    this.info.handleResize?.();
  }

  private awaitFrame(video: HTMLVideoElement, track: RemoteVideoTrack): void {
    video.requestVideoFrameCallback(() => {
      if (!video.isConnected) return;
      this.fit(video);
      // The frame is on its way to the screen; with the next one it is there.
      requestAnimationFrame(() => {
        if (!video.isConnected || this.track !== track) return;
        this.drop([...this.host.querySelectorAll('video')].filter((v) => v !== video));
        this.onPainted(track);
      });
    });
  }

  private drop(videos: Iterable<HTMLVideoElement>): void {
    for (const video of [...videos]) {
      video.remove();
      video.srcObject = null;
    }
  }

  private fit(video: HTMLVideoElement): void {
    const { videoWidth, videoHeight } = video;
    if (!videoWidth || !videoHeight || !this.size.height) return;
    const mismatch = videoWidth / videoHeight / (this.size.width / this.size.height);
    const cut = !this.whole && Math.max(mismatch, 1 / mismatch) <= mostCut;
    const scale = Math.max(this.size.width / videoWidth, this.size.height / videoHeight);
    video.style.objectFit = !cut ? 'contain' : scale <= 1 && scale >= leastScale ? 'none' : 'cover';
  }
}
