// The dialog that saves or copies the result and the mask.

import { PageError } from "./photo.mjs";
import { writeMask } from "./png.mjs";
import { copy, download, encodeResult, listFormats, nameFile } from "./saving.mjs";
import { Strokes } from "./strokes.mjs";

const NAMES = { jpeg: "JPEG", png: "PNG", webp: "WebP" };
const byId = (id) => document.getElementById(id);

export class SaveDialog {
  photo = null;

  /**
   * @param history Knows what was filled.
   * @param strokes What is marked now.
   * @param onSaved Called when the result was saved.
   * @param report Called with an error.
   */
  constructor(history, strokes, onSaved, report) {
    Object.assign(this, { history, strokes, onSaved, report, dialog: byId("saving") });
    const listen = (id, action) => byId(id).addEventListener("click", () => action().catch(report));
    listen("download", () => this.#downloadResult());
    listen("copy", () => this.#copy(() => encodeResult(this.photo, "png")));
    listen("download-mask", () => this.#downloadMask());
    listen("copy-mask", () => this.#copy(() => writeMask(this.#makeMask())));
    byId("formats").addEventListener("change", () => this.#explain());
  }

  show() {
    const formats = listFormats(this.photo);
    byId("formats").replaceChildren(
      ...formats.map((format, index) => {
        const label = document.createElement("label");
        const input = Object.assign(document.createElement("input"), {
          type: "radio",
          name: "format",
          value: format,
          checked: index === 0,
        });
        label.append(input, NAMES[format]);
        return label;
      }),
    );
    this.#explain();
    this.dialog.showModal();
    byId("download").focus();
  }

  get #format() {
    return this.dialog.querySelector("input[name=format]:checked").value;
  }

  #explain() {
    const { width, height, meta } = this.photo;
    const own = meta.format === this.#format ? ", the format of the photo" : "";
    const loss = this.#format === "jpeg" ? ` Quality ${Math.round((meta.quality ?? 0.95) * 100)}.` : " Without loss.";
    byId("format-text").textContent = `${width} × ${height} pixels${own}.${loss} EXIF and colour profile are kept.`;
  }

  async #downloadResult() {
    const format = this.#format;
    download(await encodeResult(this.photo, format), nameFile(this.photo, "filled", format));
    this.onSaved();
    this.dialog.close();
  }

  async #copy(makeBlob) {
    await copy(makeBlob);
    this.dialog.close();
  }

  async #downloadMask() {
    download(await writeMask(this.#makeMask()), nameFile(this.photo, "mask", "png"));
    this.dialog.close();
  }

  /** Returns what is marked now; or if nothing is, everything that was filled. */
  #makeMask() {
    const marked = this.strokes.readHole();
    if (marked) return marked;
    const { width, height } = this.photo;
    const all = { width, height, bits: new Uint8Array(width * height) };
    const drawing = new Strokes(document.createElement("canvas"));
    drawing.resize(width, height);
    for (const list of this.history.listFilledStrokes()) {
      drawing.replace(list);
      const hole = drawing.readHole();
      if (hole) hole.bits.forEach((bit, at) => (all.bits[at] |= bit));
    }
    if (!all.bits.includes(1)) throw new PageError("There is no mask yet. Paint over what should go first.");
    return all;
  }
}
