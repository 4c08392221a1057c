/** When a recording may start; all times in milliseconds. */
export class Start {
  private connectedAt?: number;
  private expected = { picture: false, sound: false };
  private paintedAt?: number;
  private soundArrived = false;
  private absent = false;

  // A room where nobody publishes is recorded all the same, and so is one whose media do not come.
  static readonly emptyWait = 3000;
  static readonly mediaWait = 8000;
  // The first picture is shown at once and stands until those after it have been held as long as their
  // sound, and the other tiles get theirs meanwhile: a recording begins when the picture moves.
  static readonly settling = 200;
  // So long before its recorder loses patience a page gives up, so as to say why.
  static readonly notice = 2000;

  /** limit: since the page was opened, how long its recorder waits for whom it records; unset: not. */
  constructor(private readonly limit?: number) {}

  connected(now: number): void {
    this.connectedAt ??= now;
  }

  /** Says what the room has that could arrive: an unmuted picture with a tile, an unmuted sound. */
  expect(picture: boolean, sound: boolean): void {
    this.expected = { picture, sound };
  }

  /** Says whether the participant, or the track, that alone is recorded has not come yet. */
  await(absent: boolean, now: number): void {
    if (this.limit === undefined) return;
    if (this.absent && !absent) this.connectedAt = now; // their media are waited for from here on
    this.absent = absent;
  }

  /** A picture was painted. */
  painted(now: number): void {
    this.paintedAt ??= now;
  }

  /** The first sound came. */
  heard(): void {
    this.soundArrived = true;
  }

  /**
   * Reports whether the recording is to start now, and whether for want of what was expected; or whether
   * it is not to be, for want of whom it is of. now counts from the page's opening.
   */
  due(now: number): { start: boolean; missing?: boolean; vain?: boolean } {
    if (this.connectedAt === undefined) return { start: false };
    if (this.absent && this.limit !== undefined) return { start: false, vain: now >= Math.max(this.limit - Start.notice, this.limit / 2) };
    const since = now - this.connectedAt;
    if (this.paintedAt !== undefined) return { start: now - this.paintedAt >= Start.settling };
    if (this.soundArrived && !this.expected.picture) return { start: true };
    if (this.expected.picture || this.expected.sound) {
      return since >= Start.mediaWait ? { start: true, missing: true } : { start: false };
    }
    return { start: since >= Start.emptyWait };
  }
}
