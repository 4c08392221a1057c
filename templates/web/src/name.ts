const segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

function firstGrapheme(word: string): string {
  for (const { segment } of segmenter.segment(word)) return segment;
  return '';
}

// Scripts whose words are one or two characters: the second word's first character says little there.
const dense = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Extended_Pictographic}]/u;

/** What stands for a name: "Ada Lovelace" gives "AL", "Guest 12" gives "G12", 山田太郎 gives 山. */
export function initials(name: string): string {
  const words = name.split(/[\s._@+-]+/u).filter((word) => /[\p{L}\p{N}\p{Extended_Pictographic}]/u.test(word));
  const first = firstGrapheme(words[0] ?? name.trim());
  const lastWord = words.length > 1 ? (words[words.length - 1] ?? '') : '';
  // A number tells "Guest 12" from "Guest 1".
  const last = /^\p{N}{2}$/u.test(lastWord) ? lastWord : firstGrapheme(lastWord);
  if (!last || dense.test(first) || dense.test(last)) return first.toLocaleUpperCase();
  // The zero-width non-joiner keeps letters of joining scripts apart, as initials are written.
  return `${first}\u200c${last}`.toLocaleUpperCase();
}

/** How many colours style.css has for avatars. */
export const avatarColors = 8;

/** The avatar colour of an identity: the same in every recording. */
export function colorOf(identity: string): number {
  let hash = 2166136261; // FNV-1a
  for (let i = 0; i < identity.length; i++) hash = Math.imul(hash ^ identity.charCodeAt(i), 16777619);
  return (hash >>> 0) % avatarColors;
}
