/** A place on the page, in whole pixels: half ones would blur and cost a resampling. */
export interface Rect {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** Nobody tells more faces apart, and Chrome decodes no more on a worker's share of a machine. */
export const mostTiles = 49;

// Tiles between 4:3 and 16:9 lose at most a quarter of a usual camera's picture. On a high page,
// where a row has room for few, they may be square.
const widest = 16 / 9;
const narrowest = (area: Rect) => (area.width >= area.height ? 4 / 3 : 1);

/** The gap between tiles, which also holds the mark of who speaks. Even, so that halves are whole. */
export function gapOf(area: Rect): number {
  return Math.max(4, 2 * Math.round((Math.min(area.width, area.height) * 0.011) / 2));
}

interface Fit {
  columns: number;
  rows: number;
  width: number;
  height: number;
}

function fit(area: Rect, count: number, columns: number, gap: number): Fit {
  const rows = Math.ceil(count / columns);
  const cellWidth = (area.width - gap * (columns + 1)) / columns;
  const cellHeight = (area.height - gap * (rows + 1)) / rows;
  const aspect = Math.min(widest, Math.max(narrowest(area), cellWidth / cellHeight));
  const width = Math.floor(Math.min(cellWidth, cellHeight * aspect));
  return { columns, rows, width, height: Math.floor(Math.min(cellHeight, width / aspect)) };
}

function bestFit(area: Rect, count: number, gap: number): Fit {
  let best = fit(area, count, 1, gap);
  for (let columns = 2; columns <= count; columns++) {
    const next = fit(area, count, columns, gap);
    if (next.width * next.height > best.width * best.height) best = next;
  }
  return best;
}

/** The narrowest tile in which a name can be read. */
function leastWidth(area: Rect): number {
  return Math.max(120, Math.round(Math.max(area.width, area.height) * 0.094));
}

/** How many tiles a grid in this area may have at most. */
export function gridCapacity(area: Rect): number {
  const gap = gapOf(area);
  for (let count = mostTiles; count > 1; count--) {
    if (bestFit(area, count, gap).width >= leastWidth(area)) return count;
  }
  return 1;
}

/** Places count tiles in rows of equal tiles, as large as they can be; an incomplete last row is centred. */
export function grid(area: Rect, count: number, gap = gapOf(area)): Rect[] {
  if (count <= 0) return [];
  const { columns, rows, width, height } = bestFit(area, count, gap);
  const top = area.y + Math.floor((area.height - rows * height - (rows - 1) * gap) / 2);
  return inRows(area, count, columns, width, height, top, gap);
}

/** A large picture and a strip for so many small ones beside it, or below it on a high page. */
export interface Stage {
  stage: Rect;
  strip: Rect[];
}

/** How many tiles the strip beside a stage may have at most. */
export function stripCapacity(area: Rect): number {
  return area.width >= area.height ? 5 : 6;
}

/**
 * Places a stage and a strip of count tiles, at most stripCapacity. whole says that nothing of the
 * picture on the stage may be cut off.
 */
export function stage(area: Rect, count: number, whole: boolean): Stage {
  const gap = gapOf(area);
  if (count === 0) return { stage: area, strip: [] };
  return area.width >= area.height ? wideStage(area, count, gap) : highStage(area, count, gap, whole);
}

function wideStage(area: Rect, count: number, gap: number): Stage {
  const rows = stripCapacity(area);
  const height = Math.floor((area.height - gap * (rows + 1)) / rows);
  const width = Math.round(height * widest);
  const left = area.x + area.width - gap - width;
  const top = area.y + Math.floor((area.height - count * height - (count - 1) * gap) / 2);
  return {
    stage: { x: area.x + gap, y: area.y + gap, width: area.width - width - 3 * gap, height: area.height - 2 * gap },
    strip: Array.from({ length: count }, (_, i) => ({ x: left, y: top + i * (height + gap), width, height })),
  };
}

function highStage(area: Rect, count: number, gap: number, whole: boolean): Stage {
  const width = area.width - 2 * gap;
  const columns = Math.min(2, count);
  const rows = Math.ceil(count / columns);
  const tileWidth = Math.floor((width - gap * (columns - 1)) / columns);
  const tileHeight = Math.floor(tileWidth / widest);
  const below = rows * (tileHeight + gap);
  // A third of a usual camera's picture may be cut off for a larger one.
  const height = Math.min(area.height - below - 2 * gap, Math.floor(width / (whole ? widest : 1.2)));
  const top = area.y + Math.floor((area.height - height - below) / 2);
  const strip = inRows(area, count, columns, tileWidth, tileHeight, top + height + gap, gap);
  return { stage: { x: area.x + gap, y: top, width, height }, strip };
}

/** Places tiles in rows from top on; an incomplete last row is centred. */
function inRows(area: Rect, count: number, columns: number, width: number, height: number, top: number, gap: number): Rect[] {
  return Array.from({ length: count }, (_, i) => {
    const row = Math.floor(i / columns);
    const inRow = Math.min(columns, count - row * columns);
    const left = area.x + Math.floor((area.width - inRow * width - (inRow - 1) * gap) / 2);
    return { x: left + (i - row * columns) * (width + gap), y: top + row * (height + gap), width, height };
  });
}
