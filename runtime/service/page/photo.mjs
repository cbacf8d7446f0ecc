// A photo that is open: its pixels on a canvas, as they are in the file, and what its file says beside them.

import { dropExif, readMetadata } from "./metadata.mjs";
import { readAlphaPng } from "./png.mjs";

const MAX_MEGAPIXELS = 120;

/** An error whose message is meant for people. */
export class PageError extends Error {}

/** Decodes a picture without applying its colour profile, so that its levels stay those of the file. */
async function decode(blob) {
  return createImageBitmap(blob, {
    colorSpaceConversion: "none",
    premultiplyAlpha: "none",
    imageOrientation: "from-image",
  });
}

function makeCanvas(width, height, options) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", options);
  if (!context)
    throw new PageError(`${width}x${height} pixels are more than this browser can show. Scale the photo down.`);
  return context;
}

/** Draws a picture upright, for an EXIF orientation from 1 to 8. */
function drawUpright(bitmap, orientation, options) {
  const isTurned = orientation >= 5;
  const [width, height] = isTurned ? [bitmap.height, bitmap.width] : [bitmap.width, bitmap.height];
  const context = makeCanvas(width, height, options);
  const turns = {
    2: [-1, 0, 0, 1, width, 0],
    3: [-1, 0, 0, -1, width, height],
    4: [1, 0, 0, -1, 0, height],
    5: [0, 1, 1, 0, 0, 0],
    6: [0, 1, -1, 0, width, 0],
    7: [0, -1, -1, 0, width, height],
    8: [0, -1, 1, 0, 0, height],
  };
  if (turns[orientation]) context.setTransform(...turns[orientation]);
  context.drawImage(bitmap, 0, 0);
  context.resetTransform();
  bitmap.close();
  return context;
}

/** Returns the pixels of a picture that is upright. */
export async function readPixels(blob) {
  const context = drawUpright(await decode(blob), 1, { willReadFrequently: true });
  return context.getImageData(0, 0, context.canvas.width, context.canvas.height);
}

function checkMetadata(name, meta) {
  if (meta.format === "jpeg" && meta.channels === 4) {
    throw new PageError(
      `${name} is CMYK: convert it to RGB with its ICC profile first (a plain conversion would shift every colour).`,
    );
  }
  const notes = [];
  if (meta.depth > 8) {
    notes.push(
      `${name} has ${meta.depth} bits a channel. The page works and saves with 8; wp infer keeps all of them.`,
    );
  }
  const isKnown = !meta.profile || /srgb|display p3|iec61966|gr[ae]y|gamma 2\.2/i.test(meta.profile);
  if (!isKnown) {
    notes.push(
      `Colours are shown without the profile “${meta.profile}” and may look paler than they are. The saved file keeps it.`,
    );
  }
  return notes;
}

export class Photo {
  #levels; // RGBA bytes of a photo with alpha, which a canvas would round

  /**
   * @param name The name of its file.
   * @param context A canvas with its pixels.
   * @param meta See readMetadata.
   * @param levels Its RGBA bytes, if the canvas does not hold them exactly; else null.
   */
  constructor(name, context, meta, levels) {
    this.name = name;
    this.meta = meta;
    this.context = context;
    this.canvas = context.canvas;
    this.width = this.canvas.width;
    this.height = this.canvas.height;
    this.#levels = levels;
    this.isGrey = meta.channels <= 2;
    this.hasAlpha = meta.channels % 2 === 0 && this.read().data.some((level, at) => at % 4 === 3 && level < 255);
    this.original = makeCanvas(this.width, this.height, { colorSpace: this.colorSpace }).canvas;
    this.original.getContext("2d").drawImage(this.canvas, 0, 0);
  }

  get colorSpace() {
    return this.context.getContextAttributes().colorSpace ?? "srgb";
  }

  /** The name without its extension. */
  get stem() {
    return this.name.replace(/\.[^.]*$/, "");
  }

  #rows({ left, top, width, height }, visit) {
    for (let y = 0; y < height; y++) visit(y * width * 4, ((top + y) * this.width + left) * 4, width * 4);
  }

  /** Returns the pixels of a region, as they are in the file. */
  read(region = { left: 0, top: 0, width: this.width, height: this.height }) {
    const { left, top, width, height } = region;
    if (!this.#levels) return this.context.getImageData(left, top, width, height, { colorSpace: this.colorSpace });
    const rgba = new Uint8ClampedArray(width * height * 4);
    this.#rows(region, (at, from, count) => rgba.set(this.#levels.subarray(from, from + count), at));
    return this.makePixels(rgba, width, height);
  }

  /** Replaces the pixels of a region. */
  write(region, pixels) {
    this.context.putImageData(pixels, region.left, region.top);
    if (!this.#levels) return;
    this.#rows(region, (at, to, count) => this.#levels.set(pixels.data.subarray(at, at + count), to));
  }

  /** Returns pixels that can be written: RGBA bytes of a region. */
  makePixels(rgba, width, height) {
    return new ImageData(rgba, width, height, { colorSpace: this.colorSpace });
  }
}

/** Draws a file's pixels upright, on a canvas of the colour space in which they are shown; null for other files. */
async function draw(bytes, meta, name) {
  const isOwn = meta.orientation > 1 && (meta.format === "png" || meta.format === "webp");
  const bitmap = await decode(new Blob([isOwn ? dropExif(bytes, meta.format) : bytes])).catch(() => null);
  if (!bitmap) return null;
  const megapixels = (bitmap.width * bitmap.height) / 1e6;
  if (megapixels > MAX_MEGAPIXELS) {
    throw new PageError(
      `${name} has ${megapixels.toFixed(0)} megapixels: expected at most ${MAX_MEGAPIXELS}. Scale it down, or use wp infer.`,
    );
  }
  const context = drawUpright(bitmap, isOwn ? meta.orientation : 1);
  if (!/display p3/i.test(meta.profile ?? "")) return context;
  const { width, height } = context.canvas;
  const wide = makeCanvas(width, height, { colorSpace: "display-p3" });
  const { data } = context.getImageData(0, 0, width, height);
  wide.putImageData(new ImageData(data, width, height, { colorSpace: "display-p3" }), 0, 0);
  return wide;
}

/**
 * Opens a photo's file.
 *
 * @param convert Returns a PNG file of a photo that the browser cannot read, or throws; null if nothing can.
 * @returns { photo, notes }: the photo, and notes for whoever opened it.
 * @throws PageError The file is no picture, or one that would be damaged.
 */
export async function openPhoto(blob, name, convert) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let meta;
  try {
    meta = await readMetadata(bytes);
  } catch {
    meta = { format: "other", channels: 4, depth: 8, orientation: 1 }; // damaged: the decoder decides
  }
  const notes = checkMetadata(name, meta);
  const context = await draw(bytes, meta, name);
  if (!context) return convertPhoto(blob, name, convert);
  const isExact = meta.format === "png" && meta.channels % 2 === 0 && meta.orientation === 1;
  const levels = isExact ? await readAlphaPng(bytes) : null;
  const photo = new Photo(name, context, meta, levels);
  if (photo.hasAlpha && !levels) {
    notes.push("Colours of partly transparent pixels are rounded by this browser; wp infer keeps them.");
  }
  return { photo, notes };
}

async function convertPhoto(blob, name, convert) {
  if (!convert) {
    throw new PageError(
      `${name} cannot be read by this browser: expected a whole JPEG, PNG, WebP or AVIF file. ` +
        "Convert it first, or open it with wp paint, which also reads TIFF and HEIC.",
    );
  }
  const { photo, notes } = await openPhoto(await convert(blob, name), name.replace(/\.[^.]*$/, ".png"), null);
  return { photo, notes: [`This browser does not show ${name}, so it was converted to PNG.`, ...notes] };
}
