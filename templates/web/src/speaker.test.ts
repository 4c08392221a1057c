import { expect, test } from 'vitest';
import { follow, noHold, type Hold } from './speaker';

/** Plays a conversation, one step per 100 ms, and gives who was shown at each. */
function play(steps: [count: number, ...speaking: string[]][], present = ['a', 'b', 'c']): string[] {
  const shown: string[] = [];
  let hold: Hold = noHold;
  let now = 0;
  for (const [count, ...speaking] of steps) {
    for (let i = 0; i < count; i++, now += 100) {
      hold = follow(hold, present, speaking, now).hold;
      shown.push(hold.current ?? '-');
    }
  }
  return shown;
}

test('the first who is there is shown until somebody speaks', () => expect(new Set(play([[50]]))).toEqual(new Set(['a'])));
test('nobody there', () => expect(play([[1, 'a']], [])).toEqual(['-']));
test('a speaker is followed', () => expect(play([[30], [10, 'b']]).at(-1)).toBe('b'));
test('the first speaker is shown as soon as the words are more than a cough', () => {
  const shown = play([[3], [10, 'b']]);
  expect(shown.indexOf('b')).toBe(6);
});
test('the last one who spoke stays', () => expect(play([[30], [10, 'b'], [100]]).at(-1)).toBe('b'));
test('a cough moves nothing', () => expect(play([[30, 'a'], [3, 'b'], [30, 'a']])).not.toContain('b'));
test('somebody louder for long is shown', () => {
  const shown = play([[30, 'a'], [30, 'b', 'a']]);
  expect(shown.indexOf('b')).toBe(50);
});
test('two in quick turn do not make the picture flicker', () => {
  const turns = Array.from({ length: 40 }, (_, i): [number, string] => [4, i % 2 ? 'a' : 'b']);
  const shown = play(turns);
  const cuts = shown.filter((who, i) => i > 0 && who !== shown[i - 1]).length;
  expect(cuts).toBeLessThanOrEqual(shown.length / 15);
});
test('when the one shown leaves, the loudest follows at once', () => {
  const { hold } = follow({ current: 'a', since: 0, rivalSince: 0 }, ['b', 'c'], ['c', 'b'], 10);
  expect(hold.current).toBe('c');
});
test('again tells when a change is due without an event', () => {
  const hold: Hold = { current: 'a', since: 0, rivalSince: 0 };
  const first = follow(hold, ['a', 'b'], ['b'], 5000);
  expect(first).toMatchObject({ hold: { current: 'a' }, again: 300 });
  expect(follow(first.hold, ['a', 'b'], ['b'], 5300)).toEqual({ hold: { current: 'b', since: 5300, rivalSince: 5300 } });
});
