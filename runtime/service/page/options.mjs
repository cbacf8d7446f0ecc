// The panel of options: size of the brush, where and how holes are filled.

import { MAX_CROP_PIXELS } from "./browser_engine.mjs";
import { MAX_SIZE } from "./painting.mjs";

const PLACES = {
  server: "All sizes and strategies, with the engine of the server.",
  browser: `Nothing leaves this machine. One piece at full resolution, up to ${MAX_CROP_PIXELS / 1e6} megapixels around each hole; 8 bits, sRGB.`,
};
const byId = (id) => document.getElementById(id);

// The slider is exponential: small brushes need finer steps than large ones.
const toSize = (position) => Math.round(MAX_SIZE ** (position / 100));
const toPosition = (size) => (Math.log(size) / Math.log(MAX_SIZE)) * 100;

export class Options {
  /** Set by the app when the model is known. */
  browserEngine = null;
  #size = 24;

  /** @param hasServer Whether a server can fill. @param onChange Called after each change. */
  constructor(hasServer, onChange) {
    this.onChange = onChange;
    byId("places").hidden = false;
    const server = document.querySelector("input[name=place][value=server]");
    const browser = document.querySelector("input[name=place][value=browser]");
    (hasServer ? server : browser).checked = true;
    server.disabled = !hasServer;
    byId("places").querySelector(".choices").hidden = !hasServer;
    for (const id of ["size", "dilate", "feather"]) byId(id).addEventListener("input", () => this.#read(id));
    for (const input of [server, browser]) input.addEventListener("change", () => this.#show());
    if (matchMedia("(max-width: 760px)").matches) byId("options").open = false;
    this.#show();
  }

  #read(id) {
    if (id === "size") this.#size = toSize(byId("size").valueAsNumber);
    this.#show();
    this.onChange();
  }

  #show() {
    byId("size").value = toPosition(this.#size);
    byId("size-text").textContent = `${this.#size} px`;
    byId("size").setAttribute("aria-valuetext", `${this.#size} pixels`);
    const { dilate } = this.values;
    // The transition lies in the ring by which the mask is grown.
    byId("feather").max = dilate;
    byId("feather").disabled = dilate === 0;
    for (const id of ["dilate", "feather"]) {
      byId(`${id}-text`).textContent = `${byId(id).value} px`;
      byId(id).setAttribute("aria-valuetext", `${byId(id).value} pixels`);
    }
    byId("place-text").textContent = PLACES[this.place];
    byId("strategies").hidden = this.place !== "server";
  }

  /** Where holes are filled: "server" or "browser". */
  get place() {
    return document.querySelector("input[name=place]:checked").value;
  }

  /** The options of a fill, by the names of the library. */
  get values() {
    return {
      dilate: byId("dilate").valueAsNumber,
      feather: byId("feather").valueAsNumber,
      strategy: this.place === "server" ? byId("strategy").value : "crop",
    };
  }

  get fillsAtOnce() {
    return byId("at-once").checked;
  }

  /** Diameter of the brush, in pixels of the photo. */
  get size() {
    return this.#size;
  }

  /** Chooses a brush that suits a photo. */
  suggestSize(side) {
    this.#size = Math.min(Math.max(Math.round(side / 45), 6), MAX_SIZE);
    this.#show();
  }

  stepSize(direction) {
    const next = Math.round(this.#size * 1.15 ** direction);
    this.#size = Math.min(Math.max(next === this.#size ? next + direction : next, 1), MAX_SIZE);
    this.#show();
    this.onChange();
  }
}
