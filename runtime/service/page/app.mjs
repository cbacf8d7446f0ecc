// The page: puts the parts together and decides what can be done when.

import { BrowserEngine, MAX_CROP_PIXELS } from "./browser_engine.mjs";
import { Compare } from "./compare.mjs";
import { fillHole } from "./filling.mjs";
import { History } from "./history.mjs";
import { Notices } from "./notices.mjs";
import { followCommandLine, listenForPhotos } from "./opening.mjs";
import { Options } from "./options.mjs";
import { Painter } from "./painting.mjs";
import { openPhoto, PageError } from "./photo.mjs";
import { Pointer } from "./pointer.mjs";
import { readRefusal, request } from "./request.mjs";
import { SaveDialog } from "./save_dialog.mjs";
import { convertToPng, serverEngine } from "./server_engine.mjs";
import { listenToKeys, listShortcuts } from "./shortcuts.mjs";
import { Strokes } from "./strokes.mjs";
import { View } from "./view.mjs";

const byId = (id) => document.getElementById(id);
const hasServer = document.querySelector("meta[name=wavepaint]").content === "server";
const stage = byId("stage");
const mask = byId("mask");
const sheet = byId("sheet");

let photo = null;
let model = null;
let job = null; // the AbortController of a running fill
let isSaved = true;

const notices = new Notices(byId("notices"), byId("busy"), byId("busy-text"));
const history = new History();
const strokes = new Strokes(mask);
const view = new View(stage, sheet);
const options = new Options(hasServer, () => refresh());
const painter = new Painter(view, strokes, byId("overlay"), () => compare.switch(false), finishStroke);
const pointer = new Pointer(view, painter, () => tool === "hand");
const compare = new Compare(view, { slider: byId("slider"), toggle: byId("compare"), hold: byId("hold") }, (text) =>
  notices.show(text),
);
const saving = new SaveDialog(history, strokes, () => (isSaved = true), report);
let tool = "brush";

/** Shows an error: in its own words if they are meant for people. */
function report(error) {
  if (error.name === "AbortError") return;
  const isExpected = error instanceof PageError || error.name === "NotAllowedError";
  if (!isExpected) console.error(error);
  notices.show(
    isExpected ? error.message : `This did not work (${error.message}). Try again, or reload the page.`,
    "error",
  );
}

// Opening

function confirmLeaving() {
  if (isSaved) return true;
  const dialog = byId("leaving");
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "ok"), { once: true });
    dialog.returnValue = "";
    dialog.showModal();
  });
}

async function open(blob, name) {
  try {
    if (!(await confirmLeaving())) return;
    cancel();
    notices.showBusy(`Opening ${name}…`);
    const opened = await openPhoto(blob, name, hasServer ? convertToPng : null);
    photo = opened.photo;
    history.clear();
    strokes.resize(photo.width, photo.height);
    sheet.replaceChildren(photo.canvas, photo.original, mask);
    photo.original.setAttribute("aria-hidden", "true");
    compare.show(photo.original);
    saving.photo = photo;
    isSaved = true;
    stage.classList.remove("empty");
    view.show(photo.width, photo.height);
    painter.isEnabled = true;
    options.suggestSize(Math.max(photo.width, photo.height));
    document.title = `${photo.name} – WavePaint`;
    for (const note of opened.notes) notices.show(note, "warning");
    stage.focus({ preventScroll: true });
  } catch (error) {
    report(error);
  } finally {
    notices.showBusy(null);
    refresh();
  }
}

// Painting, undo and redo

function finishStroke(strokesBefore, label) {
  history.push({ label, strokesBefore, strokesAfter: strokes.list, patches: [] });
  isSaved = false;
  refresh();
  if (options.fillsAtOnce && label !== "erase") fill();
}

function clear() {
  if (job || strokes.list.length === 0) return;
  const strokesBefore = strokes.list;
  strokes.replace([]);
  history.push({ label: "clearing", strokesBefore, strokesAfter: [], patches: [] });
  refresh();
}

function restore(change, what) {
  if (!change) return;
  for (const { region, pixels } of change.patches) photo.write(region, pixels);
  strokes.replace(change.strokes);
  isSaved = false;
  notices.show(`${what}: ${change.label}.`);
  refresh();
}

const undo = () => job || painter.isPainting || restore(history.undo(), "Undone");
const redo = () => job || painter.isPainting || restore(history.redo(), "Done again");

// Filling

async function loadModel() {
  const response = hasServer ? await request("v1/models") : await fetch("models.json");
  if (!response.ok) throw new PageError(await readRefusal(response));
  const [first] = (await response.json()).data;
  model = first;
  options.browserEngine = new BrowserEngine({
    url: new URL(hasServer ? "v1/model.onnx" : "model.onnx", document.baseURI).href,
    crop_size: model.crop_size ?? 256,
  });
}

async function fill() {
  if (!photo || job) return;
  const hole = strokes.readHole();
  if (!hole) return notices.show("Nothing is marked. Paint over what should go, then fill.");
  job = new AbortController();
  const target = photo;
  const strokesBefore = strokes.list;
  const start = performance.now();
  refresh();
  try {
    if (!model) await loadModel();
    const onProgress = (text) => notices.showBusy(text);
    const engine = options.place === "server" ? serverEngine : options.browserEngine;
    if (options.place === "browser") warnIfThick(hole);
    const { patches, engine: name } = await fillHole(target, hole, engine, options.values, model.size_multiple, {
      signal: job.signal,
      onProgress,
    });
    job.signal.throwIfAborted(); // another photo may have been opened meanwhile
    for (const { region, after } of patches) target.write(region, after);
    history.push({ label: "fill", strokesBefore, strokesAfter: [], patches });
    strokes.replace([]);
    isSaved = false;
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    byId("facts").textContent = `Last fill: ${seconds} s, ${name}.`;
    notices.show(`Filled in ${seconds} s. Hold O to see the original.`);
  } catch (error) {
    report(error);
  } finally {
    job = null;
    notices.showBusy(null);
    refresh();
  }
}

function warnIfThick(hole) {
  const thickness = options.browserEngine.findTooThick(hole);
  if (!thickness) return;
  const remedy = hasServer ? "The server fills such holes better." : "wp infer and wp paint fill such holes better.";
  notices.show(`This hole is ${thickness} pixels thick, more than the network was trained for. ${remedy}`, "warning");
}

function cancel() {
  painter.cancel();
  job?.abort();
}

// Buttons and keys

function chooseTool(name) {
  tool = name;
  painter.tool = name;
  for (const button of document.querySelectorAll(".tool")) {
    const isChosen = button.dataset.tool === name;
    button.setAttribute("aria-checked", isChosen);
    button.tabIndex = isChosen ? 0 : -1;
  }
  pointer.refresh();
  painter.draw();
}

function refresh() {
  const isOpen = photo !== null;
  painter.size = options.size;
  painter.isEnabled = isOpen && !job;
  const isEmpty = strokes.isEmpty;
  byId("fill").disabled = !isOpen || job !== null || isEmpty;
  byId("clear").disabled = job !== null || isEmpty;
  for (const [id, what, label] of [
    ["undo", "Undo", history.undoLabel],
    ["redo", "Redo", history.redoLabel],
  ]) {
    byId(id).disabled = !label || job !== null;
    byId(id).title = label ? `${what} ${label}` : what;
  }
  for (const id of ["compare", "hold", "zoom-in", "zoom-out", "zoom", "fit", "save"]) byId(id).disabled = !isOpen;
  pointer.refresh();
  painter.draw();
}

const actions = {
  open: () => byId("file").click(),
  save: () => photo && saving.show(),
  fill,
  cancel,
  undo,
  redo,
  clear,
  smaller: () => options.stepSize(-1),
  larger: () => options.stepSize(1),
  zoomIn: () => view.zoomBy(1.25),
  zoomOut: () => view.zoomBy(0.8),
  fit: () => view.fit(),
  actualSize: () => view.zoomBy(1 / view.zoom),
  compare: () => photo && compare.switch(!compare.isOn),
  help: () => byId("keys").showModal(),
  ...Object.fromEntries(
    ["brush", "eraser", "rectangle", "lasso", "hand"].map((name) => [name, () => chooseTool(name)]),
  ),
};
const buttons = {
  "zoom-in": "zoomIn",
  "zoom-out": "zoomOut",
  zoom: "actualSize",
  fit: "fit",
  undo: "undo",
  redo: "redo",
  fill: "fill",
  clear: "clear",
  cancel: "cancel",
  save: "save",
  help: "help",
};
for (const [id, name] of Object.entries(buttons)) byId(id).addEventListener("click", () => actions[name]());
for (const button of document.querySelectorAll(".tool")) {
  button.addEventListener("click", () => chooseTool(button.dataset.tool));
  button.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const all = [...document.querySelectorAll(".tool")];
    const next = all[(all.indexOf(button) + step + all.length) % all.length];
    chooseTool(next.dataset.tool);
    next.focus();
  });
}
byId("theme").addEventListener("click", () => {
  const isDark =
    getComputedStyle(document.documentElement).colorScheme === "dark" ||
    (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = isDark ? "light" : "dark";
});
// With the mouse, buttons do not take the focus: the Enter key goes on filling.
addEventListener("mousedown", (event) => event.target.closest("main button, header button") && event.preventDefault());
view.addEventListener("change", () => (byId("zoom-text").textContent = `${Math.round(view.zoom * 100)} %`));
listShortcuts(byId("key-list"));
listenToKeys(actions, {
  isOverPhoto: () => stage.matches(":hover"),
  space: (isDown) => pointer.holdSpace(isDown),
  original: (isDown) => photo && compare.holdOriginal(isDown),
  pan: (right, down) => photo && view.panBy(right, down),
});
addEventListener("beforeunload", (event) => isSaved || event.preventDefault());
listenForPhotos(
  { buttons: [byId("open"), byId("choose")], example: byId("example"), input: byId("file") },
  open,
  (text) => notices.show(text, "warning"),
);
byId("privacy").textContent = hasServer
  ? "Photos go to no one but the server of this page."
  : `Photos never leave this machine. Holes of up to ${MAX_CROP_PIXELS / 1e6} megapixels with their neighbourhood.`;
chooseTool("brush");
refresh();
loadModel().catch(report);
followCommandLine(open, (text) => notices.show(text, "error"));
