// Fills crops on the server that served the page.

import { PageError, readPixels } from "./photo.mjs";
import { writeMask, writePng } from "./png.mjs";
import { readRefusal, request } from "./request.mjs";

const OFFLINE = "The server does not answer. Start it again, or fill in the browser.";

/** Sends a photo and a mask, and returns the answer. */
async function post(image, mask, fields, signal) {
  const form = new FormData();
  form.append("image", image, image.name ?? "photo.png");
  form.append("mask", mask, "mask.png");
  for (const [name, value] of Object.entries({ format: "png", ...fields })) form.append(name, String(value));
  let response;
  try {
    response = await request("v1/fill", { method: "POST", body: form, signal });
  } catch (error) {
    throw signal?.aborted ? error : new PageError(OFFLINE);
  }
  if (!response.ok) throw new PageError(await readRefusal(response));
  return response;
}

/** Returns a PNG file of a photo in any format that the library reads. */
export async function convertToPng(blob, name) {
  const nothing = await writeMask({ width: 1, height: 1, bits: Uint8Array.of(0) });
  const response = await post(new File([blob], name), nothing, { resize_mask: true });
  return response.blob();
}

/** The place "on the server". */
export const serverEngine = {
  /**
   * Fills the hole of a crop.
   *
   * @param crop { pixels: ImageData, marked: hole, hole: hole after --dilate, isGrey }. Alpha plays no part.
   * @param options { dilate, feather, strategy }.
   * @returns { rgba, engine }: the pixels of the crop, and what computed them.
   */
  async fill(crop, options, { signal }) {
    const { width, height, data } = crop.pixels;
    const image = await writePng(data, width, height, crop.isGrey ? 1 : 3);
    const response = await post(image, await writeMask(crop.marked), options, signal);
    const filled = await readPixels(await response.blob());
    if (filled.width !== width || filled.height !== height) {
      throw new PageError(
        `The server answered with ${filled.width}x${filled.height} pixels: expected ${width}x${height}.`,
      );
    }
    const precision = response.headers.get("X-WavePaint-Precision") ?? "";
    const engine = response.headers.get("X-WavePaint-Engine") ?? "the server";
    return { rgba: filled.data, engine: engine.includes(precision) ? engine : `${engine} ${precision}` };
  },
};
