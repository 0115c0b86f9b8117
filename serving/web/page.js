/** The page at /: pictures come in, the server is asked about each, answers are shown. */

import { prepareAnswer, showAnswer, showPreview } from "./answer.js";
import { offerCamera } from "./camera.js";
import { examine } from "./examination.js";
import { offerDrawings, receivePictures } from "./intake.js";
import { isForWantOfKey, receiveKey } from "./key.js";
import { measureEyes, showCard } from "./model_card.js";
import { chosenModel, offerModels, receiveChoice } from "./model_choice.js";
import { listPictures, markItem, updateItem } from "./picture_list.js";
import { addressFor, readFacts, readModels } from "./server.js";
import { byId, percent } from "./words.js";

const MOST_PICTURES = 20;
const PICTURES_AT_ONCE = 4;
const PAUSE_SECONDS = 2;
// Until the model is known: what the tutorial's network sees.
const USUAL_EYES = { height: 32, width: 32, crop: 24 };

let facts;
let nextLook;
let looks = 0;
let pictures = [];
let chosen;
let asking = new AbortController();

/** Shows the chosen model's facts, as soon as there is a model. */
async function watchModel() {
  clearTimeout(nextLook);
  const look = ++looks;
  try {
    offerModels(await readModels());
    showCommand();
    const read = await readFacts(chosenModel());
    if (look !== looks) return; // another look has begun, perhaps at another model
    facts = read;
    showCard(facts);
    prepareAnswer(facts.metadata.class_names, measureEyes(facts), Boolean(chosen));
    offerDrawings(facts.metadata.class_names);
  } catch (error) {
    if (look !== looks) return;
    const goesOn = !isForWantOfKey(error);
    const sentence = goesOn ? `${error.message} Asking again every ${PAUSE_SECONDS} seconds.` : error.message;
    // Written anew, it would be read out anew.
    if (byId("model").textContent !== sentence) byId("model").textContent = sentence;
    if (goesOn) nextLook = setTimeout(watchModel, 1000 * PAUSE_SECONDS);
  }
}

/** Asks about new pictures, which take the place of those before. */
async function take(files) {
  await firstLook;
  pictures = files.slice(0, MOST_PICTURES).map((file) => ({ file, name: file.name || "Pasted picture" }));
  pictures.forEach(begin);
  complain(files.length > MOST_PICTURES ? `Of ${files.length} pictures the first ${MOST_PICTURES} are looked at.` : "");
  listPictures(pictures, (picture) => {
    choose(picture);
    bringIntoView(byId("answer"));
  });
  choose(pictures[0]);
  bringIntoView(pictures.length > 1 ? byId("list") : byId("answer"));
  await askAbout(pictures);
}

/** Puts a picture at its beginning, for the model that is chosen now. */
function begin(picture) {
  picture.eyes = facts ? measureEyes(facts) : USUAL_EYES;
  picture.choice = chosenModel();
  picture.state = "waiting";
  delete picture.prediction;
}

/** Asks about several pictures at once, and about no others any more. */
async function askAbout(asked) {
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  const queue = [...asked];
  const work = async () => {
    while (queue.length && !signal.aborted) await examine(queue.shift(), facts, signal, update);
  };
  await Promise.all(Array.from({ length: PICTURES_AT_ONCE }, work));
  if (!signal.aborted && asked.length) announce(asked);
}

/** Asks once more about all pictures for which that may help. */
function askAgain() {
  for (const picture of pictures.filter(({ state, isWorthTrying }) => state === "failed" && isWorthTrying)) {
    begin(picture);
    update(picture);
  }
  askAbout(pictures.filter(({ state }) => state === "waiting"));
}

/** Looks at the model that was chosen, and shows it the pictures that are there. */
async function changeModel() {
  asking.abort();
  await watchModel();
  for (const picture of pictures) {
    begin(picture);
    update(picture);
  }
  askAbout(pictures);
}

function update(picture) {
  updateItem(picture);
  if (picture === chosen) showAnswer(picture);
  const model = picture.prediction?.model;
  const isChanged = model && facts && (model.name !== facts.name || model.version !== facts.version);
  if (isChanged || (picture.state === "failed" && picture.isModelGone)) watchModel();
}

function choose(picture) {
  chosen = picture;
  markItem(pictures, chosen);
  showPreview(chosen);
  showAnswer(chosen);
}

/** Tells those who hear the page; an error's own element is an alert already. */
function announce(asked) {
  const answered = asked.filter(({ state }) => state === "answered");
  const [{ name, prediction }] = asked;
  if (asked.length > 1) byId("announcement").textContent = `${answered.length} of ${asked.length} pictures answered.`;
  else if (prediction)
    byId("announcement").textContent = `${name}: ${prediction.label}, ${percent(prediction.confidence)} sure.`;
}

function complain(sentence) {
  byId("intake-problem").textContent = sentence;
}

/** On a phone the answer lies below what was touched. */
function bringIntoView(element) {
  if (element.getBoundingClientRect().top > 0.7 * innerHeight) element.scrollIntoView({ block: "start" });
}

function showCommand() {
  byId("command").textContent =
    `curl -F file=@picture.png '${new URL(addressFor(chosenModel()), location.href)}'`;
}

showCommand();
byId("again").addEventListener("click", askAgain);
receiveKey(() => {
  watchModel();
  askAgain();
});
receiveChoice(changeModel);
receivePictures(take, complain);
offerCamera(take);
const firstLook = watchModel();
