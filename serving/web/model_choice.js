/** The choice of a model and a version, where the server has more than one. */

import { byId, percent } from "./words.js";

/** What is chosen: { model, version }, undefined where the server decides. */
export function chosenModel() {
  const { model, version } = byId("choose").selectedOptions[0]?.dataset ?? {};
  return { model, version };
}

/** Offers what GET /models lists; what was chosen stays chosen, as long as it is there. */
export function offerModels(models) {
  const offers = models.sort((one, other) => other.is_default - one.is_default).flatMap(offersOf);
  const [select, before] = [byId("choose"), chosenModel()];
  const [told, known] = [offers, [...select.options]].map((each) => each.map(({ text }) => text).join("\n"));
  // Filled anew, a list that is open would close.
  if (told === known) return;
  select.replaceChildren(
    ...offers.map(({ text, model, version }) => {
      const option = new Option(text, "", false, model === before.model && version === before.version);
      if (model !== undefined) option.dataset.model = model;
      if (version !== undefined) option.dataset.version = version;
      return option;
    }),
  );
  byId("choice").hidden = offers.length < 2;
}

/** Calls `goOn` when somebody has chosen. */
export function receiveChoice(goOn) {
  byId("choose").addEventListener("change", goOn);
}

/** The newest version is offered as whichever will be the newest, and of the default model without its name. */
function offersOf({ name, is_default: isDefault, versions }) {
  const newest = isDefault ? undefined : name;
  if (isDefault && versions.length === 0) return [{ text: `${name}, not ready` }];
  return versions.map(({ version, serving, eval_accuracy: accuracy }) => ({
    text: `${name}, version ${version}${serving ? " (newest)" : ""}, ${percent(accuracy)}`,
    model: serving ? newest : name,
    version: serving ? undefined : String(version),
  }));
}
