import { ConnectionError, ConnectionErrorReason, type Room } from 'livekit-client';
import type { Params } from './params';

/** Why a connection was not made, and whether trying again may help. */
export interface Refusal {
  text: string;
  again: boolean;
}

const probeTimeout = 3000;

/** Connects once; undefined when connected. No text tells the token. */
export async function connectOnce(room: Room, { url, token }: Params): Promise<Refusal | undefined> {
  const refusal = await probe(url, token);
  if (refusal) return refusal;
  try {
    // The page asks for the tracks it shows. Retrying is its own business, too.
    await room.connect(url, token, { autoSubscribe: false, maxRetries: 0, websocketTimeout: 8000, peerConnectionTimeout: 8000 });
    return undefined;
  } catch (cause) {
    return refusalOf(cause, url, token);
  }
}

/**
 * Asks the server whether it would let us in, with the token in a header: a failing WebSocket leaves
 * its whole address in the console, token and all.
 */
async function probe(url: string, token: string): Promise<Refusal | undefined> {
  const address = new URL(url.replace(/^ws/, 'http'));
  const validate = new URL(`${address.pathname.replace(/\/$/, '')}/rtc/validate`, address);
  let answer: Response;
  try {
    answer = await fetch(validate, { headers: { Authorization: `Bearer ${token}` }, signal: AbortSignal.timeout(probeTimeout) });
  } catch {
    // Something between may let WebSockets through and nothing else.
    return fetch(address, { mode: 'no-cors', signal: AbortSignal.timeout(probeTimeout) }).then(
      () => undefined,
      () => ({ text: unreachable(url), again: true }),
    );
  }
  if (answer.ok) return undefined;
  const said = clean(await answer.text().catch(() => ''), token);
  if (answer.status === 401 || answer.status === 403) return { text: refused(answer.status, said), again: false };
  if (answer.status === 404 && said.includes('room')) return { text: noRoom(said), again: true };
  if (answer.status === 429 || answer.status >= 500) {
    return { text: `the LiveKit server at ${address.host} (parameter url) answered ${answer.status} ${said}`, again: true };
  }
  return undefined;
}

function refusalOf(cause: unknown, url: string, token: string): Refusal {
  const said = clean(cause instanceof Error ? cause.message : String(cause), token);
  if (!(cause instanceof ConnectionError)) return { text: `connecting to the room failed: ${said}`, again: true };
  switch (cause.reason) {
    case ConnectionErrorReason.NotAllowed:
      return cause.status === 404 ? { text: noRoom(said), again: true } : { text: refused(cause.status ?? 401, said), again: false };
    case ConnectionErrorReason.ServerUnreachable:
      return { text: unreachable(url), again: true };
    default:
      return {
        text: `connecting to the LiveKit server at ${new URL(url).host} failed: ${said}; its WebSocket and its media ports must be reachable from this machine`,
        again: true,
      };
  }
}

const unreachable = (url: string) =>
  `the LiveKit server at ${new URL(url).host} (parameter url) does not answer; check the address, and that this machine can reach it`;
const refused = (status: number, said: string) =>
  `the LiveKit server refused the token (${status} ${said}); it must be signed with that server's key, be valid now, and may join the room`;
const noRoom = (said: string) => `the room does not exist: nobody has created or joined it (${said})`;

/** What the server said, without the token, which it quotes when it refuses one. */
function clean(text: string, token: string): string {
  return text
    .replace(/^invalid token: .*, error: /s, '')
    .replaceAll(token, '…')
    .replace(/eyJ[\w.-]+/g, '…')
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, 200);
}
