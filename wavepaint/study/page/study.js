
"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const study = JSON.parse(find("study").textContent);
  const SIDES = ["left", "right"];
  const TOO_SOON_MS = 250; // a second press of the key that answered the question before
  const COLUMNS = ["study", "participant", "trial", "image", "left", "choice", "seconds", "answered", "method_a", "method_b"];

  // Storage: every participant's answers to this study, and who answered last.

  let isStored = true;
  const memory = new Map();
  const keyFor = (name) => `wavepaint-study:${study.id}:${name}`;
  function read(key) {
    try { return JSON.parse(localStorage.getItem(key)); } catch { return memory.get(key) ?? null; }
  }
  function write(key, value) {
    memory.set(key, value);
    try {
      localStorage.setItem(key, JSON.stringify(value));
    } catch {
      if (isStored) notify("This browser keeps no answers for this page. Download them before you close or reload it.");
      isStored = false;
    }
  }
  function notify(text) {
    find("notice").textContent = text;
    find("notice").hidden = !text;
  }

  // Order and sides: random, but always the same for a study, its seed and a participant.

  function makeRandom(text) {
    // xmur3 hashes the text, mulberry32 draws numbers from 0 to 1 (both public domain).
    let seed = 1779033703 ^ text.length;
    for (let index = 0; index < text.length; index += 1) {
      seed = Math.imul(seed ^ text.charCodeAt(index), 3432918353);
      seed = (seed << 13) | (seed >>> 19);
    }
    seed = Math.imul(seed ^ (seed >>> 16), 2246822507);
    seed = Math.imul(seed ^ (seed >>> 13), 3266489909);
    return () => {
      seed = (seed + 0x6d2b79f5) | 0;
      let value = Math.imul(seed ^ (seed >>> 15), 1 | seed);
      value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
      return ((value ^ (value >>> 14)) >>> 0) / 4294967296;
    };
  }
  function shuffle(items, random) {
    for (let last = items.length - 1; last > 0; last -= 1) {
      const other = Math.floor(random() * (last + 1));
      [items[last], items[other]] = [items[other], items[last]];
    }
    return items;
  }
  function makePlan(participant) {
    const random = makeRandom(`${study.id}/${study.seed}/${participant}`);
    const order = shuffle(study.trials.map((_, index) => index), random);
    // Each method is on the left equally often.
    const start = random() < 0.5 ? 0 : 1;
    const left = shuffle(order.map((_, index) => "AB"[(index + start) % 2]), random);
    return order.map((trial, index) => ({ ...study.trials[trial], left: left[index] }));
  }

  // The state.

  let participant = "";
  let plan = [];
  let answers = [];
  let shownAt = 0;
  let isLocked = true;
  let isZoomed = false;

  function show(name) {
    for (const id of ["welcome", "trial", "done"]) find(id).hidden = id !== name;
    const total = study.trials.length;
    const isBegun = name !== "welcome";
    find("bar").max = total;
    find("bar").value = isBegun ? answers.length : 0;
    find("count").textContent = `${Math.min(answers.length + 1, total)} of ${total}`;
    for (const id of ["progress", "undo", "zoom", "save"]) find(id).hidden = !isBegun;
    find("undo").disabled = find("save").disabled = !answers.length;
    if (name !== "trial") find("zoom").disabled = true;
  }

  async function decode(source) {
    const image = new Image();
    image.src = source;
    await image.decode();
  }

  async function next() {
    isLocked = true;
    if (answers.length === plan.length) {
      show("done");
      find("live").textContent = "That was the last picture.";
      find("download").focus();
      return;
    }
    const count = answers.length;
    const trial = plan[count];
    const sources = { left: trial[trial.left], original: trial.original, right: trial[trial.left === "A" ? "B" : "A"] };
    try {
      await Promise.all(Object.values(sources).map(decode)); // so that all three appear at once
    } catch {
      notify(`The pictures of ${trial.image} are damaged. Ask for this page again.`);
      return;
    }
    if (count !== answers.length) return; // undone meanwhile
    document.documentElement.style.setProperty("--ratio", trial.size[0] / trial.size[1]);
    for (const [id, source] of Object.entries(sources)) {
      find(id).querySelector("img").src = source;
      find(id).classList.remove("chosen", "other");
    }
    show("trial");
    zoom(isZoomed);
    find("live").textContent = `Picture ${count + 1} of ${plan.length}.`;
    shownAt = performance.now();
    isLocked = false;
    const after = plan[count + 1];
    if (after) for (const part of ["original", "A", "B"]) decode(after[part]).catch(() => {});
  }

  function choose(side) {
    const elapsed = performance.now() - shownAt;
    if (isLocked || elapsed < TOO_SOON_MS) return;
    isLocked = true;
    const { image, left } = plan[answers.length];
    const choice = side === "left" ? left : left === "A" ? "B" : "A";
    answers.push({ image, left, choice, seconds: Math.round(elapsed) / 1000, answered: new Date().toISOString() });
    write(keyFor(participant), answers);
    for (const each of SIDES) find(each).classList.add(each === side ? "chosen" : "other");
    setTimeout(next, 180);
  }

  function undo() {
    if (!answers.length || find("welcome").hidden === false) return;
    if (isLocked && find("done").hidden) return; // the next pictures are on their way
    answers.pop();
    write(keyFor(participant), answers);
    next();
  }

  function zoom(on) {
    isZoomed = on;
    find("zoom").setAttribute("aria-pressed", on);
    const trial = plan[Math.min(answers.length, plan.length - 1)];
    const [left, top, width, height] = trial.hole;
    const side = Math.min(1, Math.max(0.12, 1.6 * Math.max(width, height)));
    find("zoom").disabled = side === 1;
    const clamp = (start) => Math.min(1 - side, Math.max(0, start));
    const x = clamp(left + width / 2 - side / 2);
    const y = clamp(top + height / 2 - side / 2);
    for (const image of document.querySelectorAll(".frame img")) {
      image.style.transform = on ? `scale(${1 / side}) translate(${-100 * x}%, ${-100 * y}%)` : "";
    }
  }

  // The answers as CSV.

  const quote = (value) => (/[",\r\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  function makeCsv() {
    const [a, b] = study.methods;
    const rows = answers.map((answer, index) => [
      study.id, participant, index + 1, answer.image, answer.left, answer.choice,
      answer.seconds.toFixed(3), answer.answered, a, b,
    ]);
    return [COLUMNS, ...rows].map((row) => `${row.map(quote).join(",")}\r\n`).join("");
  }
  function download() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([makeCsv()], { type: "text/csv" }));
    link.download = `answers-${study.id}-${participant}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  // Who answers.

  function isAnswers(value, trials) {
    return Array.isArray(value) && value.length <= trials.length
      && value.every((answer, index) => answer?.image === trials[index].image && answer.left === trials[index].left);
  }
  function begin(name) {
    participant = name;
    plan = makePlan(name);
    const stored = read(keyFor(name));
    answers = isAnswers(stored, plan) ? stored : [];
    write(`wavepaint-study:${study.id}`, name);
    next();
  }
  function greet(name) {
    isLocked = true;
    show("welcome");
    find("participant").value = name;
    label();
    find("start").focus();
  }
  function label() {
    const name = find("participant").value;
    const stored = read(keyFor(name));
    const count = Array.isArray(stored) ? stored.length : 0;
    find("start").textContent = count ? `Continue after ${count} of ${study.trials.length}` : "Start";
  }
  function makeCode() {
    const letters = "abcdefghjkmnpqrstuvwxyz23456789";
    return [...crypto.getRandomValues(new Uint8Array(6))].map((byte) => letters[byte % letters.length]).join("");
  }

  // Light and dark.

  const THEME = "wavepaint-study-theme";
  function setTheme(theme) {
    if (theme) document.documentElement.dataset.theme = theme;
  }
  setTheme(read(THEME));

  // Events.

  find("begin").addEventListener("submit", (event) => {
    event.preventDefault();
    begin(find("participant").value);
  });
  find("participant").addEventListener("input", label);
  for (const side of SIDES) find(side).addEventListener("click", () => choose(side));
  find("undo").addEventListener("click", undo);
  find("zoom").addEventListener("click", () => zoom(!isZoomed));
  find("save").addEventListener("click", download);
  find("download").addEventListener("click", download);
  find("another").addEventListener("click", () => greet(makeCode()));
  find("theme").addEventListener("click", () => {
    const isDark = document.documentElement.dataset.theme === "dark"
      || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
    setTheme(isDark ? "light" : "dark");
    write(THEME, isDark ? "light" : "dark");
  });
  addEventListener("keydown", (event) => {
    if (event.target.closest("input") || event.altKey) return;
    const isUndo = event.key === "Backspace" || ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z");
    if (isUndo) undo();
    else if (event.ctrlKey || event.metaKey) return;
    else if (find("trial").hidden) return;
    else if (event.repeat && !["Enter", " "].includes(event.key)) return;
    else if (event.key === "ArrowLeft") choose("left");
    else if (event.key === "ArrowRight") choose("right");
    else if (event.key.toLowerCase() === "z") zoom(!isZoomed);
    else if (!event.repeat) return; // a key held on a picture would press it again and again
    event.preventDefault();
  });
  addEventListener("beforeunload", (event) => {
    if (!isStored && answers.length) event.preventDefault();
  });

  const total = study.trials.length;
  find("total").textContent = total === 1 ? "one picture" : `${total} pictures, one after the other`;
  greet(read(`wavepaint-study:${study.id}`) ?? makeCode());
})();
