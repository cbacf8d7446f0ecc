// A photo that is open: its pixels on a canvas, as they are in the file, and what its file says beside them.

import { readMetadata } from "./metadata.mjs";

const MAX_PIXELS = 120e6;

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
  if (!context) throw new PageError(`${width}x${height} pixels are more than this browser can show. Scale the photo down.`);
  return context;
}

/** Returns the pixels of a picture, at most so large that the page's strokes can lie on it. */
export async function readPixels(blob) {
  const bitmap = await decode(blob);
  const context = makeCanvas(bitmap.width, bitmap.height, { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, context.canvas.width, context.canvas.height);
}

function checkMetadata(name, meta) {
  if (meta.format === "jpeg" && meta.channels === 4) {
    throw new PageError(`${name} is CMYK: convert it to RGB with its ICC profile first (a plain conversion would shift every colour).`);
  }
  const notes = [];
  if (meta.depth > 8) {
    notes.push(`${name} has ${meta.depth} bits a channel. The page works and saves with 8; wp infer keeps all of them.`);
  }
  const isKnown = !meta.profile || /srgb|display p3|iec61966|gr[ae]y|gamma 2\.2/i.test(meta.profile);
  if (!isKnown) {
    notes.push(`Colours are shown without the profile “${meta.profile}” and may look paler than they are. The saved file keeps it.`);
  }
  return notes;
}

export class Photo {
  constructor(name, context, meta, hasAlpha) {
    this.name = name;
    this.meta = meta;
    this.context = context;
    this.canvas = context.canvas;
    this.width = this.canvas.width;
    this.height = this.canvas.height;
    this.hasAlpha = hasAlpha;
    this.isGrey = meta.channels <= 2;
    this.original = makeCanvas(this.width, this.height, { colorSpace: this.colorSpace }).canvas;
    this.original.getContext("2d").drawImage(this.canvas, 0, 0);
  }

  get colorSpace() {
    return this.context.getContextAttributes().colorSpace ?? "srgb";
  }

  /** The name without its folder and extension. */
  get stem() {
    return this.name.replace(/\.[^.]*$/, "");
  }

  /** Returns the pixels of a region, as they are in the file. */
  read({ left, top, width, height } = { left: 0, top: 0, width: this.width, height: this.height }) {
    return this.context.getImageData(left, top, width, height, { colorSpace: this.colorSpace });
  }

  /** Replaces the pixels of a region. */
  write({ left, top }, pixels) {
    this.context.putImageData(pixels, left, top);
  }

  /** Returns pixels that can be written: RGBA bytes of a region. */
  makePixels(rgba, width, height) {
    return new ImageData(rgba, width, height, { colorSpace: this.colorSpace });
  }
}

/**
 * Opens a photo's file.
 *
 * @returns the photo, and notes for whoever opened it.
 * @throws PageError the file is no picture, or one that would be damaged.
 */
export async function openPhoto(blob, name) {
  const meta = await readMetadata(new Uint8Array(await blob.arrayBuffer()));
  const notes = checkMetadata(name, meta);
  let bitmap;
  try {
    bitmap = await decode(blob);
  } catch {
    throw new PageError(
      `${name} cannot be read by this browser: expected a whole JPEG, PNG, WebP or AVIF file. ` +
        "Convert it first, or fill it with wp infer, which also reads TIFF and HEIC.",
    );
  }
  const [width, height] = [bitmap.width, bitmap.height];
  if (width * height > MAX_PIXELS) {
    throw new PageError(`${name} has ${(width * height / 1e6).toFixed(0)} megapixels: expected at most ${MAX_PIXELS / 1e6}. Scale it down, or use wp infer.`);
  }
  const isWide = /display p3/i.test(meta.profile ?? "");
  const context = makeCanvas(width, height, { colorSpace: isWide ? "display-p3" : "srgb" });
  let hasAlpha = false;
  if (isWide || meta.channels % 2 === 0) {
    const raw = await readPixels(blob);
    for (let at = 3; at < raw.data.length && !hasAlpha; at += 4) hasAlpha = raw.data[at] < 255;
    context.putImageData(new ImageData(raw.data, width, height, { colorSpace: isWide ? "display-p3" : "srgb" }), 0, 0);
  } else {
    context.drawImage(bitmap, 0, 0);
  }
  bitmap.close();
  return { photo: new Photo(name, context, meta, hasAlpha), notes };
}
