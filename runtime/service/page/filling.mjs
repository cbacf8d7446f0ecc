// One fill: from the painted hole to the new pixels, region by region.

import { PageError } from "./photo.mjs";
import { cropHole, findBounds, findRegions, growHole } from "./regions.mjs";

/** Keeps the old pixels outside of the hole, whatever an engine did there, and alpha everywhere. */
function mergeHole(before, rgba, hole) {
  const merged = before.slice();
  for (let at = 0; at < hole.bits.length; at++) {
    if (hole.bits[at]) for (let channel = 0; channel < 3; channel++) merged[at * 4 + channel] = rgba[at * 4 + channel];
  }
  return merged;
}

function checkHole(hole) {
  if (!hole.bits.includes(0)) {
    throw new PageError(
      "The mask covers all of the photo, so no known pixels are left to fill from. Erase a part of it.",
    );
  }
}

/**
 * Fills a hole. The photo is not changed: the caller writes the patches, or drops them if it was cancelled.
 *
 * @param photo The photo.
 * @param marked The painted hole.
 * @param engine serverEngine or a BrowserEngine.
 * @param options { dilate, feather, strategy }.
 * @param multiple The network's size multiple.
 * @param job { signal, onProgress }: an AbortSignal, and a function that takes text.
 * @returns { patches: [{ region, before, after }], engine }.
 */
export async function fillHole(photo, marked, engine, options, multiple, { signal, onProgress }) {
  const hole = growHole(marked, options.dilate);
  checkHole(hole);
  const whole = { left: 0, top: 0, width: photo.width, height: photo.height };
  const regions = options.strategy === "whole" ? [whole] : findRegions(hole, multiple);
  const patches = [];
  let name = "";
  for (const [index, region] of regions.entries()) {
    signal.throwIfAborted();
    const count = regions.length > 1 ? ` (${index + 1} of ${regions.length})` : "";
    onProgress(`Filling…${count}`);
    const pixels = photo.read(region);
    const crop = { pixels, marked: cropHole(marked, region), hole: cropHole(hole, region), isGrey: photo.isGrey };
    const job = { signal, onProgress: (text) => onProgress(text + count) };
    const { rgba, engine: used } = await engine.fill(crop, options, job);
    name = used;
    patches.push(cutPatch(photo, region, crop, mergeHole(pixels.data, rgba, crop.hole)));
  }
  return { patches, engine: name };
}

/** Returns the patch of a filled crop, cut to the hole: its context does not change and need not be remembered. */
function cutPatch(photo, region, crop, rgba) {
  const { left, top, width, height } = findBounds(crop.hole);
  const cut = (source) => {
    const part = new Uint8ClampedArray(width * height * 4);
    for (let y = 0; y < height; y++) {
      const from = ((top + y) * region.width + left) * 4;
      part.set(source.subarray(from, from + width * 4), y * width * 4);
    }
    return photo.makePixels(part, width, height);
  };
  const place = { left: region.left + left, top: region.top + top, width, height };
  return { region: place, before: cut(crop.pixels.data), after: cut(rgba) };
}
