// Fills crops on the server that served the page.

import { PageError, readPixels } from "./photo.mjs";
import { writeMask, writePng } from "./png.mjs";
import { request } from "./request.mjs";

const OFFLINE = "The server does not answer. Start it again, or fill in the browser.";

/** Returns what a refusal says, in the words of the library. */
async function readRefusal(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `The server answered with status ${response.status} (${response.statusText || "no reason given"}).`;
  }
}

/** The place "on the server". */
export const serverEngine = {
  /**
   * Fills the hole of a crop.
   *
   * @param crop { pixels: ImageData, marked: hole, hole: hole after --dilate, isGrey, hasAlpha }.
   * @param options { dilate, feather, strategy }.
   * @returns { rgba, engine }: the pixels of the crop, and what computed them.
   */
  async fill(crop, options, { signal }) {
    const { width, height, data } = crop.pixels;
    const channels = (crop.isGrey ? 1 : 3) + (crop.hasAlpha ? 1 : 0);
    const form = new FormData();
    form.append("image", await writePng(data, width, height, channels), "photo.png");
    form.append("mask", await writeMask(crop.marked), "mask.png");
    form.append("format", "png");
    for (const [name, value] of Object.entries(options)) form.append(name, String(value));
    let response;
    try {
      response = await request("v1/fill", { method: "POST", body: form, signal });
    } catch (error) {
      throw signal.aborted ? error : new PageError(OFFLINE);
    }
    if (!response.ok) throw new PageError(await readRefusal(response));
    const filled = await readPixels(await response.blob());
    if (filled.width !== width || filled.height !== height) {
      throw new PageError(`The server answered with ${filled.width}x${filled.height} pixels: expected ${width}x${height}.`);
    }
    const precision = response.headers.get("X-WavePaint-Precision") ?? "";
    const engine = response.headers.get("X-WavePaint-Engine") ?? "the server";
    return { rgba: filled.data, engine: engine.includes(precision) ? engine : `${engine} ${precision}` };
  },
};
