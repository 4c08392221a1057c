import { expect, test } from 'vitest';
import type { Person } from './people';
import { Unannounced } from './unannounced';

/** Somebody whose microphone is as loud as level says, and how often that was looked at. */
function somebody(id: string, level: () => number) {
  const looks = { count: 0 };
  const receiver = {
    getStats: () => {
      looks.count++;
      return Promise.resolve(new Map([['x', { type: 'inbound-rtp', audioLevel: level(), packetsReceived: level() < 0 ? 0 : 50 }]]));
    },
  };
  const microphone = { trackSid: `TR_${id}`, isMuted: false, track: { receiver } };
  return { person: { id, name: id, muted: false, screens: [], microphone } as unknown as Person, looks };
}
const none = new Set<string>();

test('whoever speaks all along is found, until silent', async () => {
  let level = 0.2;
  const voices = new Unannounced();
  const ada = somebody('ada', () => level);
  for (let i = 0; i < 30; i++) expect(await voices.look([ada.person], none)).toEqual(['ada']);
  level = 0;
  expect(await voices.look([ada.person], none)).toEqual([]);
});
test('the silent are not looked at for long', async () => {
  const voices = new Unannounced();
  const bob = somebody('bob', () => 0.001);
  for (let i = 0; i < 30; i++) expect(await voices.look([bob.person], none)).toEqual([]);
  expect(bob.looks.count).toBe(5);
});
test('sound that comes late is waited for', async () => {
  let level = -1;
  const voices = new Unannounced();
  const zoe = somebody('zoe', () => level);
  for (let i = 0; i < 30; i++) expect(await voices.look([zoe.person], none)).toEqual([]);
  level = 0.1;
  expect(await voices.look([zoe.person], none)).toEqual(['zoe']);
});
test('whom the server announces is its business from then on', async () => {
  const voices = new Unannounced();
  const eve = somebody('eve', () => 0.5);
  expect(await voices.look([eve.person], none)).toEqual(['eve']);
  expect(await voices.look([eve.person], new Set(['eve']))).toEqual([]);
  expect(await voices.look([eve.person], none)).toEqual([]);
  expect(eve.looks.count).toBe(1);
});
