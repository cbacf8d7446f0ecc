// Mouse, pen and fingers on the stage: painting, panning, pinching, and the wheel.

const WHEEL_STEP = 0.0016;

export class Pointer {
  #pointers = new Map();
  #mode = null; // "paint", "pan" or "pinch"
  #isSpaceDown = false;

  /**
   * @param view The view.
   * @param painter Gets begin, move, end, cancel and hover.
   * @param wantsPan Returns whether the chosen tool moves the photo.
   */
  constructor(view, painter, wantsPan) {
    Object.assign(this, { view, painter, wantsPan });
    const { stage } = view;
    stage.addEventListener("pointerdown", (event) => this.#press(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    stage.addEventListener("pointerup", (event) => this.#release(event, "end"));
    stage.addEventListener("pointercancel", (event) => this.#release(event, "cancel"));
    stage.addEventListener("pointerleave", () => this.painter.hover(null));
    stage.addEventListener("wheel", (event) => this.#turn(event), { passive: false });
  }

  /** The space bar turns every tool into the hand. */
  holdSpace(isDown) {
    this.#isSpaceDown = isDown;
    this.#showCursor();
  }

  #showCursor() {
    const isHand = this.#isSpaceDown || this.wantsPan() || this.#mode === "pan";
    this.view.stage.dataset.cursor = isHand ? (this.#mode === "pan" ? "grabbing" : "grab") : "paint";
  }

  refresh() {
    this.#showCursor();
  }

  #press(event) {
    if (event.target.closest("button, [role=slider], .welcome") || event.button > 1) return;
    event.preventDefault();
    this.view.stage.focus({ preventScroll: true });
    this.view.stage.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, event);
    if (this.#pointers.size === 2) {
      if (this.#mode === "paint") this.painter.cancel();
      this.#mode = "pinch";
    } else if (this.#pointers.size === 1) {
      const pans = event.button === 1 || this.#isSpaceDown || this.wantsPan();
      this.#mode = pans ? "pan" : "paint";
      if (!pans && !this.painter.begin(this.view.toPhoto(event), event)) this.#mode = "pan";
    }
    this.#showCursor();
  }

  #move(event) {
    if (event.pointerType !== "touch" || this.#mode === "paint") this.painter.hover(event);
    const last = this.#pointers.get(event.pointerId);
    if (!last) return;
    this.#pointers.set(event.pointerId, event);
    if (this.#mode === "paint") {
      const events = event.getCoalescedEvents?.() ?? [];
      this.painter.move((events.length ? events : [event]).map((each) => this.view.toPhoto(each)));
    } else if (this.#mode === "pan") {
      this.view.panBy(event.clientX - last.clientX, event.clientY - last.clientY);
    } else if (this.#mode === "pinch" && this.#pointers.size === 2) {
      this.#pinch(event, last);
    }
  }

  #pinch(event, last) {
    const other = [...this.#pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId);
    const measure = (pointer) => Math.hypot(pointer.clientX - other.clientX, pointer.clientY - other.clientY);
    this.view.panBy((event.clientX - last.clientX) / 2, (event.clientY - last.clientY) / 2);
    const [x, y] = this.view.toStage(event);
    const [otherX, otherY] = this.view.toStage(other);
    this.view.zoomBy(Math.max(measure(event), 1) / Math.max(measure(last), 1), (x + otherX) / 2, (y + otherY) / 2);
  }

  #release(event, how) {
    if (!this.#pointers.delete(event.pointerId)) return;
    if (this.#mode === "paint") this.painter[how]();
    if (event.pointerType === "touch") this.painter.hover(null);
    // After a pinch, the finger that stays must not paint.
    if (this.#pointers.size === 0 || this.#mode !== "pinch") this.#mode = null;
    this.#showCursor();
  }

  #turn(event) {
    event.preventDefault();
    if (this.view.stage.classList.contains("empty")) return;
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    const [x, y] = this.view.toStage(event);
    if (event.shiftKey) this.view.panBy(-(event.deltaX || event.deltaY) * lines, 0);
    else this.view.zoomBy(Math.exp(-event.deltaY * lines * WHEEL_STEP * (event.ctrlKey ? 5 : 1)), x, y);
    this.painter.hover(event);
  }
}
