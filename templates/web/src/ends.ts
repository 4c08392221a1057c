import { DisconnectReason, type ReconnectContext, type ReconnectPolicy } from 'livekit-client';

/** Why a recording ends, as END_RECORDING says it. */
export type End = 'room_closed' | 'room_empty' | 'recorder_removed' | 'connection_lost';

/** Why there is no recording: an end, or whom it is of did not come. */
export type NoStart = End | 'absent';

/**
 * What a disconnection means: an end, or undefined when connecting again may help. Nothing can help
 * when somebody decided that the recorder, or the whole room, goes.
 */
export function endOf(reason: DisconnectReason | undefined): End | undefined {
  switch (reason) {
    case DisconnectReason.ROOM_DELETED:
      return 'room_closed';
    case DisconnectReason.ROOM_CLOSED: // by the server itself, when nobody but recorders was left
      return 'room_empty';
    case DisconnectReason.PARTICIPANT_REMOVED:
    case DisconnectReason.DUPLICATE_IDENTITY:
      return 'recorder_removed';
    default:
      return undefined;
  }
}

/** How long a lost connection may take to come back, in milliseconds. */
export const reconnectLimit = 30_000;

/** Tries at once, then ever more slowly, and at least every 3 s, until the limit. */
export class Patience implements ReconnectPolicy {
  nextRetryDelayInMs({ retryCount, elapsedMs }: Pick<ReconnectContext, 'retryCount' | 'elapsedMs'>): number | null {
    const delay = Math.min(3000, retryCount * retryCount * 250);
    return elapsedMs + delay < reconnectLimit ? delay : null;
  }
}
