import type { RemoteVideoTrack } from 'livekit-client';
import { memo, useEffect, useLayoutEffect, useRef, useState } from 'react';
import type { Tile } from './director';
import { MutedIcon, ScreenIcon } from './icons';
import { colorOf, initials } from './name';
import { VideoSlot } from './video';

interface Props {
  tile: Tile;
  /** Whether the mark of who speaks is shown. */
  ring: boolean;
  /** The shorter side of the page, in pixels: what type is measured by. */
  scale: number;
  onPainted: (sid: string) => void;
  onDropped: (sid: string) => void;
}

/** One thing on the page: a participant, a screen, or how many more there are. */
export const TileView = memo(function TileView({ tile, ring, scale, onPainted, onDropped }: Props) {
  const { rect, person, media } = tile;
  const type = Math.round(Math.min(Math.max(rect.height * 0.075, scale * 0.0165), scale * 0.029));
  const style = {
    left: rect.x,
    top: rect.y,
    width: rect.width,
    height: rect.height,
    fontSize: type,
    zIndex: tile.waiting ? 0 : 1,
  };
  if (tile.kind === 'more' || !person) {
    return (
      <div className="tile more" style={style}>
        <span style={{ fontSize: Math.round(rect.height * 0.24) }}>+{tile.more}</span>
      </div>
    );
  }
  return (
    <div className={ring && tile.speaking ? 'tile speaking' : 'tile'} style={style} data-key={tile.key}>
      {tile.kind === 'person' && <Avatar id={person.id} name={person.name} pending={!!media?.live} {...avatarPlace(rect, type)} />}
      <Video tile={tile} onPainted={onPainted} onDropped={onDropped} />
      {tile.label && (
        <div className="label">
          {tile.kind === 'screen' ? <ScreenIcon /> : person.muted && <MutedIcon />}
          <span dir="auto">{person.name}</span>
        </div>
      )}
    </div>
  );
}, isSame);

/** Two tiles that look alike need no rendering, and a room says a lot that changes nothing here. */
function isSame(a: Props, b: Props): boolean {
  const [s, t] = [a.tile, b.tile];
  return (
    a.ring === b.ring && a.scale === b.scale && a.onPainted === b.onPainted &&
    s.kind === t.kind && s.whole === t.whole && s.label === t.label && s.waiting === t.waiting && s.more === t.more &&
    s.rect.x === t.rect.x && s.rect.y === t.rect.y && s.rect.width === t.rect.width && s.rect.height === t.rect.height &&
    s.media?.track === t.media?.track && s.media?.live === t.media?.live &&
    s.person?.name === t.person?.name && s.person?.muted === t.person?.muted && s.speaking === t.speaking
  );
}

/** How large an avatar is, and how far above the middle, so that no label lies over it. */
function avatarPlace(rect: { width: number; height: number }, type: number): { size: number; lift: number } {
  const size = 2 * Math.round(Math.min(rect.width * 0.42, rect.height * 0.46) / 2);
  const free = (rect.height - size) / 2;
  const label = type * 2.6; // see .label
  return { size, lift: Math.round(Math.max(0, Math.min(label - free, free - 4))) };
}

interface AvatarProps {
  id: string;
  name: string;
  size: number;
  lift: number;
  pending: boolean;
}

function Avatar({ id, name, size, lift, pending }: AvatarProps) {
  const style = { width: size, height: size, marginBottom: 2 * lift, fontSize: Math.round(size * 0.38) };
  return (
    <div className={pending ? 'avatar pending' : 'avatar'} data-color={colorOf(id)} style={style}>
      <span>{initials(name)}</span>
    </div>
  );
}

function Video({ tile, onPainted, onDropped }: Pick<Props, 'tile' | 'onPainted' | 'onDropped'>) {
  const host = useRef<HTMLDivElement>(null);
  const [slot, setSlot] = useState<VideoSlot>();
  useEffect(() => {
    const painted = new Set<string>();
    const made = new VideoSlot(host.current!, (track: RemoteVideoTrack) => {
      painted.add(track.sid ?? '');
      onPainted(track.sid ?? '');
    });
    setSlot(made);
    return () => {
      made.close();
      painted.forEach(onDropped);
    };
  }, [onPainted, onDropped]);

  const { rect, whole, media } = tile;
  useLayoutEffect(() => slot?.resize(rect.width, rect.height, whole), [slot, rect.width, rect.height, whole]);
  useLayoutEffect(() => slot?.show(media?.live ? media : undefined), [slot, media?.live, media?.track]);
  return <div className="video" ref={host} />;
}
