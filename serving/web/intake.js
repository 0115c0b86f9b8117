/** The ways in which a picture comes to the page: dropped, pasted, picked, photographed, or one of its drawings. */

import { byId } from "./words.js";

const SAMPLE_SIDE = 256;

/** Calls `take` with an array of files whenever somebody brings some, `refuse` with a sentence when they were none. */
export function receivePictures(take, refuse) {
  receivePicked(take);
  receivePasted(take, refuse);
  receiveDropped(take, refuse);
  receiveDrawings(take);
}

/** Offers the drawings of classes that a model knows. */
export function offerDrawings(classNames) {
  const buttons = [...byId("samples").querySelectorAll("button")];
  for (const button of buttons) button.parentElement.hidden = !classNames.includes(button.dataset.class);
  byId("samples").hidden = buttons.every((button) => button.parentElement.hidden);
}

function receivePicked(take) {
  for (const input of [byId("pick"), byId("photograph")]) {
    input.addEventListener("change", () => {
      const files = [...input.files];
      input.value = "";
      if (files.length) take(files);
    });
  }
}

function receivePasted(take, refuse) {
  addEventListener("paste", ({ clipboardData }) => {
    const files = [...clipboardData.files];
    files.length ? take(files) : refuse("There is no picture in the clipboard.");
  });
}

function receiveDropped(take, refuse) {
  const zone = byId("drop");
  addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) zone.classList.remove("over");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const files = [...event.dataTransfer.files];
    files.length
      ? take(files)
      : refuse("What was dropped is not a file; save the picture first, or copy and paste it.");
  });
}

function receiveDrawings(take) {
  for (const button of byId("samples").querySelectorAll("button")) {
    button.addEventListener("click", async () => take([await rasterize(button.querySelector("img"))]));
  }
}

/** Makes a PNG of one of the drawings, which are SVG. */
async function rasterize(image) {
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SAMPLE_SIDE;
  canvas.getContext("2d").drawImage(image, 0, 0, SAMPLE_SIDE, SAMPLE_SIDE);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  return new File([blob], image.alt, { type: "image/png" });
}
