// What was painted: a list of strokes, and the mask that they draw.
//
// A stroke is { kind: "line" | "rectangle" | "lasso" | "everything", isErasing, size, points: [[x, y], ...] } in pixels
// of the photo. The list is never changed, only replaced, so the history can keep old ones.

export const COLOUR = "#ff2d6f";

/** Draws a dot: a line without length would not be drawn. */
function drawDot(context, [x, y], size) {
  context.beginPath();
  context.arc(x, y, size / 2, 0, 2 * Math.PI);
  context.fill();
}

function drawSegment(context, from, to, size) {
  context.beginPath();
  context.lineWidth = size;
  context.moveTo(...from);
  context.lineTo(...to);
  context.stroke();
}

/** Draws a stroke, or for a line only the part from one of its points on. */
function drawStroke(context, stroke, first = 0) {
  const { kind, points, size } = stroke;
  context.globalCompositeOperation = stroke.isErasing ? "destination-out" : "source-over";
  context.fillStyle = context.strokeStyle = COLOUR;
  context.lineCap = context.lineJoin = "round";
  if (kind === "line") {
    if (first === 0) drawDot(context, points[0], size);
    for (let index = Math.max(first, 1); index < points.length; index++) {
      drawSegment(context, points[index - 1], points[index], size);
    }
    return;
  }
  context.beginPath();
  if (kind === "rectangle") {
    const [[x0, y0], [x1, y1]] = [points[0], points.at(-1)].map((point) => point.map(Math.round));
    context.rect(Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0));
  } else {
    points.forEach((point, index) => (index ? context.lineTo(...point) : context.moveTo(...point)));
  }
  context.fill();
}

/** Returns the rectangle of the photo that a stroke can touch. */
function boundStroke({ points, size, kind }) {
  const reach = kind === "line" ? size / 2 + 1 : 1;
  const [xs, ys] = [points.map((point) => point[0]), points.map((point) => point[1])];
  const least = (values) => values.reduce((a, b) => Math.min(a, b));
  const most = (values) => values.reduce((a, b) => Math.max(a, b));
  return [least(xs) - reach, least(ys) - reach, most(xs) + reach, most(ys) + reach];
}

export class Strokes {
  /** @param canvas The canvas on which the mask is drawn. */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.list = [];
  }

  /** Begins a mask for another photo. */
  resize(width, height) {
    this.canvas.width = width;
    this.canvas.height = height;
    this.list = [];
  }

  get isEmpty() {
    return !this.list.some((stroke) => !stroke.isErasing);
  }

  /** Replaces the list and draws it. */
  replace(list) {
    this.list = list;
    this.context.globalCompositeOperation = "source-over";
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    for (const stroke of list) drawStroke(this.context, stroke);
  }

  /** Draws the points of a growing line from an index on. */
  drawFrom(stroke, first) {
    drawStroke(this.context, stroke, first);
  }

  /** Adds a finished stroke; a line must have been drawn already. */
  add(stroke) {
    if (stroke.kind !== "line") drawStroke(this.context, stroke);
    this.list = [...this.list, stroke];
  }

  /** Returns the hole: { width, height, bits }, one byte a pixel, or null if nothing is marked. */
  readHole() {
    const { width, height } = this.canvas;
    const bounds = this.list.filter((stroke) => !stroke.isErasing).map(boundStroke);
    if (!bounds.length) return null;
    const edge = (index, start, choose) => bounds.reduce((found, bound) => choose(found, bound[index]), start);
    const left = Math.max(Math.floor(edge(0, width, Math.min)), 0);
    const top = Math.max(Math.floor(edge(1, height, Math.min)), 0);
    const right = Math.min(Math.ceil(edge(2, 0, Math.max)), width);
    const bottom = Math.min(Math.ceil(edge(3, 0, Math.max)), height);
    if (right <= left || bottom <= top) return null;
    const { data } = this.context.getImageData(left, top, right - left, bottom - top);
    const bits = new Uint8Array(width * height);
    let isMarked = false;
    for (let y = top, from = 3; y < bottom; y++) {
      for (let at = y * width + left; at < y * width + right; at++, from += 4) {
        if (data[from] < 128) continue;
        bits[at] = 1;
        isMarked = true;
      }
    }
    return isMarked ? { width, height, bits } : null;
  }
}
