/** What the model says of itself: the sentence under the title, and the card. */

import { fillRows } from "./class_rows.js";
import { byId, count, isolated, percent, size } from "./words.js";

// Of the names in the sentence under the title, in characters together.
const ROOM_FOR_NAMES = 160;

/** The size of the model's input, and of the middle part of it that the network looks at, in pixels. */
export function measureEyes(facts) {
  const [, height, width] = facts.input_shape;
  return { height, width, crop: facts.metadata.recipe.distortions?.crop_size ?? Math.max(height, width) };
}

export function showCard(facts) {
  const { metadata } = facts;
  byId("model").replaceChildren(
    `${facts.name}, version ${facts.version}: right about ${percent(metadata.eval_accuracy)} of ` +
      `${count(metadata.eval_pictures)} ${metadata.eval_split} pictures. It knows `,
    ...enumerate(metadata.class_names),
  );
  fillList(byId("facts"), describe(facts));
  fillList(byId("recipe").querySelector("dl"), [...flatten(metadata.recipe), ...flatten(metadata.libraries)]);
  byId("recipe").hidden = false;
  fillRows("accuracies", Object.entries(metadata.eval_per_class_accuracy));
  byId("accuracies").parentElement.parentElement.hidden = false;
  byId("refused").hidden = facts.refused_versions.length === 0;
  byId("refused").replaceChildren(
    ...facts.refused_versions.map(({ version, reason }) => {
      const item = document.createElement("li");
      item.textContent = `Version ${version} is refused: ${reason}`;
      return item;
    }),
  );
}

/** The first names, at least one, as text and elements: "cat, dog and 998 more." */
function enumerate(names) {
  let room = ROOM_FOR_NAMES;
  const told = names.filter((name, number) => (room -= name.length + 2) >= 0 || number === 0);
  const rest = names.length - told.length;
  return [
    ...told.flatMap((name, number) => (number ? [", ", isolated(name)] : [isolated(name)])),
    rest ? ` and ${count(rest)} more.` : ".",
  ];
}

function describe(facts) {
  const { metadata } = facts;
  const { height, width, crop } = measureEyes(facts);
  return [
    ["Name", `${facts.name}, version ${facts.version}`],
    [
      "Accuracy",
      `${percent(metadata.eval_accuracy)} of ${count(metadata.eval_pictures)} ${metadata.eval_split} pictures`,
    ],
    [
      "Sees",
      crop < Math.max(width, height)
        ? `the middle ${size(crop, crop)} of ${size(width, height)} pixels`
        : `${size(width, height)} pixels`,
    ],
    ["Trained on", `${metadata.dataset}, ${count(metadata.class_names.length)} classes, recipe “${metadata.recipe.name}”, ${count(metadata.step)} steps`],
    ["Weights", `${averaging(metadata.ema_decay)}; SHA-256 ${metadata.weights_sha256.slice(0, 12)}…`],
    ["Made", new Date(metadata.created).toLocaleDateString("en", { dateStyle: "long", timeZone: "UTC" })],
    ["Revision", metadata.source_revision.replace(/^([0-9a-f]{12})[0-9a-f]{28}/, "$1…")],
    ["Runs with", facts.provider],
  ];
}

function averaging(decay) {
  return Number(decay) > 0 ? `averaged with decay ${decay}` : "those of the last update";
}

/** {"distortions": {"crop_size": 24}} -> [["distortions.crop_size", "24"]] */
function flatten(values, prefix = "") {
  return Object.entries(values).flatMap(([key, value]) =>
    value !== null && typeof value === "object" && !Array.isArray(value)
      ? flatten(value, `${prefix}${key}.`)
      : [[prefix + key, Array.isArray(value) ? value.map(inWords).join(", ") : String(value)]],
  );
}

/** A list may hold lists and objects of its own. */
const inWords = (item) => (typeof item === "object" ? JSON.stringify(item) : String(item));

function fillList(list, pairs) {
  list.replaceChildren(
    ...pairs.flatMap(([name, value]) => {
      const [term, description] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = name;
      description.textContent = value;
      return [term, description];
    }),
  );
}
