import { grid, gridCapacity, stage, stripCapacity, type Rect } from './geometry';
import type { Kind } from './layout';
import type { Media, Person, Room } from './people';
import { Seats } from './seats';
import { follow, noHold, type Hold } from './speaker';

/** One thing with a place on the page. */
export interface Tile {
  /** Stays the same as long as the same thing is shown, wherever it moves. */
  key: string;
  kind: 'person' | 'screen' | 'more';
  rect: Rect;
  person?: Person;
  media?: Media;
  /** Nothing of the picture may be cut off. */
  whole: boolean;
  /** Speaks at present. */
  speaking: boolean;
  /** Whether name and mute mark are shown. */
  label: boolean;
  /** Lies under the others until its first picture is there. */
  waiting: boolean;
  /** How many more there are; of kind more. */
  more: number;
}

/** What is on the page. */
export interface Scene {
  tiles: Tile[];
  /** Where the sound is drawn; of the layout audio. */
  wave?: Rect;
}

/** What there is to be arranged. */
export interface Cue {
  kind: Kind;
  area: Rect;
  room: Room;
  /** Identities of those who speak, the loudest first. */
  speaking: string[];
  /** Tells whether a media's first picture has been painted. */
  hasPicture: (sid: string) => boolean;
  /** In milliseconds. */
  now: number;
}

// Whoever comes onto the stage has so many milliseconds for a first picture before the last one leaves.
const curtain = 1000;

/** Decides what is shown where. It remembers, so that pictures stay where they are. */
export class Director {
  private hold: Hold = noHold;
  private onStage?: string;
  private nextSince = 0;
  private speaking: string[] = [];
  private screens: string[] = [];
  private readonly seats = { grid: new Seats(), strip: new Seats() };

  /** Arranges a room. again is in how many milliseconds it wants to be asked anew. */
  direct({ kind, area, room, speaking, hasPicture, now }: Cue): { scene: Scene; again?: number } {
    this.speaking = speaking;
    const live = room.people.flatMap((p) => p.screens.map((m) => m.sid));
    this.screens = [...this.screens.filter((sid) => live.includes(sid)), ...live.filter((sid) => !this.screens.includes(sid))];

    const preferred = [...room.people].sort((a, b) => Number(!!b.camera?.live) - Number(!!a.camera?.live)).map((p) => p.id);
    const followed = follow(this.hold, preferred, speaking, now);
    this.hold = followed.hold;

    const scene = this.arrange(kind, area, room, hasPicture, now);
    for (const t of scene.tiles) t.speaking = t.kind === 'person' && !!t.person && speaking.includes(t.person.id);
    const waits = scene.tiles.some((t) => t.waiting) ? this.nextSince + curtain - now : undefined;
    const again = Math.min(followed.again ?? Infinity, waits ?? Infinity);
    return Number.isFinite(again) ? { scene, again } : { scene };
  }

  private arrange(kind: Kind, area: Rect, room: Room, hasPicture: (sid: string) => boolean, now: number): Scene {
    const screen = this.screenTile(room.people);
    switch (kind) {
      case 'audio':
        return this.audio(area, room.people);
      case 'grid':
        return { tiles: screen ? this.staged(area, room.people, screen) : this.seated(area, room.people) };
      case 'participant':
        return { tiles: participant(area, room.people[0], screen) };
      case 'single-speaker':
        return { tiles: screen ? [{ ...screen, rect: area }] : this.speaker(area, room.people, false, hasPicture, now) };
      case 'speaker':
        return { tiles: screen ? this.staged(area, room.people, screen) : this.speaker(area, room.people, true, hasPicture, now) };
    }
  }

  /** The screen that was shared last. */
  private screenTile(people: Person[]): Tile | undefined {
    const sid = this.screens.at(-1);
    return people.flatMap(screenTiles).find((t) => t.media?.sid === sid);
  }

  private audio(area: Rect, people: Person[]): Scene {
    if (people.length === 0) return { tiles: [], wave: area };
    const height = Math.round((area.height * 0.3) / 2) * 2;
    const upper = { ...area, height: area.height - height };
    const tiles = this.seated(upper, people).map((t) => ({ ...t, media: undefined }));
    return { tiles, wave: { ...area, y: area.y + upper.height, height } };
  }

  private seated(area: Rect, people: Person[]): Tile[] {
    if (people.length === 1) return [{ ...personTile(people[0]!), rect: area }];
    return this.fill(this.seats.grid, people.map(personTile), gridCapacity(area), (count) => grid(area, count));
  }

  /** A picture on the stage and everything else in a strip. */
  private staged(area: Rect, people: Person[], main: Tile): Tile[] {
    const others = [...people.flatMap(screenTiles), ...people.map(personTile)].filter((t) => t.key !== main.key);
    const count = Math.min(others.length, stripCapacity(area));
    const places = stage(area, count, main.whole);
    return [{ ...main, rect: places.stage }, ...this.fill(this.seats.strip, others, stripCapacity(area), () => places.strip)];
  }

  private fill(seats: Seats, tiles: Tile[], capacity: number, places: (count: number) => Rect[]): Tile[] {
    const fits = tiles.length <= capacity;
    const seated = seats.assign(
      tiles.map((t) => ({ id: t.key, speaking: t.kind === 'screen' || this.speaking.includes(t.person?.id ?? ''), picture: !!t.media?.live })),
      fits ? capacity : capacity - 1,
    );
    const rects = places(fits ? tiles.length : capacity);
    const shown = seated.map((key, i) => ({ ...tiles.find((t) => t.key === key)!, rect: rects[i]! }));
    const rest = tiles.length - shown.length;
    if (rest === 0) return shown;
    return [...shown, { ...blank, key: 'more', kind: 'more', rect: rects.at(-1)!, more: rest }];
  }

  private speaker(area: Rect, people: Person[], strip: boolean, hasPicture: (sid: string) => boolean, now: number): Tile[] {
    const of = (id: string | undefined) => people.find((p) => p.id === id);
    const target = of(this.hold.current);
    if (!target) return [];
    let shown = of(this.onStage);
    if (!shown) shown = target;
    if (shown.id !== target.id) {
      if (this.nextSince === 0) this.nextSince = now;
      const ready = !target.camera?.live || hasPicture(target.camera.sid);
      if (ready || now - this.nextSince >= curtain) shown = target;
    }
    if (shown.id === target.id) this.nextSince = 0;
    this.onStage = shown.id;

    const main = personTile(shown);
    const tiles = strip && people.length > 1 ? this.staged(area, people, main) : [{ ...main, rect: area }];
    const next = personTile(target);
    if (tiles.some((t) => t.key === next.key)) return tiles;
    return [{ ...next, rect: tiles[0]!.rect, waiting: true }, ...tiles];
  }
}

const blank: Tile = {
  key: '',
  kind: 'person',
  rect: { x: 0, y: 0, width: 0, height: 0 },
  whole: false,
  speaking: false,
  label: true,
  waiting: false,
  more: 0,
};

function personTile(person: Person): Tile {
  return { ...blank, key: `person ${person.id}`, person, media: person.camera };
}

function screenTiles(person: Person): Tile[] {
  return person.screens.map((media, i) => ({ ...blank, key: `screen ${i} ${person.id}`, kind: 'screen', person, media, whole: true }));
}

/** One participant alone, for whoever edits the recording later: no names over the picture. */
function participant(area: Rect, person: Person | undefined, screen: Tile | undefined): Tile[] {
  if (!person) return [];
  const camera = { ...personTile(person), whole: true, label: false };
  const hasCamera = !!person.camera?.live;
  if (!screen) return [{ ...camera, rect: area, label: !hasCamera }];
  const main = { ...screen, label: false };
  if (!hasCamera) return [{ ...main, rect: area }];
  const places = stage(area, 1, true);
  return [
    { ...main, rect: places.stage },
    { ...camera, rect: places.strip[0]! },
  ];
}
