import { expect, test } from 'vitest';
import { avatarColors, colorOf, initials } from './name';

test.each([
  ['Ada Lovelace', 'A\u200cL'],
  ['ada', 'A'],
  ['Jean-Luc M. Picard', 'J\u200cP'],
  ['山田太郎', '山'],
  ['山田 太郎', '山'],
  ['محمد علي', 'م\u200cع'],
  ['क्षितिज शर्मा', 'क्षि\u200cश'],
  ['👩🏽‍🚀 Zoë', '👩🏽‍🚀'],
  ['guest (2)', 'G\u200c('],
  ['Guest 7', 'G\u200c7'],
  ['Guest 12', 'G\u200c12'],
  ['user-7f3a', 'U\u200c7'],
  ['???', '?'],
  ['', ''],
])('initials of %s', (name, want) => expect(initials(name)).toBe(want));

test('colours are stable and all in use', () => {
  expect(colorOf('ada')).toBe(colorOf('ada'));
  const seen = new Set(Array.from({ length: 200 }, (_, i) => colorOf(`guest-${i}`)));
  expect(seen.size).toBe(avatarColors);
});
