import { beforeEach, describe, expect, test } from 'vitest';
import { Director, type Tile } from './director';
import type { Kind } from './layout';
import type { Media, Person } from './people';

const area = { x: 0, y: 0, width: 1280, height: 720 };
const media = (sid: string, live = true): Media => ({ sid, live, publication: undefined as never });
const person = (id: string, more: Partial<Person> = {}): Person => ({
  id,
  name: id,
  muted: false,
  camera: media(`${id}-camera`),
  screens: [],
  ...more,
});
const people = (count: number) => Array.from({ length: count }, (_, i) => person(`p${String(i).padStart(2, '0')}`));
const sharing = (id: string) => person(id, { screens: [media(`${id}-screen`)] });

let director: Director;
let now: number;
beforeEach(() => {
  director = new Director();
  now = 0;
});

function direct(kind: Kind, room: Person[], speaking: string[] = [], painted: (sid: string) => boolean = () => true) {
  return director.direct({ kind, area, room: { people: room, sounds: [] }, speaking, hasPicture: painted, now });
}
const names = (tiles: Tile[]) => tiles.map((t) => (t.kind === 'more' ? `+${t.more}` : `${t.kind === 'screen' ? 'screen of ' : ''}${t.person!.id}`));
const keys = (tiles: Tile[]) => tiles.map((t) => t.key);

describe('grid', () => {
  test('everybody has a tile', () => expect(names(direct('grid', people(9)).scene.tiles)).toHaveLength(9));
  test('one alone has the page', () => expect(direct('grid', people(1)).scene.tiles[0]!.rect).toEqual(area));
  test('the rest is counted, and whoever of them speaks is shown', () => {
    expect(names(direct('grid', people(60)).scene.tiles).slice(-2)).toEqual(['p47', '+12']);
    const { tiles } = direct('grid', people(60), ['p59']).scene;
    expect(names(tiles)).toContain('p59');
    expect(tiles.find((t) => t.person?.id === 'p59')!.speaking).toBe(true);
    expect(tiles).toHaveLength(49);
  });
  test('a screen takes the stage, cameras a strip', () => {
    const { tiles } = direct('grid', [person('a'), sharing('b'), ...people(9)]).scene;
    expect(names(tiles)).toEqual(['screen of b', 'a', 'b', 'p00', 'p01', '+7']);
    expect(tiles[0]!.whole).toBe(true);
  });
  test('the screen that was shared last is on the stage, the others beside it', () => {
    direct('grid', [sharing('b'), person('a')]);
    const both = names(direct('grid', [sharing('a'), sharing('b'), ...people(9)]).scene.tiles);
    expect(both[0]).toBe('screen of a');
    expect(both).toContain('screen of b');
    expect(names(direct('grid', [person('a'), sharing('b')]).scene.tiles)[0]).toBe('screen of b');
  });
});

describe('speaker', () => {
  test('whoever speaks is large, and changes place with the last one alone', () => {
    const room = people(4);
    expect(names(direct('speaker', room, ['p02']).scene.tiles)).toEqual(['p02', 'p00', 'p01', 'p03']);
    now = 5000;
    direct('speaker', room, ['p01']);
    now = 9000;
    expect(names(direct('speaker', room, ['p01']).scene.tiles)).toEqual(['p01', 'p00', 'p02', 'p03']);
  });
  test('tiles keep their keys wherever they move', () => {
    const room = people(3);
    const before = keys(direct('speaker', room, ['p00']).scene.tiles);
    now = 9000;
    direct('speaker', room, ['p01']);
    now = 18_000;
    const after = keys(direct('speaker', room, ['p01']).scene.tiles);
    expect(after).not.toEqual(before);
    expect(new Set(after)).toEqual(new Set(before));
  });
  test('nobody there, nothing shown', () => expect(direct('speaker', []).scene.tiles).toEqual([]));
  test('one with a picture is preferred when nobody speaks', () => {
    const room = [person('a', { camera: undefined }), person('b')];
    expect(names(direct('speaker', room).scene.tiles)).toEqual(['b', 'a']);
  });
});

describe('single speaker', () => {
  /** Shows a, and then lets b speak until b is to be shown. */
  function cut(painted: (sid: string) => boolean): Tile[] {
    const room = people(2);
    direct('single-speaker', room, ['p00']);
    now = 5000;
    direct('single-speaker', room, ['p01'], painted);
    now = 7000;
    return direct('single-speaker', room, ['p01'], painted).scene.tiles;
  }
  test('a speaker whose picture is there is shown at once', () => expect(names(cut(() => true))).toEqual(['p01']));
  test('one whose picture is not there yet waits under the last one, for a second', () => {
    const tiles = cut((sid) => sid !== 'p01-camera');
    expect(names(tiles)).toEqual(['p01', 'p00']);
    expect(tiles.map((t) => t.waiting)).toEqual([true, false]);
    now = 8000;
    expect(names(direct('single-speaker', people(2), ['p01'], () => false).scene.tiles)).toEqual(['p01']);
  });
  test('the wait is known beforehand', () => {
    cut(() => false);
    now = 7100;
    expect(direct('single-speaker', people(2), ['p01'], () => false).again).toBe(900);
  });
  test('a speaker without a camera is shown at once', () => {
    const room = [person('a'), person('b', { camera: media('b-camera', false) })];
    direct('single-speaker', room, ['a']);
    now = 5000;
    direct('single-speaker', room, ['b']);
    now = 7000;
    expect(names(direct('single-speaker', room, ['b'], () => false).scene.tiles)).toEqual(['b']);
  });
  test('a screen takes all', () => expect(names(direct('single-speaker', [person('a'), sharing('b')]).scene.tiles)).toEqual(['screen of b']));
});

describe('participant', () => {
  test('a camera alone, whole and without a name over it', () => {
    const [tile] = direct('participant', [person('a')]).scene.tiles;
    expect(tile).toMatchObject({ rect: area, whole: true, label: false });
  });
  test('the name when there is no picture', () => {
    expect(direct('participant', [person('a', { camera: undefined })]).scene.tiles[0]).toMatchObject({ label: true });
  });
  test('a screen and the camera beside it', () => expect(names(direct('participant', [sharing('a')]).scene.tiles)).toEqual(['screen of a', 'a']));
  test('a screen alone', () => {
    const [tile, ...others] = direct('participant', [person('a', { camera: undefined, screens: [media('s')] })]).scene.tiles;
    expect(tile!.rect).toEqual(area);
    expect(others).toEqual([]);
  });
});

test('sound alone has a wave, and people without pictures', () => {
  const { scene } = direct('audio', people(3));
  expect(scene.wave!.height).toBeGreaterThan(100);
  expect(scene.tiles.map((t) => t.media)).toEqual([undefined, undefined, undefined]);
  expect(direct('audio', []).scene.wave).toEqual(area);
});
