/** The panel of one answer: what the network sees, the verdict, a bar for every class. */

import { emptyRows, fillRows } from "./class_rows.js";
import { drawMiddle, markTiny } from "./picture.js";
import { byId, isolated, percent, size } from "./words.js";

// "Looking…" would only flicker where the answer comes sooner.
const NOTICEABLE_MILLISECONDS = 200;

let soon;

/** Prepares the panel for a model: the sizes that it sees and, unless an answer has its own, a row for each class. */
export function prepareAnswer(classNames, { height, width, crop }, isInUse) {
  byId("fitted-caption").textContent = `Your picture, fitted to ${size(width, height)}`;
  byId("seen-caption").textContent =
    crop < Math.max(height, width)
      ? `What the network sees: the middle ${size(crop, crop)}`
      : "What the network sees: all of it";
  if (!isInUse || byId("classes").rows.length === 0)
    fillRows(
      "classes",
      classNames.map((name) => [name, undefined]),
    );
}

/** Shows a picture as its file has it, in the place where it was dropped. */
export function showPreview({ file, name }) {
  const preview = byId("preview");
  URL.revokeObjectURL(preview.src);
  preview.onload = () => markTiny(preview, preview.naturalWidth, preview.naturalHeight);
  preview.onerror = () => showPlaceholder(true);
  preview.src = URL.createObjectURL(file);
  preview.alt = name;
  showPlaceholder(false);
  byId("name").textContent = name;
}

function showPlaceholder(shown) {
  byId("preview").hidden = shown;
  byId("placeholder").classList.toggle("away", !shown);
}

/** Shows what is known of a picture so far. */
export function showAnswer(picture) {
  const { state, problem, isWorthTrying } = picture;
  clearTimeout(soon);
  showSight(picture);
  byId("answer").ariaBusy = String(state === "waiting");
  byId("problem").hidden = state !== "failed";
  byId("again").hidden = state !== "failed" || !isWorthTrying;
  byId("remark").hidden = state === "failed";
  byId("problem").textContent = problem ?? "";
  if (state === "waiting") soon = setTimeout(() => showNoAnswer("Looking…"), NOTICEABLE_MILLISECONDS);
  if (state === "failed") showNoAnswer("No answer");
  if (state === "answered") showPrediction(picture);
}

function showNoAnswer(verdict) {
  byId("verdict").textContent = verdict;
  byId("remark").textContent = "";
  emptyRows("classes");
}

function showPrediction({ prediction, remark }) {
  byId("verdict").replaceChildren(isolated(prediction.label), `, ${percent(prediction.confidence)} sure`);
  byId("remark").textContent = remark;
  const shares = Object.entries(prediction.probabilities);
  fillRows(
    "classes",
    shares.sort((one, other) => other[1] - one[1]),
    prediction.label,
  );
}

function showSight({ name, fitted, eyes }) {
  const [whole, middle, frame] = [byId("fitted"), byId("seen"), byId("window")];
  frame.hidden = !fitted || eyes.crop >= Math.max(fitted.width, fitted.height);
  if (!fitted) {
    for (const canvas of [whole, middle]) canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
    whole.ariaLabel = middle.ariaLabel = "Not shown: this browser cannot decode the picture";
    return;
  }
  drawMiddle(whole, fitted, Math.max(fitted.width, fitted.height));
  drawMiddle(middle, fitted, eyes.crop);
  whole.ariaLabel = `${name}, fitted`;
  middle.ariaLabel = `${name}, as the network sees it`;
  for (const canvas of [whole, middle]) canvas.parentElement.style.aspectRatio = `${canvas.width} / ${canvas.height}`;
  const [top, left] = [whole.height - middle.height, whole.width - middle.width];
  frame.style.inset = `${(50 * top) / whole.height}% ${(50 * left) / whole.width}%`;
}
