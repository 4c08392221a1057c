import type { Person } from './people';

// -35 dB is where LiveKit's server, too, begins to call it speaking.
const audible = 10 ** (-35 / 20);
const trials = 5;

/**
 * Finds those who were speaking before we came. The server tells who speaks when a level changes;
 * of somebody who goes on evenly, it tells a newcomer nothing. So everybody is listened to for a
 * moment, and whoever speaks until silent, or until the server has taken over.
 */
export class Unannounced {
  private readonly tried = new Map<string, number>();
  private loud = new Set<string>();

  /** Gives the identities of those who speak, besides the announced ones. */
  async look(people: Person[], announced: ReadonlySet<string>): Promise<string[]> {
    const found = new Set<string>();
    for (const { id, microphone } of people) {
      const receiver = microphone?.track?.receiver;
      if (!microphone || !receiver || microphone.isMuted) continue;
      const tried = this.tried.get(microphone.trackSid) ?? 0;
      // What the server has announced once, it will announce again.
      if (announced.has(id)) this.tried.set(microphone.trackSid, trials);
      if (announced.has(id) || (tried >= trials && !this.loud.has(id))) continue;
      const level = await levelOf(receiver);
      if (level === undefined) continue;
      this.tried.set(microphone.trackSid, tried + 1);
      if (level >= audible) found.add(id);
    }
    this.loud = found;
    return [...found];
  }
}

/** How loud it is at present, 0 to 1; undefined before anything has arrived. */
async function levelOf(receiver: RTCRtpReceiver): Promise<number | undefined> {
  for (const entry of (await receiver.getStats()).values()) {
    const stats = entry as RTCInboundRtpStreamStats;
    if (stats.type === 'inbound-rtp') return stats.packetsReceived ? stats.audioLevel : undefined;
  }
  return undefined;
}
