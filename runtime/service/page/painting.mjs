// The tools that mark a hole: brush, eraser, rectangle and lasso; and what is drawn around the pointer.

import { COLOUR } from "./strokes.mjs";

const KINDS = { brush: "line", eraser: "line", rectangle: "rectangle", lasso: "lasso" };
export const MAX_SIZE = 400;

export class Painter {
  #stroke = null;
  #pointer = null;

  /**
   * @param view The view.
   * @param strokes The strokes that lie on the photo.
   * @param overlay A canvas over the stage.
   * @param onBegin Called when a stroke begins.
   * @param onStroke Called with the list before and the label of a finished stroke.
   */
  constructor(view, strokes, overlay, onBegin, onStroke) {
    Object.assign(this, { view, strokes, overlay, onBegin, onStroke, tool: "brush", size: 24, isEnabled: false });
    view.addEventListener("change", () => this.draw());
  }

  get #isRound() {
    return this.tool === "brush" || this.tool === "eraser";
  }

  /** Begins a stroke; Alt erases, Shift continues the last line straight. Returns whether it began. */
  begin(point, { altKey, shiftKey }) {
    if (!this.isEnabled || !KINDS[this.tool]) return false;
    this.onBegin();
    const last = this.strokes.list.at(-1);
    const isErasing = this.tool === "eraser" || altKey;
    const points = [point];
    if (shiftKey && this.#isRound && last?.kind === "line") points.unshift(last.points.at(-1));
    this.#stroke = { kind: KINDS[this.tool], isErasing, size: this.size, points };
    if (this.#isRound) this.strokes.drawFrom(this.#stroke, 0);
    this.draw();
    return true;
  }

  move(points) {
    if (!this.#stroke) return;
    const first = this.#stroke.points.length;
    this.#stroke.points.push(...points);
    if (this.#stroke.kind === "line") this.strokes.drawFrom(this.#stroke, first);
    this.draw();
  }

  end() {
    const stroke = this.#stroke;
    this.#stroke = null;
    if (!stroke) return;
    const before = this.strokes.list;
    if (stroke.kind === "line" || this.#covers(stroke)) {
      this.strokes.add(stroke);
      this.onStroke(before, stroke.isErasing ? "erase" : stroke.kind === "line" ? "stroke" : stroke.kind);
    }
    this.draw();
  }

  cancel() {
    if (this.#stroke?.kind === "line") this.strokes.replace(this.strokes.list);
    this.#stroke = null;
    this.draw();
  }

  get isPainting() {
    return this.#stroke !== null;
  }

  /** A click without a drag marks nothing. */
  #covers({ kind, points }) {
    const [[x0, y0], [x1, y1]] = [points[0], points.at(-1)];
    return kind === "lasso" ? points.length > 3 : Math.abs(x1 - x0) >= 1 && Math.abs(y1 - y0) >= 1;
  }

  hover(event) {
    this.#pointer = event && this.view.toStage(event);
    this.draw();
  }

  /** Draws the ring of the brush, or the outline of the shape that is being drawn. */
  draw() {
    const { overlay, view } = this;
    const [width, height] = [view.stage.clientWidth, view.stage.clientHeight].map((side) =>
      Math.round(side * devicePixelRatio),
    );
    if (overlay.width !== width || overlay.height !== height) Object.assign(overlay, { width, height });
    const context = overlay.getContext("2d");
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, view.stage.clientWidth, view.stage.clientHeight);
    if (!this.isEnabled) return;
    if (this.#stroke && this.#stroke.kind !== "line") this.#drawShape(context);
    else if (this.#pointer && this.#isRound) this.#drawRing(context, ...this.#pointer);
  }

  #drawRing(context, x, y) {
    const radius = Math.max((this.size * this.view.scale) / 2, 1.5);
    // Dark and light, so that it can be seen on any photo.
    for (const [width, colour] of [
      [3, "rgb(0 0 0 / 55%)"],
      [1.25, "white"],
    ]) {
      context.beginPath();
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.stroke();
    }
    if (this.tool === "eraser") {
      context.beginPath();
      context.moveTo(x - 4, y);
      context.lineTo(x + 4, y);
      context.stroke();
    }
  }

  #drawShape(context) {
    const { kind, points, isErasing } = this.#stroke;
    const place = ([x, y]) => [x * this.view.scale + this.view.x, y * this.view.scale + this.view.y];
    context.beginPath();
    if (kind === "rectangle") {
      const [[x0, y0], [x1, y1]] = [place(points[0]), place(points.at(-1))];
      context.rect(x0, y0, x1 - x0, y1 - y0);
    } else {
      points.forEach((point, index) => (index ? context.lineTo(...place(point)) : context.moveTo(...place(point))));
    }
    context.fillStyle = isErasing ? "rgb(255 255 255 / 30%)" : `${COLOUR}55`;
    context.fill();
    context.lineWidth = 1.5;
    context.strokeStyle = "rgb(0 0 0 / 60%)";
    context.setLineDash([]);
    context.stroke();
    context.strokeStyle = "white";
    context.setLineDash([5, 4]);
    context.stroke();
    context.setLineDash([]);
  }
}
