import { DisconnectReason, Room, RoomEvent } from 'livekit-client';
import { connectOnce, type Refusal } from './connect';
import { Patience, endOf, reconnectLimit } from './ends';
import { LipSync } from './lipsync';
import type { Markers } from './markers';
import type { Params } from './params';
import { isChosen, isPart, isPerson } from './people';

// A page that cannot join says so after so many milliseconds, while most control planes still wait.
const connectLimit = 12_000;
const connectPause = 500;

/** The connection to the room, from the first attempt to the end of the recording. */
export class Session {
  readonly room = new Room({ adaptiveStream: { pixelDensity: 1 }, reconnectPolicy: new Patience() });
  private lost?: { timer: ReturnType<typeof setTimeout>; until: number };
  private rejoining = false;
  private joined = false;
  private empty?: ReturnType<typeof setTimeout>;

  constructor(
    private readonly params: Params,
    private readonly markers: Markers,
  ) {
    this.room
      .on(RoomEvent.Disconnected, (reason) => void this.disconnected(reason))
      .on(RoomEvent.Reconnecting, () => this.losing())
      .on(RoomEvent.SignalReconnecting, () => this.losing())
      .on(RoomEvent.Reconnected, () => this.found())
      .on(RoomEvent.Connected, () => this.found());
    new LipSync(this.room);
    for (const event of [RoomEvent.ParticipantConnected, RoomEvent.ParticipantDisconnected, RoomEvent.TrackPublished, RoomEvent.TrackUnpublished] as const) {
      this.room.on(event, () => this.watchEmpty());
    }
  }

  /** Joins the room, or says why it cannot. */
  async open(): Promise<void> {
    const refusal = await this.connect(Date.now() + connectLimit);
    if (refusal) this.markers.fail(refusal.text);
  }

  private async connect(until: number): Promise<Refusal | undefined> {
    for (;;) {
      const refusal = await connectOnce(this.room, this.params);
      if (!refusal || !refusal.again || this.markers.over || Date.now() + connectPause > until) return refusal;
      await new Promise((resolve) => setTimeout(resolve, connectPause));
    }
  }

  /** Begins the time in which the connection has to come back. The recording goes on meanwhile. */
  private losing(): void {
    this.lost ??= {
      timer: setTimeout(() => this.markers.end('connection_lost'), reconnectLimit),
      until: Date.now() + reconnectLimit,
    };
    this.watchEmpty();
  }

  private found(): void {
    this.joined = true;
    clearTimeout(this.lost?.timer);
    this.lost = undefined;
    this.watchEmpty();
  }

  /** Takes the end of a connection, or of an attempt to make one. */
  private async disconnected(reason: DisconnectReason | undefined): Promise<void> {
    const end = endOf(reason);
    if (end) {
      this.markers.end(end);
      this.markers.fail(`the room could not be recorded: ${end}`, end);
    } else if (this.joined && reason !== DisconnectReason.CLIENT_INITIATED) {
      this.markers.fail('the connection to the LiveKit server was lost before the recording began'); // which may be tried again
    }
    if (!this.markers.started || this.rejoining || reason === DisconnectReason.CLIENT_INITIATED) return;
    this.losing();
    this.rejoining = true;
    const refusal = await this.connect(this.lost!.until);
    this.rejoining = false;
    if (refusal) this.markers.end('connection_lost');
  }

  /** Reports whether anybody is there to be recorded: of all of a room a person, else whoever was chosen. */
  private attended(): boolean {
    const { only } = this.params;
    return [...this.room.remoteParticipants.values()].some((p) => isChosen(p, only) && (isPart(only) || isPerson(p)));
  }

  /** Reports whether the recording is of somebody or something that is not there. */
  absent(): boolean {
    return isPart(this.params.only) && !this.attended();
  }

  /** Gives up waiting for whom the recording is of. */
  giveUp(): void {
    const { identity, audioTrack, videoTrack } = this.params.only;
    const tracks = [audioTrack, videoTrack].filter((t) => t !== undefined).join(' or ');
    const what = identity ? `participant "${identity}"${tracks && ` with track ${tracks}`}` : `track ${tracks}`;
    this.markers.fail(`${what} is not in the room, and did not come within the start_timeout of ${(this.params.startTimeout ?? 0) / 1000} s`, 'absent');
  }

  /** Ends the recording when those who are recorded have been away for long enough. */
  watchEmpty(): void {
    // Without a connection nobody can say who is there.
    if (this.attended() || !this.markers.started || this.lost !== undefined) {
      clearTimeout(this.empty);
      this.empty = undefined;
      return;
    }
    this.empty ??= setTimeout(() => this.markers.end('room_empty'), this.params.emptyTimeout);
  }
}
