// Where the photo lies on the stage: zoom and position. The browser's compositor moves it, nothing is redrawn.

const MARGIN = 28;
const MAX_PIXEL_SIDE = 40; // CSS pixels of one pixel of the photo
const MIN_VISIBLE = 48; // CSS pixels of the photo that always stay on the stage

export class View extends EventTarget {
  constructor(stage, sheet) {
    super();
    this.stage = stage;
    this.sheet = sheet;
    Object.assign(this, { width: 1, height: 1, scale: 1, x: 0, y: 0, isFitted: true });
    new ResizeObserver(() => (this.isFitted ? this.fit() : this.#apply())).observe(stage);
  }

  /** Shows another photo, as large as fits. */
  show(width, height) {
    Object.assign(this, { width, height });
    this.sheet.style.width = `${width}px`;
    this.sheet.style.height = `${height}px`;
    this.fit();
  }

  get #fitting() {
    const { clientWidth, clientHeight } = this.stage;
    const sides = [(clientWidth - 2 * MARGIN) / this.width, (clientHeight - 2 * MARGIN) / this.height];
    return Math.max(Math.min(...sides, 4), 1e-3);
  }

  fit() {
    this.scale = this.#fitting;
    this.x = (this.stage.clientWidth - this.width * this.scale) / 2;
    this.y = (this.stage.clientHeight - this.height * this.scale) / 2;
    this.isFitted = true;
    this.#apply();
  }

  /** The zoom as people know it: 1 is one pixel of the photo for one of the screen. */
  get zoom() {
    return this.scale * devicePixelRatio;
  }

  /** Zooms around a place on the stage, by default its middle. */
  zoomBy(factor, x = this.stage.clientWidth / 2, y = this.stage.clientHeight / 2) {
    const scale = Math.min(Math.max(this.scale * factor, this.#fitting / 4), Math.max(MAX_PIXEL_SIDE, this.#fitting));
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.isFitted = false;
    this.#apply();
  }

  panBy(right, down) {
    this.x += right;
    this.y += down;
    this.isFitted = false;
    this.#apply();
  }

  /** Returns the place on the stage of a pointer. */
  toStage(event) {
    const box = this.stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  /** Returns the place on the photo, in its pixels, of a pointer. */
  toPhoto(event) {
    const [x, y] = this.toStage(event);
    return [(x - this.x) / this.scale, (y - this.y) / this.scale];
  }

  #apply() {
    const { clientWidth, clientHeight } = this.stage;
    const [width, height] = [this.width * this.scale, this.height * this.scale];
    this.x = Math.min(Math.max(this.x, MIN_VISIBLE - width), clientWidth - MIN_VISIBLE);
    this.y = Math.min(Math.max(this.y, MIN_VISIBLE - height), clientHeight - MIN_VISIBLE);
    this.sheet.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
    this.sheet.classList.toggle("pixelated", this.zoom >= 3);
    this.dispatchEvent(new Event("change"));
  }
}
