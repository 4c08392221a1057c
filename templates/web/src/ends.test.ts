import { DisconnectReason } from 'livekit-client';
import { expect, test } from 'vitest';
import { Patience, endOf, reconnectLimit } from './ends';

test.each([
  [DisconnectReason.ROOM_DELETED, 'room_closed'],
  [DisconnectReason.ROOM_CLOSED, 'room_empty'],
  [DisconnectReason.PARTICIPANT_REMOVED, 'recorder_removed'],
  [DisconnectReason.DUPLICATE_IDENTITY, 'recorder_removed'],
  [DisconnectReason.SERVER_SHUTDOWN, undefined],
  [DisconnectReason.STATE_MISMATCH, undefined],
  [DisconnectReason.SIGNAL_CLOSE, undefined],
  [DisconnectReason.UNKNOWN_REASON, undefined],
  [undefined, undefined],
])('reason %s', (reason, end) => expect(endOf(reason)).toBe(end));

test('reconnecting is quick at first and bounded in all', () => {
  const policy = new Patience();
  let elapsedMs = 0;
  let retryCount = 0;
  for (;;) {
    const delay = policy.nextRetryDelayInMs({ retryCount, elapsedMs });
    if (delay === null) break;
    expect(delay).toBeLessThanOrEqual(3000);
    elapsedMs += delay + 10;
    retryCount++;
  }
  expect(policy.nextRetryDelayInMs({ retryCount: 0, elapsedMs: 0 })).toBe(0);
  expect(elapsedMs).toBeLessThanOrEqual(reconnectLimit);
  expect(elapsedMs).toBeGreaterThan(reconnectLimit - 4000);
  expect(retryCount).toBeGreaterThan(8);
});
