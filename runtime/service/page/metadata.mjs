// Reads what a photo's file says beside its pixels, and writes it into the file of the result: JPEG, PNG and WebP.

import { deflate, inflate, makeChunk, readChunks } from "./png.mjs";

const EXIF = "Exif\0\0";
const XMP = "http://ns.adobe.com/xap/1.0/\0";
const ICC = "ICC_PROFILE\0";
const XMP_KEYWORD = "XML:com.adobe.xmp";
const SEGMENT_BYTES = 65533; // most bytes that one JPEG segment carries

const latin1 = (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
const toBytes = (text) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));
const startsWith = (bytes, text) => latin1(bytes.subarray(0, text.length)) === text;
const viewBytes = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function join(parts) {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** Yields [marker, content] of every JPEG segment before the pixels. */
function* readSegments(bytes) {
  for (let at = 2; at + 4 <= bytes.length && bytes[at] === 0xff;) {
    const marker = bytes[at + 1];
    if (marker === 0xff) {
      at += 1; // a fill byte
      continue;
    }
    if (marker === 0xda) return;
    const length = (bytes[at + 2] << 8) | bytes[at + 3];
    yield [marker, bytes.subarray(at + 4, at + 2 + length)];
    at += 2 + length;
  }
}

/** Yields [name, content] of every WebP chunk. */
function* readRiff(bytes) {
  const view = viewBytes(bytes);
  for (let at = 12; at + 8 <= bytes.length;) {
    const length = view.getUint32(at + 4, true);
    yield [latin1(bytes.subarray(at, at + 4)), bytes.subarray(at + 8, at + 8 + length)];
    at += 8 + length + (length % 2);
  }
}

// The sum of the luminance table that libjpeg scales by a quality; used to read the quality from a file's own table.
const STANDARD_SUM = 3685;

function estimateQuality(table) {
  const sum = table.subarray(0, 64).reduce((total, value) => total + value, 0);
  const scale = (sum / STANDARD_SUM) * 100;
  return Math.min(Math.max(scale <= 100 ? (200 - scale) / 2 : 5000 / scale, 30), 100) / 100;
}

function readJpeg(bytes) {
  const meta = { format: "jpeg", channels: 3, depth: 8, quality: 0.95 };
  const profile = [];
  let isMeasured = false;
  for (const [marker, content] of readSegments(bytes)) {
    if (marker === 0xe1 && startsWith(content, EXIF)) meta.exif = content.slice(EXIF.length);
    if (marker === 0xe1 && startsWith(content, XMP)) meta.xmp = content.slice(XMP.length);
    if (marker === 0xe2 && startsWith(content, ICC)) profile[content[ICC.length] - 1] = content.slice(ICC.length + 2);
    if (marker === 0xe0 && startsWith(content, "JFIF\0")) meta.density = content.slice(7, 12);
    if (marker === 0xdb && content[0] === 0 && !isMeasured) {
      meta.quality = estimateQuality(content.subarray(1));
      isMeasured = true;
    }
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      meta.depth = content[0];
      meta.channels = content[5];
    }
  }
  if (profile.length) meta.icc = join(profile.filter(Boolean));
  return meta;
}

async function readPng(bytes) {
  const meta = { format: "png", channels: 3, depth: 8, kept: [] };
  for (const [name, content] of readChunks(bytes)) {
    if (name === "IHDR") {
      meta.depth = content[8];
      meta.channels = { 0: 1, 4: 2, 6: 4 }[content[9]] ?? 3;
    }
    if (name === "eXIf") meta.exif = content.slice();
    if (name === "iCCP") meta.icc = await inflate(content.subarray(content.indexOf(0) + 2));
    if (name === "iTXt" && startsWith(content, XMP_KEYWORD + "\0\0")) meta.xmp = content.slice(XMP_KEYWORD.length + 5);
    else if (["tEXt", "zTXt", "iTXt"].includes(name)) meta.kept.push(makeChunk(name, content));
    if (["pHYs", "gAMA", "cHRM", "sRGB"].includes(name)) meta.kept.push(makeChunk(name, content));
    if (name === "tRNS") meta.channels = meta.channels === 1 ? 2 : 4;
    if (name === "IDAT") return meta;
  }
  return meta;
}

function readWebp(bytes) {
  const meta = { format: "webp", channels: 4, depth: 8 };
  const names = { ICCP: "icc", EXIF: "exif", "XMP ": "xmp" };
  for (const [name, content] of readRiff(bytes)) if (names[name]) meta[names[name]] = content.slice();
  if (meta.exif && startsWith(meta.exif, EXIF)) meta.exif = meta.exif.slice(EXIF.length);
  return meta;
}

/**
 * Reads a photo's file.
 *
 * @returns format ("jpeg", "png", "webp" or "other"), channels, depth in bits, and if present: icc, exif (a TIFF
 *     block), xmp, quality (0 to 1, of a JPEG), profile (the name of the ICC profile).
 */
export async function readMetadata(bytes) {
  let meta = { format: "other", channels: 4, depth: 8 };
  if (bytes[0] === 0xff && bytes[1] === 0xd8) meta = readJpeg(bytes);
  else if (startsWith(bytes, "\x89PNG")) meta = await readPng(bytes);
  else if (startsWith(bytes, "RIFF") && startsWith(bytes.subarray(8), "WEBP")) meta = readWebp(bytes);
  if (meta.icc) meta.profile = nameProfile(meta.icc);
  meta.orientation = (meta.exif && visitOrientation(meta.exif)) || 1;
  return meta;
}

/**
 * Returns the orientation in EXIF data, 1 to 8; undefined if there is none.
 *
 * @param change Called with the data and the place of the value, and with the place of the link to the preview.
 */
function visitOrientation(exif, change = () => {}) {
  const view = viewBytes(exif);
  const isLittle = exif[0] === 0x49;
  let found;
  try {
    const first = view.getUint32(4, isLittle);
    const count = view.getUint16(first, isLittle);
    for (let entry = first + 2; entry < first + 2 + count * 12; entry += 12) {
      if (view.getUint16(entry, isLittle) !== 0x0112) continue;
      found = view.getUint16(entry + 8, isLittle);
      change(view, isLittle, entry + 8, first + 2 + count * 12);
    }
  } catch {
    return undefined; // damaged
  }
  return found >= 1 && found <= 8 ? found : undefined;
}

/**
 * Returns a PNG or WebP file without its EXIF data: browsers disagree about the orientation there. In JPEG files all
 * of them apply it.
 */
export function dropExif(bytes, format) {
  if (format === "png") {
    const chunks = [...readChunks(bytes)].filter(([name]) => name !== "eXIf");
    return join([bytes.subarray(0, 8), ...chunks.map(([name, content]) => makeChunk(name, content))]);
  }
  const chunks = [...readRiff(bytes)].filter(([name]) => name !== "EXIF");
  return makeRiffChunk(
    "RIFF",
    join([toBytes("WEBP"), ...chunks.map(([name, content]) => makeRiffChunk(name, content))]),
  );
}

/** Returns the description of an ICC profile. */
function nameProfile(icc) {
  const view = viewBytes(icc);
  const count = icc.length > 132 ? view.getUint32(128) : 0;
  for (let index = 0; index < count && 144 + index * 12 <= icc.length; index++) {
    const entry = 132 + index * 12;
    if (latin1(icc.subarray(entry, entry + 4)) !== "desc") continue;
    const tag = icc.subarray(view.getUint32(entry + 4), view.getUint32(entry + 4) + view.getUint32(entry + 8));
    const fields = viewBytes(tag);
    if (startsWith(tag, "desc")) return latin1(tag.subarray(12, 11 + fields.getUint32(8)));
    const [length, offset] = [fields.getUint32(20), fields.getUint32(24)];
    return new TextDecoder("utf-16be").decode(tag.subarray(offset, offset + length)).replace(/\0/g, "");
  }
  return "unknown";
}

/** Returns a copy of EXIF data for upright pixels: orientation 1, and no preview, which would show the old picture. */
function makeUpright(exif) {
  const copy = exif.slice();
  visitOrientation(copy, (view, isLittle, value, preview) => {
    view.setUint16(value, 1, isLittle);
    view.setUint32(preview, 0, isLittle);
  });
  return copy;
}

function makeSegment(marker, ...parts) {
  const content = join(parts);
  return join([Uint8Array.of(0xff, marker, (content.length + 2) >> 8, (content.length + 2) & 255), content]);
}

function embedInJpeg(bytes, { exif, xmp, icc, density }) {
  const segments = [];
  const jfif = density ?? Uint8Array.of(0, 0, 1, 0, 1);
  segments.push(makeSegment(0xe0, toBytes("JFIF\0\x01\x01"), jfif, Uint8Array.of(0, 0)));
  if (exif && exif.length + EXIF.length <= SEGMENT_BYTES) segments.push(makeSegment(0xe1, toBytes(EXIF), exif));
  if (xmp && xmp.length + XMP.length <= SEGMENT_BYTES) segments.push(makeSegment(0xe1, toBytes(XMP), xmp));
  const share = SEGMENT_BYTES - ICC.length - 2;
  const count = icc ? Math.ceil(icc.length / share) : 0;
  for (let index = 0; index < count; index++) {
    const part = icc.subarray(index * share, (index + 1) * share);
    segments.push(makeSegment(0xe2, toBytes(ICC), Uint8Array.of(index + 1, count), part));
  }
  // The canvas's own header and profile give way to the photo's.
  let start = 2;
  while (bytes[start + 1] >= 0xe0 && bytes[start + 1] <= 0xef)
    start += 2 + ((bytes[start + 2] << 8) | bytes[start + 3]);
  return join([bytes.subarray(0, 2), ...segments, bytes.subarray(start)]);
}

function makeRiffChunk(name, content) {
  const head = new Uint8Array(8);
  head.set(toBytes(name));
  viewBytes(head).setUint32(4, content.length, true);
  return join([head, content, new Uint8Array(content.length % 2)]);
}

function embedInWebp(bytes, { exif, xmp, icc }, width, height) {
  const pictures = [...readRiff(bytes)].filter(([name]) => ["VP8 ", "VP8L", "ALPH"].includes(name));
  const hasAlpha = pictures.some(([name, content]) => name === "ALPH" || (name === "VP8L" && content[4] & 0x10));
  const header = new Uint8Array(10);
  header[0] = (icc ? 0x20 : 0) | (hasAlpha ? 0x10 : 0) | (exif ? 0x08 : 0) | (xmp ? 0x04 : 0);
  for (const [at, side] of [
    [4, width - 1],
    [7, height - 1],
  ])
    header.set([side, side >> 8, side >> 16], at);
  const chunks = [makeRiffChunk("VP8X", header)];
  if (icc) chunks.push(makeRiffChunk("ICCP", icc));
  chunks.push(...pictures.map(([name, content]) => makeRiffChunk(name, content)));
  if (exif) chunks.push(makeRiffChunk("EXIF", exif));
  if (xmp) chunks.push(makeRiffChunk("XMP ", xmp));
  const body = join([toBytes("WEBP"), ...chunks]);
  return makeRiffChunk("RIFF", body);
}

/** Returns the metadata to write beside upright pixels. */
export function prepareMetadata(meta) {
  const exif = meta.exif && makeUpright(meta.exif);
  const xmp = meta.xmp && toBytes(latin1(meta.xmp).replace(/(tiff:Orientation(?:="|>))\d/, "$11"));
  return { ...meta, exif, xmp };
}

/** Returns the PNG chunks of prepared metadata. */
export async function makePngChunks({ exif, xmp, icc, kept = [] }) {
  const chunks = [...kept];
  if (icc) chunks.unshift(makeChunk("iCCP", join([toBytes("ICC\0\0"), await deflate(icc)])));
  if (exif) chunks.push(makeChunk("eXIf", exif));
  if (xmp) chunks.push(makeChunk("iTXt", join([toBytes(XMP_KEYWORD + "\0\0\0\0\0"), xmp])));
  return chunks;
}

/** Returns a JPEG or WebP file of a canvas with prepared metadata. */
export async function embed(blob, metadata, width, height) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const result =
    blob.type === "image/jpeg" ? embedInJpeg(bytes, metadata) : embedInWebp(bytes, metadata, width, height);
  return new Blob([result], { type: blob.type });
}
