import { knownLayouts, parseLayout, type Layout } from './layout';

/** What the page was opened with. */
export interface Params {
  url: string;
  token: string;
  layout: Layout;
  /** Milliseconds that a room may be empty before the recording ends. */
  emptyTimeout: number;
  /** Milliseconds that the recorder waits for whom it records; unset where it does not. */
  startTimeout?: number;
  /** Whom or what to show and hear; of the layouts participant and audio. */
  only: Only;
}

/** A part of a room. Nothing set means all of it. */
export interface Only {
  identity?: string;
  /** true: the screen and its sound; false: camera and microphone; unset: both. */
  screenShare?: boolean;
  /** Exactly these tracks, by their ids. */
  audioTrack?: string;
  videoTrack?: string;
}

/** A fault whose text tells the page's author what to mend. */
export class Fault extends Error {}

const defaultEmptyTimeout = 20;

/** Reads the query of the page's address; throws a Fault that names every parameter in fault. */
export function parseParams(search: string): Params {
  const query = new URLSearchParams(search);
  const faults: string[] = [];
  const given = (name: string) => query.get(name)?.trim() || undefined;

  const url = given('url') ?? '';
  const urlFault = faultOfURL(url);
  if (urlFault) faults.push(`parameter url ${urlFault}`);

  const token = given('token') ?? '';
  if (!token) faults.push('parameter token is missing; it must be a LiveKit access token that may join the room and subscribe');

  const name = given('layout') ?? given('template') ?? 'speaker';
  const layout = parseLayout(name);
  if (!layout) faults.push(`parameter layout: there is no "${name}"; known are ${knownLayouts}`);

  const time = (name: string, text: string): number => {
    const seconds = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
    if (!(seconds > 0 && seconds <= 86400)) faults.push(`parameter ${name}: "${text}" is no number of seconds above 0 and up to 86400`);
    return seconds * 1000;
  };
  const emptyTimeout = time('empty_timeout', given('empty_timeout') ?? String(defaultEmptyTimeout));
  const start = given('start_timeout');
  const startTimeout = start === undefined ? undefined : time('start_timeout', start);

  const screen = given('screen_share');
  if (screen !== undefined && screen !== 'true' && screen !== 'false') {
    faults.push(`parameter screen_share: "${screen}" is neither true nor false`);
  }

  const only: Only = { identity: given('identity'), audioTrack: given('audio_track_id'), videoTrack: given('video_track_id') };
  if (screen !== undefined) only.screenShare = screen === 'true';
  if (layout?.kind === 'participant' && !only.identity && !only.audioTrack && !only.videoTrack) {
    faults.push('parameter identity is missing; the layout participant needs the identity of a participant, or audio_track_id or video_track_id');
  }

  if (faults.length > 0 || !layout) throw new Fault(faults.join('; '));
  const params: Params = { url, token, layout, emptyTimeout, only };
  if (startTimeout !== undefined) params.startTimeout = startTimeout;
  return params;
}

function faultOfURL(url: string): string | undefined {
  if (!url) return 'is missing; it must be the address of a LiveKit server, such as wss://livekit.example.com';
  const scheme = URL.canParse(url) ? new URL(url).protocol : '';
  if (['ws:', 'wss:', 'http:', 'https:'].includes(scheme)) return undefined;
  return `"${url.slice(0, 200)}" is no ws, wss, http or https address`;
}
