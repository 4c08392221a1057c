import { RoomContext, useConnectionState, useRemoteParticipants, useRoomContext, useSpeakingParticipants } from '@livekit/components-react';
import { ConnectionState, RoomEvent } from 'livekit-client';
import { useCallback, useEffect, useLayoutEffect, useMemo, useReducer, useRef, useState } from 'react';
import { Director, type Scene } from './director';
import { gapOf, type Rect } from './geometry';
import { layoutOfMetadata, parseLayout, type Layout } from './layout';
import type { Markers } from './markers';
import type { Only, Params } from './params';
import { nobody, roomOf, type Room } from './people';
import type { Session } from './session';
import { Sounds } from './sound';
import { Start } from './start';
import { Subscriptions } from './subscriptions';
import { TileView } from './TileView';
import { Unannounced } from './unannounced';
import { Waveform } from './Waveform';

interface Props {
  params: Params;
  markers: Markers;
  session: Session;
}

export function App(props: Props) {
  return (
    <RoomContext.Provider value={props.session.room}>
      <Picture {...props} />
    </RoomContext.Provider>
  );
}

function Picture({ params, markers, session }: Props) {
  const layout = useLayout(params.layout);
  const room = useRoom(layout.kind === 'participant' || layout.kind === 'audio' ? params.only : everything);
  const area = useArea();
  const painted = useRef(new Set<string>());
  const start = useRef(new Start(params.startTimeout));
  const sounds = useRef(new Sounds());
  const subscriptions = useRef(new Subscriptions());
  const speaking = useSpeaking(room);
  const { scene, redirect } = useScene(layout, area, room, speaking, painted.current);

  const onPainted = useCallback((sid: string) => {
    painted.current.add(sid);
    start.current.painted(performance.now());
    redirect();
  }, [redirect]);

  // Whoever comes back to the page later begins anew, behind the curtain.
  const onDropped = useCallback((sid: string) => void painted.current.delete(sid), []);

  useLayoutEffect(() => {
    document.documentElement.dataset.theme = layout.theme;
  }, [layout.theme]);
  useEffect(() => {
    const pictures = scene.tiles.flatMap((t) => (t.media ? [t.media] : []));
    subscriptions.current.want([...pictures.map((m) => m.publication), ...room.sounds], Date.now());
    sounds.current.play(room.sounds);
    start.current.expect(pictures.some((m) => m.live), room.sounds.some((s) => !s.isMuted));
  }, [scene, room]);
  useStart(start.current, sounds.current, markers, session);

  const ring = scene.tiles.filter((t) => !t.waiting).length > 1;
  const gap = gapOf(area);
  return (
    <div className="page" style={{ '--ring': `${gap / 2}px` } as React.CSSProperties}>
      {scene.tiles.map((tile) => (
        <TileView key={tile.key} tile={tile} ring={ring} scale={Math.min(area.width, area.height)} onPainted={onPainted} onDropped={onDropped} />
      ))}
      {scene.wave && <Waveform rect={scene.wave} sounds={sounds.current} theme={layout.theme} />}
    </div>
  );
}

const everything: Only = {};

// What changes the picture. Everything else a room tells is not worth a rendering.
const events: RoomEvent[] = [
  RoomEvent.ParticipantNameChanged,
  RoomEvent.ParticipantPermissionsChanged,
  RoomEvent.TrackPublished,
  RoomEvent.TrackUnpublished,
  RoomEvent.TrackSubscribed,
  RoomEvent.TrackUnsubscribed,
  RoomEvent.TrackMuted,
  RoomEvent.TrackUnmuted,
];

/** The room as it is, or, while the connection is lost, as it was: the recording goes on with the last picture. */
function useRoom(only: Only): Room {
  const connection = useConnectionState();
  const participants = useRemoteParticipants({ updateOnlyOn: events });
  const last = useRef(nobody);
  return useMemo(() => {
    if (connection === ConnectionState.Connected || connection === ConnectionState.SignalReconnecting) {
      last.current = roomOf(participants, only);
    }
    return last.current;
  }, [connection, participants, only]);
}

/** The layout the page was opened with, or the one that the recorder's metadata names since. */
function useLayout(first: Layout): Layout {
  const room = useRoomContext();
  const [layout, setLayout] = useState(first);
  useEffect(() => {
    let last: string | undefined;
    const read = () => {
      const name = layoutOfMetadata(room.localParticipant.metadata);
      if (name === undefined || name === last) return;
      last = name;
      const next = parseLayout(name);
      if (next) setLayout(next);
      else console.warn(`layout: there is no "${name}", so the present one stays`);
    };
    const heard = [RoomEvent.ParticipantMetadataChanged, RoomEvent.Connected, RoomEvent.Reconnected] as const;
    heard.forEach((event) => room.on(event, read));
    return () => heard.forEach((event) => room.off(event, read));
  }, [room]);
  return layout;
}

function useArea(): Rect {
  const read = (): Rect => ({ x: 0, y: 0, width: window.innerWidth, height: window.innerHeight });
  const [area, setArea] = useState(read);
  useEffect(() => {
    const resized = () => setArea(read());
    window.addEventListener('resize', resized);
    return () => window.removeEventListener('resize', resized);
  }, []);
  return area;
}

/** Identities of those who speak, the loudest first. */
function useSpeaking(room: Room): string[] {
  const announced = useSpeakingParticipants();
  const [others, setOthers] = useState<string[]>([]);
  const unannounced = useRef(new Unannounced());
  const speaking = useMemo(() => [...new Set([...announced.map((p) => p.identity), ...others])], [announced, others]);
  const latest = useRef({ room, announced });
  latest.current = { room, announced };
  useEffect(() => {
    const timer = setInterval(() => {
      const { room, announced } = latest.current;
      void unannounced.current.look(room.people, new Set(announced.map((p) => p.identity))).then((next) => {
        setOthers((last) => (last.join('\n') === next.join('\n') ? last : next));
      });
    }, 400);
    return () => clearInterval(timer);
  }, []);
  return speaking;
}

function useScene(
  layout: Layout,
  area: Rect,
  room: Room,
  speaking: string[],
  painted: ReadonlySet<string>,
): { scene: Scene; redirect: () => void } {
  const director = useRef(new Director());
  const [scene, setScene] = useState<Scene>({ tiles: [] });
  const [turn, redirect] = useReducer((n: number) => n + 1, 0);
  useLayoutEffect(() => {
    const next = director.current.direct({
      kind: layout.kind,
      area,
      room,
      speaking,
      hasPicture: (sid) => painted.has(sid),
      now: performance.now(),
    });
    setScene(next.scene);
    if (next.again === undefined) return;
    const timer = setTimeout(redirect, next.again);
    return () => clearTimeout(timer);
  }, [layout.kind, area, room, speaking, painted, turn]);
  return { scene, redirect };
}

/** Says START_RECORDING when it is time. */
function useStart(start: Start, sounds: Sounds, markers: Markers, session: Session): void {
  const connection = useConnectionState();
  useEffect(() => {
    if (connection !== ConnectionState.Connected || markers.started) return;
    start.connected(performance.now());
    const timer = setInterval(() => {
      if (sounds.heard()) start.heard();
      start.await(session.absent(), performance.now());
      const due = start.due(performance.now());
      if (due.vain) {
        clearInterval(timer);
        session.giveUp();
      }
      if (!due.start) return;
      clearInterval(timer);
      if (due.missing) console.warn(`nothing that the room publishes has arrived within ${Start.mediaWait / 1000} s: recording without it`);
      markers.start();
      session.watchEmpty();
    }, 20);
    return () => clearInterval(timer);
  }, [connection, start, sounds, markers, session]);
}
