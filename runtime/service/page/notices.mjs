// What the page says: short notices, errors that stay until they are closed, and the progress of a fill.

const SECONDS = { info: 5, warning: 12 };
const MOST = 3;

export class Notices {
  constructor(list, busy, busyText) {
    Object.assign(this, { list, busy, busyText });
  }

  /** Shows a notice; level is "info", "warning" or "error". */
  show(text, level = "info") {
    const notice = document.createElement("div");
    notice.className = `notice ${level}`;
    notice.setAttribute("role", level === "error" ? "alert" : "status");
    const words = document.createElement("span");
    words.textContent = text;
    const close = document.createElement("button");
    close.type = "button";
    close.textContent = "×";
    close.setAttribute("aria-label", "Close this notice");
    close.addEventListener("click", () => notice.remove());
    notice.append(words, close);
    for (const other of [...this.list.children]) {
      if (other.classList.contains("info") || other.textContent === notice.textContent) other.remove();
    }
    while (this.list.children.length >= MOST) this.list.firstChild.remove();
    this.list.append(notice);
    if (SECONDS[level]) setTimeout(() => notice.remove(), SECONDS[level] * 1000);
  }

  /** Shows what is going on; nothing ends it. */
  showBusy(text) {
    this.busy.hidden = !text;
    this.busyText.textContent = text ?? "";
  }
}
