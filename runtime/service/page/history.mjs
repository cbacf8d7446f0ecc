// Undo and redo of strokes and fills.
//
// An entry is { label, strokesBefore, strokesAfter, patches: [{ region, before, after }] }.

const MAX_BYTES = 512 * 2 ** 20;

const countBytes = (entry) =>
  entry.patches.reduce((sum, patch) => sum + patch.before.data.length + patch.after.data.length, 0);

export class History {
  #done = [];
  #undone = [];

  clear() {
    this.#done = [];
    this.#undone = [];
  }

  /** Adds what was just done. The oldest entries go when patches take more than half a gigabyte. */
  push(entry) {
    this.#undone = [];
    this.#done.push(entry);
    let bytes = this.#done.reduce((sum, each) => sum + countBytes(each), 0);
    while (bytes > MAX_BYTES && this.#done.length > 1) bytes -= countBytes(this.#done.shift());
  }

  get undoLabel() {
    return this.#done.at(-1)?.label;
  }

  get redoLabel() {
    return this.#undone.at(-1)?.label;
  }

  /** Returns the strokes of every fill that was not taken back. */
  listFilledStrokes() {
    return this.#done.filter((entry) => entry.patches.length).map((entry) => entry.strokesBefore);
  }

  /** Takes back the last entry and returns what to restore: { label, strokes, patches: [{ region, pixels }] }. */
  undo() {
    const entry = this.#done.pop();
    if (!entry) return null;
    this.#undone.push(entry);
    const patches = entry.patches.map(({ region, before }) => ({ region, pixels: before })).reverse();
    return { label: entry.label, strokes: entry.strokesBefore, patches };
  }

  /** Does the last undone entry again; returns as undo does. */
  redo() {
    const entry = this.#undone.pop();
    if (!entry) return null;
    this.#done.push(entry);
    const patches = entry.patches.map(({ region, after }) => ({ region, pixels: after }));
    return { label: entry.label, strokes: entry.strokesAfter, patches };
  }
}
