/** What a layout's name asks for: how the room is arranged, and on what ground. */
export interface Layout {
  kind: Kind;
  theme: Theme;
}

export type Kind = 'speaker' | 'grid' | 'single-speaker' | 'participant' | 'audio';
export type Theme = 'dark' | 'light';

const kinds: readonly Kind[] = ['speaker', 'grid', 'single-speaker', 'participant', 'audio'];

/** For error texts. */
export const knownLayouts = `${kinds.join(', ')}, each also with -light or -dark`;

/** Reads a layout's name; undefined when there is no such layout. */
export function parseLayout(name: string): Layout | undefined {
  const [, base, suffix] = /^(.*?)(-light|-dark)?$/.exec(name) ?? [];
  const kind = kinds.find((k) => k === base);
  return kind && { kind, theme: suffix === '-light' ? 'light' : 'dark' };
}

/** Reads `{"layout":"…"}`, which the recorder's metadata becomes when the layout is to change. */
export function layoutOfMetadata(metadata: string | undefined): string | undefined {
  if (!metadata) return undefined;
  try {
    const { layout } = JSON.parse(metadata) as { layout?: unknown };
    return typeof layout === 'string' && layout ? layout : undefined;
  } catch {
    return undefined; // metadata that is none of ours
  }
}
