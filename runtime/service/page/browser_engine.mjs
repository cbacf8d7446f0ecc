// Fills crops in this browser: the network runs in a worker, and nothing leaves the machine.

import { PageError } from "./photo.mjs";
import { readRefusal, request } from "./request.mjs";
import { measureThickness, weighEdge } from "./regions.mjs";

export const MAX_CROP_PIXELS = 1.5e6;

function checkCrop({ pixels: { width, height } }) {
  if (width * height <= MAX_CROP_PIXELS) return;
  throw new PageError(
    `This hole and its neighbourhood have ${width}x${height} pixels, and the browser computes up to ` +
      `${MAX_CROP_PIXELS / 1e6} megapixels at once. Mark a smaller part, or fill it on the server or with wp infer.`,
  );
}

function takeColours({ pixels: { data }, isGrey }, bits) {
  const rgb = new Uint8Array(bits.length * 3);
  for (let at = 0; at < bits.length; at++) {
    for (let channel = 0; channel < 3; channel++) rgb[at * 3 + channel] = data[at * 4 + (isGrey ? 0 : channel)];
  }
  return rgb;
}

/** Puts the network's colours into the hole, with a soft edge where the hole was grown. */
function compose(crop, rgb, feather) {
  const rgba = crop.pixels.data.slice();
  const { bits } = crop.hole;
  const weights = feather ? weighEdge(crop.hole, feather) : null;
  for (let at = 0; at < bits.length; at++) {
    if (!bits[at]) continue;
    const weight = weights && !crop.marked.bits[at] ? weights[at] : 1;
    const grey = (rgb[at * 3] + rgb[at * 3 + 1] + rgb[at * 3 + 2]) / 3;
    for (let channel = 0; channel < 3; channel++) {
      const colour = crop.isGrey ? grey : rgb[at * 3 + channel];
      const to = at * 4 + channel;
      rgba[to] = Math.round(weight * colour + (1 - weight) * rgba[to]);
    }
  }
  return rgba;
}

/** The place "in this browser". */
export class BrowserEngine {
  #worker = null;
  #file = null; // the network's bytes, read once

  /** @param model { url, crop_size }: where the network is, and the side of its training crops. */
  constructor(model) {
    this.model = model;
  }

  async #read(signal, onProgress) {
    onProgress("Loading the network…");
    const response = await request(this.model.url, { signal });
    if (!response.ok) throw new PageError(await readRefusal(response));
    return new Uint8Array(await response.arrayBuffer());
  }

  /** Asks the worker, which starts with the first question; a cancelled one ends it, since it cannot be interrupted. */
  #ask(question, transfer, { signal, onProgress }) {
    this.#worker ??= new Worker(new URL("./worker.mjs", import.meta.url), { type: "module" });
    const worker = this.#worker;
    return new Promise((resolve, reject) => {
      const stop = (error) => {
        worker.terminate();
        this.#worker = null;
        reject(error);
      };
      const cancel = () => stop(signal.reason);
      signal.addEventListener("abort", cancel, { once: true });
      worker.onerror = (event) =>
        stop(new PageError(`The network did not start in this browser: ${event.message ?? "no reason given"}.`));
      worker.onmessage = ({ data }) => {
        if (data.progress) return onProgress(data.progress);
        signal.removeEventListener("abort", cancel);
        if (data.error) return stop(new PageError(data.error));
        resolve(data);
      };
      worker.postMessage(question, transfer);
    });
  }

  /** Fills the hole of a crop, as serverEngine.fill does; the strategy is always one crop at full resolution. */
  async fill(crop, { feather }, { signal, onProgress }) {
    checkCrop(crop);
    signal.throwIfAborted();
    this.#file ??= await this.#read(signal, onProgress);
    const { width, height, bits } = crop.hole;
    const image = takeColours(crop, bits);
    const mask = bits.map((bit) => bit * 255);
    const question = { network: this.#file, width, height, image, mask };
    const { rgb, threads } = await this.#ask(question, [image.buffer, mask.buffer], { signal, onProgress });
    const engine = `this browser, ${threads} thread${threads === 1 ? "" : "s"}`;
    return { rgba: compose(crop, rgb, feather), engine };
  }

  /** Returns the thickness of a hole if the server would fill it better; else 0. */
  findTooThick(hole) {
    const thickness = measureThickness(hole);
    return thickness > Math.round((this.model.crop_size * 2) / 3) ? thickness : 0;
  }
}
