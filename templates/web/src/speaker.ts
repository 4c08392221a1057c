/** Whom the stage follows, and who may be next. Times are in milliseconds. */
export interface Hold {
  current?: string;
  since: number;
  rival?: string;
  rivalSince: number;
  /** Since when the current one has said nothing; unset while speaking. */
  quietSince?: number;
}

export const noHold: Hold = { since: 0, rivalSince: 0 };

// A cough must not move the picture, and a picture that has just moved stays for a while.
const quietEnough = 300;
const louderEnough = 2000;
const leastStay = 1500;

/**
 * Follows whoever speaks. present is who could be shown, the preferred first; speaking is who speaks,
 * the loudest first. again is in how many milliseconds the answer may change without anything happening.
 */
export function follow(hold: Hold, present: string[], speaking: string[], now: number): { hold: Hold; again?: number } {
  const loudest = speaking.find((id) => present.includes(id));
  if (!hold.current || !present.includes(hold.current)) {
    // Whoever is shown only for want of a speaker gives way to the first one.
    return { hold: { current: loudest ?? present[0], since: loudest ? now : -Infinity, rivalSince: now } };
  }
  const speaks = speaking.includes(hold.current);
  const next: Hold = { ...hold, quietSince: speaks ? undefined : (hold.quietSince ?? now) };
  if (!loudest || loudest === hold.current) {
    next.rival = undefined;
    return { hold: next };
  }
  if (next.rival !== loudest) {
    next.rival = loudest;
    next.rivalSince = now;
  }
  const due = next.quietSince !== undefined
    ? Math.max(next.quietSince, next.rivalSince) + quietEnough
    : next.rivalSince + louderEnough;
  const again = Math.max(due, hold.since + leastStay) - now;
  if (again > 0) return { hold: next, again };
  return { hold: { current: loudest, since: now, rivalSince: now } };
}
