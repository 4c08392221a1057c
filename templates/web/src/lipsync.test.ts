import { describe, expect, it } from 'vitest';
import { Beat, Held, target } from './lipsync';

describe('Held', () => {
  it('tells the delay of what came out since the last look', () => {
    const held = new Held();
    expect(held.next(48_000 * 0.06, 48_000)).toBeCloseTo(60);
    expect(held.next(48_000 * 0.06 + 24_000 * 0.1, 72_000)).toBeCloseTo(100);
  });
  it('tells nothing of silence', () => {
    const held = new Held();
    held.next(10, 100);
    expect(held.next(10, 100)).toBeUndefined();
  });
});

describe('target', () => {
  it('holds a picture a little longer than its sound', () => {
    expect(target(100, 108)).toBe(145);
  });
  it('leaves alone what is near enough', () => {
    expect(target(65, 108)).toBeUndefined();
    expect(target(75, 108)).toBeUndefined();
  });
  it('has a limit', () => {
    expect(target(5000, 108)).toBe(1000);
  });
});

describe('Beat', () => {
  it('is told from an accident and from a machine that is too slow', () => {
    const beat = new Beat();
    expect(beat.persists(4, 30)).toBe(false);
    expect(beat.persists(4, 60)).toBe(false); // an accident
    expect(beat.persists(24, 90)).toBe(false);
    expect(beat.persists(44, 120)).toBe(false); // too slow
    expect(beat.persists(48, 150)).toBe(false);
    expect(beat.persists(52, 180)).toBe(true);
    expect(beat.persists(56, 210)).toBe(false); // it takes a moment to help
  });
});
