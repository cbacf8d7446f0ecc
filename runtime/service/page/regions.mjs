// Finds the parts of a photo that the network has to see: the rules of runtime/filling/regions.py and morphology.py.
//
// A hole is { width, height, bits }: bits has one byte for each pixel of the photo, 1 in the hole. A region is
// { left, top, width, height }.

const CELL = 32;
const MIN_CONTEXT = 64;
const MIN_SIDE = 256;
const SIDE_STEP = 64;

const greatestDivisor = (a, b) => (b ? greatestDivisor(b, a % b) : a);
const unite = (a, b) => {
  const [left, top] = [Math.min(a.left, b.left), Math.min(a.top, b.top)];
  return {
    left,
    top,
    width: Math.max(a.left + a.width, b.left + b.width) - left,
    height: Math.max(a.top + a.height, b.top + b.height) - top,
  };
};
const overlap = (a, b) =>
  a.left < b.left + b.width && b.left < a.left + a.width && a.top < b.top + b.height && b.top < a.top + a.height;

/** Returns the bounds of the hole's pixels inside a window; null if there are none. */
export function findBounds(hole, window = { left: 0, top: 0, width: hole.width, height: hole.height }) {
  let [left, top, right, bottom] = [hole.width, hole.height, -1, -1];
  const [stopX, stopY] = [
    Math.min(window.left + window.width, hole.width),
    Math.min(window.top + window.height, hole.height),
  ];
  for (let y = window.top; y < stopY; y++) {
    for (let x = window.left, at = y * hole.width + x; x < stopX; x++, at++) {
      if (!hole.bits[at]) continue;
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < top) top = y;
      bottom = y;
    }
  }
  return right < 0 ? null : { left, top, width: right + 1 - left, height: bottom + 1 - top };
}

/** Returns the bounds, in cells, of the groups of touching cells that contain a part of the hole. */
function findGroups(hole) {
  const [columns, rows] = [Math.ceil(hole.width / CELL), Math.ceil(hole.height / CELL)];
  const cells = new Uint8Array(columns * rows);
  for (let y = 0, at = 0; y < hole.height; y++) {
    const row = Math.floor(y / CELL) * columns;
    for (let x = 0; x < hole.width; x++, at++) if (hole.bits[at]) cells[row + Math.floor(x / CELL)] = 1;
  }
  const groups = [];
  for (let start = 0; start < cells.length; start++) {
    if (!cells[start]) continue;
    cells[start] = 0;
    const pending = [start];
    let bounds = null;
    while (pending.length) {
      const cell = pending.pop();
      const [x, y] = [cell % columns, Math.floor(cell / columns)];
      const place = { left: x, top: y, width: 1, height: 1 };
      bounds = bounds ? unite(bounds, place) : place;
      for (let ny = Math.max(y - 1, 0); ny <= Math.min(y + 1, rows - 1); ny++) {
        for (let nx = Math.max(x - 1, 0); nx <= Math.min(x + 1, columns - 1); nx++) {
          const near = ny * columns + nx;
          if (cells[near]) {
            cells[near] = 0;
            pending.push(near);
          }
        }
      }
    }
    groups.push(bounds);
  }
  return groups;
}

/** Widens an interval by its context, to the sides that the network likes; the result starts at a multiple. */
function widen(start, stop, context, limit, multiple) {
  start = Math.max(start - context, 0);
  stop = Math.min(stop + context, limit);
  const step = (SIDE_STEP * multiple) / greatestDivisor(SIDE_STEP, multiple);
  const length = Math.ceil(Math.max(stop - start + multiple - 1, MIN_SIDE) / step) * step;
  if (length >= limit) return [0, limit];
  start = Math.min(Math.max(start - Math.floor((length - (stop - start)) / 2), 0), limit - length);
  start -= start % multiple;
  return [start, limit - (start + length) < multiple ? limit : start + length];
}

/** Returns disjoint regions that together contain the whole hole, each with a margin of known pixels. */
export function findRegions(hole, multiple) {
  let regions = [];
  for (const group of findGroups(hole)) {
    const cells = {
      left: group.left * CELL,
      top: group.top * CELL,
      width: group.width * CELL,
      height: group.height * CELL,
    };
    const bounds = findBounds(hole, cells);
    const context = Math.max(MIN_CONTEXT, Math.floor(Math.min(bounds.width, bounds.height) / 2));
    const [left, right] = widen(bounds.left, bounds.left + bounds.width, context, hole.width, multiple);
    const [top, bottom] = widen(bounds.top, bounds.top + bounds.height, context, hole.height, multiple);
    let region = { left, top, width: right - left, height: bottom - top };
    for (;;) {
      const touching = regions.filter((other) => overlap(other, region));
      if (!touching.length) break;
      regions = regions.filter((other) => !touching.includes(other));
      region = touching.reduce(unite, region);
    }
    regions.push(region);
  }
  return regions;
}

/** Copies a region out of a hole. */
export function cropHole(hole, { left, top, width, height }) {
  const bits = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const from = (top + y) * hole.width + left;
    bits.set(hole.bits.subarray(from, from + width), y * width);
  }
  return { width, height, bits };
}

/** Erodes by one pixel: by crosses, or by squares. Pixels beyond the borders count as marked. */
function erodeOnce({ width, height, bits }, isSquare) {
  const rows = bits.slice();
  for (let at = 0; at < bits.length; at++) {
    if (at >= width) rows[at] &= bits[at - width];
    if (at + width < bits.length) rows[at] &= bits[at + width];
  }
  const source = isSquare ? rows : bits;
  const eroded = rows.slice();
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      if (x > 0) eroded[at] &= source[at - 1];
      if (x < width - 1) eroded[at] &= source[at + 1];
    }
  }
  return { width, height, bits: eroded };
}

/** Grows a hole by a distance in pixels, as --dilate does. */
export function growHole(hole, distance) {
  if (!distance) return hole;
  const grown = { ...hole, bits: hole.bits.slice() };
  for (const region of findRegions(hole, 1)) {
    let known = cropHole(hole, region);
    for (let at = 0; at < known.bits.length; at++) known.bits[at] ^= 1;
    for (let step = 0; step < distance; step++) known = erodeOnce(known, step % 2 === 1);
    for (let y = 0, at = 0; y < region.height; y++) {
      const to = (region.top + y) * hole.width + region.left;
      for (let x = 0; x < region.width; x++, at++) grown.bits[to + x] = known.bits[at] ^ 1;
    }
  }
  return grown;
}

/** Returns for every pixel how much of the fill it takes, 0 to 1: a soft edge inside the hole, as --feather makes it. */
export function weighEdge(hole, depth) {
  const sums = Float32Array.from(hole.bits);
  let remaining = hole;
  for (let step = 0; step < depth; step++) {
    remaining = erodeOnce(remaining, step % 2 === 1);
    for (let at = 0; at < sums.length; at++) sums[at] += remaining.bits[at];
  }
  return sums.map((sum) => sum / (depth + 1));
}

/** Returns the side of the largest square inside the hole. */
export function measureThickness({ width, bits }) {
  let largest = 0;
  let above = new Uint16Array(width);
  for (let start = 0; start < bits.length; start += width) {
    const sides = new Uint16Array(width);
    for (let x = 0; x < width; x++) {
      if (bits[start + x]) sides[x] = 1 + Math.min(x ? sides[x - 1] : 0, above[x], x ? above[x - 1] : 0);
      if (sides[x] > largest) largest = sides[x];
    }
    above = sides;
  }
  return largest;
}
