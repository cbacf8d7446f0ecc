// Writes PNG files without a canvas, so that every level of every channel is kept.

const SIGNATURE = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10);
const COLOUR_TYPES = { 1: 0, 2: 4, 3: 2, 4: 6 }; // by the number of channels

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function makeCrc(...parts) {
  let crc = ~0;
  for (const part of parts) for (const byte of part) crc = CRC_TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** Compresses bytes to a zlib stream. */
export async function deflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Decompresses a zlib stream. */
export async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Returns one chunk: length, name, content and check sum. */
export function makeChunk(name, content) {
  const chunk = new Uint8Array(content.length + 12);
  const view = new DataView(chunk.buffer);
  const label = new TextEncoder().encode(name);
  view.setUint32(0, content.length);
  chunk.set(label, 4);
  chunk.set(content, 8);
  view.setUint32(content.length + 8, makeCrc(label, content));
  return chunk;
}

/** Splits a PNG file into [name, content] pairs. */
export function* readChunks(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 8; at + 12 <= bytes.length;) {
    const length = view.getUint32(at);
    yield [String.fromCharCode(...bytes.subarray(at + 4, at + 8)), bytes.subarray(at + 8, at + 8 + length)];
    at += length + 12;
  }
}

/** Takes some channels of RGBA pixels, row by row, each row with the filter byte of the "Sub" filter. */
function filterRows(rgba, width, height, channels) {
  const offsets = { 1: [0], 2: [0, 3], 3: [0, 1, 2], 4: [0, 1, 2, 3] }[channels];
  const rows = new Uint8Array(height * (width * channels + 1));
  let to = 0;
  for (let y = 0; y < height; y++) {
    rows[to++] = 1;
    const start = y * width * 4;
    for (let x = 0; x < width; x++) {
      const from = start + x * 4;
      for (const offset of offsets) rows[to++] = rgba[from + offset] - (x ? rgba[from - 4 + offset] : 0);
    }
  }
  return rows;
}

/**
 * Returns a PNG file.
 *
 * @param rgba RGBA bytes, row by row.
 * @param channels 1 grey, 2 grey with alpha, 3 RGB or 4 RGBA. Grey is taken from the red channel.
 * @param extra Chunks to put before the pixels, for example of makeChunk("eXIf", ...).
 */
export async function writePng(rgba, width, height, channels, extra = []) {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, COLOUR_TYPES[channels], 0, 0, 0], 8);
  const pixels = await deflate(filterRows(rgba, width, height, channels));
  const chunks = [makeChunk("IHDR", header), ...extra, makeChunk("IDAT", pixels), makeChunk("IEND", new Uint8Array())];
  return new Blob([SIGNATURE, ...chunks], { type: "image/png" });
}

/** Returns a mask as PNG: white is the hole. */
export function writeMask({ width, height, bits }) {
  const rgba = new Uint8Array(bits.length * 4);
  for (let at = 0; at < bits.length; at++) rgba[at * 4] = bits[at] ? 255 : 0;
  return writePng(rgba, width, height, 1);
}

function predict(left, above, corner) {
  const [toLeft, toAbove, toCorner] = [
    Math.abs(above - corner),
    Math.abs(left - corner),
    Math.abs(left + above - 2 * corner),
  ];
  if (toLeft <= toAbove && toLeft <= toCorner) return left;
  return toAbove <= toCorner ? above : corner;
}

/** Undoes the filters of PNG rows in place, and leaves their filter bytes. */
function unfilterRows(rows, stride, pixel) {
  for (let start = 0; start < rows.length; start += stride + 1) {
    const filter = rows[start];
    for (let at = start + 1; at <= start + stride; at++) {
      const left = at - start > pixel ? rows[at - pixel] : 0;
      const above = start ? rows[at - stride - 1] : 0;
      const corner = start && at - start > pixel ? rows[at - stride - 1 - pixel] : 0;
      if (filter === 1) rows[at] += left;
      else if (filter === 2) rows[at] += above;
      else if (filter === 3) rows[at] += (left + above) >> 1;
      else if (filter === 4) rows[at] += predict(left, above, corner);
    }
  }
}

/**
 * Decodes a PNG of 8 bits with alpha. A canvas multiplies alpha into the colours, which loses levels.
 *
 * @returns RGBA bytes; null for other kinds of PNG.
 */
export async function readAlphaPng(bytes) {
  const chunks = [...readChunks(bytes)];
  const header = chunks[0][1];
  const view = new DataView(header.buffer, header.byteOffset, header.length);
  const [width, height, channels] = [view.getUint32(0), view.getUint32(4), { 4: 2, 6: 4 }[header[9]]];
  if (header[8] !== 8 || !channels || header[12] !== 0) return null;
  const parts = chunks.filter(([name]) => name === "IDAT").map(([, content]) => content);
  const rows = await inflate(new Uint8Array(await new Blob(parts).arrayBuffer()));
  const stride = width * channels;
  unfilterRows(rows, stride, channels);
  const rgba = new Uint8ClampedArray(width * height * 4);
  for (let to = 0, y = 0; y < height; y++) {
    let from = y * (stride + 1) + 1;
    for (let x = 0; x < width; x++, to += 4, from += channels) {
      for (let channel = 0; channel < 3; channel++) rgba[to + channel] = rows[from + (channels === 4 ? channel : 0)];
      rgba[to + 3] = rows[from + channels - 1];
    }
  }
  return rgba;
}
