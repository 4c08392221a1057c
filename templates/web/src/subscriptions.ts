import type { RemoteTrackPublication } from 'livekit-client';

// Whoever comes back soon need not be negotiated anew; adaptive stream pauses the track meanwhile.
const keep = 30_000;

/** Subscribes to what the page shows and plays, and to nothing else. */
export class Subscriptions {
  private readonly unwantedSince = new Map<RemoteTrackPublication, number>();
  private wanted = new Set<RemoteTrackPublication>();

  /** Asks for exactly these; pictures that are wanted no more are let go after a while. */
  want(publications: Iterable<RemoteTrackPublication>, now: number): void {
    const wanted = new Set(publications);
    for (const p of wanted) {
      this.unwantedSince.delete(p);
      if (!p.isDesired) p.setSubscribed(true);
    }
    for (const p of this.wanted) if (!wanted.has(p)) this.unwantedSince.set(p, now);
    this.wanted = wanted;
    // A full reconnect gives every track a new publication. Letting go of the old one would take the
    // track from the new one, too: the server knows tracks only.
    const sids = new Set([...wanted].map((p) => p.trackSid));
    for (const [p, since] of this.unwantedSince) {
      const again = sids.has(p.trackSid);
      if (!again && p.kind === 'video' && now - since < keep) continue;
      this.unwantedSince.delete(p);
      if (!again && p.isDesired) p.setSubscribed(false);
    }
  }
}
