import { describe, expect, test } from 'vitest';
import { gapOf, grid, gridCapacity, mostTiles, stage, stripCapacity, type Rect } from './geometry';

const pages: [string, Rect][] = ['1280x720', '1920x1080', '720x1280', '500x480', '640x360'].map((name) => {
  const [width, height] = name.split('x').map(Number);
  return [name, { x: 0, y: 0, width: width!, height: height! }];
});

function expectSound(area: Rect, places: Rect[]): void {
  const gap = gapOf(area);
  for (const [i, a] of places.entries()) {
    for (const value of [a.x, a.y, a.width, a.height]) expect(Number.isInteger(value)).toBe(true);
    // The mark of who speaks needs half a gap, also at the page's edge.
    expect(Math.min(a.x, a.y, area.width - a.x - a.width, area.height - a.y - a.height)).toBeGreaterThanOrEqual(gap / 2);
    for (const b of places.slice(i + 1)) {
      const apart = Math.max(a.x - b.x - b.width, b.x - a.x - a.width, a.y - b.y - b.height, b.y - a.y - a.height);
      expect(apart).toBeGreaterThanOrEqual(gap);
    }
  }
}

describe.each(pages)('%s', (_, area) => {
  test('every grid has its tiles on the page, apart, and all of one size', () => {
    for (let count = 2; count <= gridCapacity(area); count++) {
      const places = grid(area, count);
      expect(places).toHaveLength(count);
      expectSound(area, places);
      expect(new Set(places.map((r) => `${r.width}x${r.height}`)).size).toBe(1);
      const { width, height } = places[0]!;
      expect(width / height).toBeGreaterThanOrEqual(area.width >= area.height ? 1.32 : 0.98);
      expect(width / height).toBeLessThanOrEqual(1.8);
    }
  });
  test('more tiles are never larger', () => {
    let last = Infinity;
    for (let count = 1; count <= gridCapacity(area); count++) {
      const { width, height } = grid(area, count)[0]!;
      expect(width * height).toBeLessThanOrEqual(last);
      last = width * height;
    }
  });
  test('every strip has its tiles on the page and apart from the stage', () => {
    for (const whole of [false, true]) {
      for (let count = 1; count <= stripCapacity(area); count++) {
        const { stage: main, strip } = stage(area, count, whole);
        expect(strip).toHaveLength(count);
        expectSound(area, [main, ...strip]);
        for (const r of strip) expect(main.width * main.height).toBeGreaterThanOrEqual(r.width * r.height);
      }
    }
  });
  test('alone on the stage, one has all of the page', () => expect(stage(area, 0, false).stage).toEqual(area));
});

test('49 have places on every usual page', () => {
  for (const [, area] of pages.slice(0, 3)) expect(gridCapacity(area)).toBe(mostTiles);
  expect(gridCapacity(pages[4]![1])).toBeLessThan(mostTiles);
});
test('three on a wide page are two above one in the middle', () => {
  const [a, b, c] = grid({ x: 0, y: 0, width: 1280, height: 720 }, 3);
  expect(a!.y).toBe(b!.y);
  expect(c!.y).toBeGreaterThan(a!.y + a!.height);
  expect(Math.abs(c!.x + c!.width / 2 - 640)).toBeLessThanOrEqual(1);
});
test('three on a high page are one above the other', () => {
  const places = grid({ x: 0, y: 0, width: 720, height: 1280 }, 3);
  expect(new Set(places.map((r) => r.x)).size).toBe(1);
});
