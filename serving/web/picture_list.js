/** The answers of several pictures, as buttons; each shows its own in the panel. */

import { drawMiddle } from "./picture.js";
import { byId, isolated, percent } from "./words.js";

/** Lists pictures; `choose` is called with the one that is pressed. A single picture needs no list. */
export function listPictures(pictures, choose) {
  const items = pictures.map((picture) => {
    const item = byId("list-item").content.firstElementChild.cloneNode(true);
    item.querySelector("button").addEventListener("click", () => choose(picture));
    picture.item = item;
    updateItem(picture);
    return item;
  });
  byId("list").replaceChildren(...items);
  byId("list").hidden = pictures.length < 2;
}

/** Shows what is known of a picture by now in its item. */
export function updateItem({ item, name, state, fitted, prediction }) {
  const words = {
    waiting: () => ["Looking…"],
    failed: () => ["No answer"],
    answered: () => [isolated(prediction.label), `, ${percent(prediction.confidence)}`],
  };
  item.querySelector("strong").replaceChildren(...words[state]());
  item.querySelector("strong").classList.toggle("failed", state === "failed");
  item.querySelector(".small").textContent = name;
  if (fitted) drawMiddle(item.querySelector("canvas"), fitted, Math.max(fitted.width, fitted.height));
}

export function markItem(pictures, chosen) {
  for (const { item } of pictures) item.querySelector("button").ariaCurrent = String(item === chosen.item);
}
