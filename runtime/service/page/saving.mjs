// Turns the result into a file, and hands files out.

import { embed, makePngChunks, prepareMetadata } from "./metadata.mjs";
import { PageError } from "./photo.mjs";
import { writePng } from "./png.mjs";

const EXTENSIONS = { jpeg: "jpg", png: "png", webp: "webp" };

/** Returns the formats that a photo can be saved in; the first is that of the photo, or PNG if it cannot be written. */
export function listFormats(photo) {
  const own = EXTENSIONS[photo.meta.format] ? photo.meta.format : "png";
  const others = ["png", "jpeg", "webp"].filter((format) => format !== own && (format !== "jpeg" || !photo.hasAlpha));
  return [own, ...others];
}

async function encode(canvas, type, quality) {
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, type, quality));
  if (blob?.type !== type)
    throw new PageError(`This browser writes no ${type.split("/")[1].toUpperCase()}. Choose PNG.`);
  return blob;
}

/** Copies the levels to a canvas without a colour space of its own: the file gets the photo's profile instead. */
function copyLevels(photo) {
  if (photo.colorSpace === "srgb") return photo.canvas;
  const canvas = document.createElement("canvas");
  canvas.width = photo.width;
  canvas.height = photo.height;
  canvas.getContext("2d").putImageData(new ImageData(photo.read().data, photo.width, photo.height), 0, 0);
  return canvas;
}

/** Returns the result as a file with the metadata of the photo, at full resolution. */
export async function encodeResult(photo, format) {
  const metadata = prepareMetadata(photo.meta);
  if (format === "png") {
    const channels = (photo.isGrey ? 1 : 3) + (photo.hasAlpha ? 1 : 0);
    return writePng(photo.read().data, photo.width, photo.height, channels, await makePngChunks(metadata));
  }
  // At the highest quality, browsers write lossless WebP.
  const quality = format === "webp" ? 1 : (photo.meta.quality ?? 0.95);
  return embed(await encode(copyLevels(photo), `image/${format}`, quality), metadata, photo.width, photo.height);
}

/** Lets the browser save a file. */
export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Puts a picture into the clipboard, which takes PNG only. */
export async function copy(makeBlob) {
  if (!navigator.clipboard?.write) {
    throw new PageError(
      "This browser lets pages copy pictures only over HTTPS or on this machine. Download it instead.",
    );
  }
  // The promise goes into the item, because some browsers allow it only during the click.
  await navigator.clipboard.write([new ClipboardItem({ "image/png": makeBlob() })]);
}

/** Returns the name of a file that is saved: photo_filled.jpg, photo_mask.png. */
export function nameFile(photo, ending, format) {
  return `${photo.stem}_${ending}.${EXTENSIONS[format]}`;
}
