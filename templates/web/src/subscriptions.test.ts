import type { RemoteTrackPublication } from 'livekit-client';
import { expect, test } from 'vitest';
import { Subscriptions } from './subscriptions';

/** A publication, and what the server was last asked about its track. */
function published(trackSid: string, kind: string, asked: Map<string, boolean>): RemoteTrackPublication {
  return {
    trackSid,
    kind,
    isDesired: false,
    setSubscribed(this: { isDesired: boolean }, wanted: boolean) {
      this.isDesired = wanted;
      asked.set(trackSid, wanted);
    },
  } as unknown as RemoteTrackPublication;
}

test.each(['audio', 'video'])('after a full reconnect, %s stays subscribed', (kind) => {
  const asked = new Map<string, boolean>();
  const subscriptions = new Subscriptions();
  subscriptions.want([published('TR_1', kind, asked)], 0);
  const again = published('TR_1', kind, asked);
  subscriptions.want([again], 1000);
  subscriptions.want([again], 60_000);
  expect(asked.get('TR_1')).toBe(true);
});

test('sound that is wanted no more is let go at once, a picture after a while', () => {
  const asked = new Map<string, boolean>();
  const subscriptions = new Subscriptions();
  subscriptions.want([published('TR_a', 'audio', asked), published('TR_v', 'video', asked)], 0);
  subscriptions.want([], 1000);
  expect([asked.get('TR_a'), asked.get('TR_v')]).toEqual([false, true]);
  subscriptions.want([], 40_000);
  expect(asked.get('TR_v')).toBe(false);
});
