// The original beside the result: a slider, and a button that shows the original while it is held.

export class Compare {
  #share = 0.5;

  /**
   * @param view The view.
   * @param parts { slider, toggle, hold }: elements.
   * @param announce Called with what a screen reader should say.
   */
  constructor(view, { slider, toggle, hold }, announce) {
    Object.assign(this, { view, original: null, slider, toggle, hold, announce, isOn: false, isHeld: false });
    view.addEventListener("change", () => this.#draw());
    toggle.addEventListener("click", () => this.switch(!this.isOn));
    slider.addEventListener("pointerdown", (event) => this.#grab(event));
    slider.addEventListener("keydown", (event) => this.#press(event));
    hold.addEventListener("pointerdown", () => this.holdOriginal(true));
    for (const name of ["pointerup", "pointercancel", "pointerleave", "blur"]) {
      hold.addEventListener(name, () => this.holdOriginal(false));
    }
    hold.addEventListener("keydown", ({ key }) => ["Enter", " "].includes(key) && this.holdOriginal(true));
    hold.addEventListener("keyup", () => this.holdOriginal(false));
  }

  /** Takes the original of another photo. */
  show(original) {
    Object.assign(this, { original, isOn: false, isHeld: false });
    this.#draw();
  }

  switch(isOn) {
    this.isOn = isOn;
    this.#draw();
    if (isOn) this.slider.focus();
  }

  holdOriginal(isHeld) {
    if (isHeld === this.isHeld) return;
    this.isHeld = isHeld;
    this.#draw();
    if (isHeld) this.announce("The original is shown.");
  }

  #move(share) {
    this.#share = Math.min(Math.max(share, 0), 1);
    this.#draw();
  }

  #grab(event) {
    event.preventDefault();
    this.slider.focus();
    this.slider.setPointerCapture(event.pointerId);
    const follow = (each) => this.#move(this.view.toPhoto(each)[0] / this.view.width);
    this.slider.addEventListener("pointermove", follow);
    this.slider.addEventListener("lostpointercapture", () => this.slider.removeEventListener("pointermove", follow), {
      once: true,
    });
  }

  #press(event) {
    const steps = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, PageDown: -0.1, PageUp: 0.1 };
    if (event.key === "Home") this.#move(0);
    else if (event.key === "End") this.#move(1);
    else if (steps[event.key]) this.#move(this.#share + steps[event.key]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #draw() {
    const { view, original, slider } = this;
    if (!original) return;
    const share = this.isHeld ? 1 : this.isOn ? this.#share : 0;
    original.style.clipPath = `inset(0 ${(1 - share) * 100}% 0 0)`;
    original.hidden = share === 0;
    view.stage.classList.toggle("comparing", this.isOn || this.isHeld);
    slider.hidden = !this.isOn || this.isHeld;
    slider.style.transform = `translateX(${view.x + view.width * view.scale * this.#share}px)`;
    slider.setAttribute("aria-valuenow", Math.round(this.#share * 100));
    this.toggle.setAttribute("aria-pressed", this.isOn);
    this.hold.setAttribute("aria-pressed", this.isHeld);
  }
}
