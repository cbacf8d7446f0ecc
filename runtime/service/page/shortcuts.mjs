// The keys: one table, for the keyboard and for the list that the page shows.

const isMac = /Mac|iP(hone|ad)/.test(navigator.platform);
const MODIFIER = isMac ? "⌘" : "Ctrl";

/** [what it does, keys as people read them, event's key, needs Ctrl or ⌘, needs Shift, name of the action] */
const TABLE = [
  ["Open a photo", [MODIFIER, "O"], "o", true, false, "open"],
  ["Paste a photo", [MODIFIER, "V"]],
  ["Save the result", [MODIFIER, "S"], "s", true, false, "save"],
  ["Fill", ["Enter"], "enter", false, false, "fill"],
  ["Cancel", ["Esc"], "escape", false, false, "cancel"],
  ["Undo", [MODIFIER, "Z"], "z", true, false, "undo"],
  ["Redo", [MODIFIER, "Shift", "Z"], "z", true, true, "redo"],
  ["", [], "y", true, false, "redo"],
  ["Brush", ["B"], "b", false, false, "brush"],
  ["Eraser", ["E"], "e", false, false, "eraser"],
  ["Rectangle", ["R"], "r", false, false, "rectangle"],
  ["Lasso", ["L"], "l", false, false, "lasso"],
  ["Hand", ["H"], "h", false, false, "hand"],
  ["Move the photo while held", ["Space"]],
  ["Brush smaller, larger", ["[", "]"], "[", false, false, "smaller"],
  ["", [], "]", false, false, "larger"],
  ["Straight line from the last stroke", ["Shift", "click"]],
  ["Erase with any tool", ["Alt", "drag"]],
  ["Clear the mask", ["Delete"], "delete", false, false, "clear"],
  ["", [], "backspace", false, false, "clear"],
  ["Zoom in, out", ["+", "−"], "+", false, false, "zoomIn"],
  ["", [], "=", false, false, "zoomIn"],
  ["", [], "-", false, false, "zoomOut"],
  ["Fit, 100 %", ["0", "1"], "0", false, false, "fit"],
  ["", [], "1", false, false, "actualSize"],
  ["Move the photo", ["←", "↑", "↓", "→"]],
  ["Compare with the original", ["C"], "c", false, false, "compare"],
  ["Show the original while held", ["O"]],
  ["This list", ["?"], "?", false, null, "help"],
];

const PANS = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };

/** Writes the list of keys into a <dl>. */
export function listShortcuts(list) {
  for (const [words, keys] of TABLE.filter(([words]) => words)) {
    const term = document.createElement("dt");
    for (const key of keys) {
      const label = document.createElement("kbd");
      label.textContent = key;
      term.append(label);
    }
    const description = document.createElement("dd");
    description.textContent = words;
    list.append(term, description);
  }
}

const isControl = (target) =>
  target.closest("input:not([type=range]):not([type=checkbox]):not([type=radio]), select, textarea");

/**
 * Listens to the keyboard.
 *
 * @param actions Functions by the names in the table.
 * @param held { isOverPhoto(), space(isDown), original(isDown), pan(right, down) }: where the pointer is, and what to
 *     do for keys that are held.
 */
export function listenToKeys(actions, held) {
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || document.querySelector("dialog[open]") || isControl(event.target)) return;
    const isCommand = event.ctrlKey || event.metaKey;
    const onButton = event.target.closest("button, summary, input, [role=slider]");
    if (event.key === " " && (!onButton || held.isOverPhoto())) {
      event.preventDefault();
      return held.space(true);
    }
    if (!isCommand && !event.altKey && PANS[event.key] && !onButton) {
      event.preventDefault();
      return held.pan(...PANS[event.key]);
    }
    if (onButton && [" ", "Enter"].includes(event.key)) return; // it presses the button
    if (event.key.toLowerCase() === "o" && !isCommand) return held.original(true);
    const entry = TABLE.find(
      ([, , key, needsCommand, needsShift]) =>
        key === event.key.toLowerCase() &&
        needsCommand === isCommand &&
        (needsShift === null || !needsCommand || needsShift === event.shiftKey),
    );
    if (!entry) return;
    event.preventDefault();
    actions[entry[5]]();
  });
  addEventListener("keyup", (event) => {
    if (event.key === " ") {
      if (held.isOverPhoto()) event.preventDefault(); // or it would press a button that has the focus
      held.space(false);
    }
    if (event.key.toLowerCase() === "o") held.original(false);
  });
  addEventListener("blur", () => {
    held.space(false);
    held.original(false);
  });
}
