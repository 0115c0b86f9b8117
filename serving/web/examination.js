/** One picture from file to answer: what the network will see of it, the server's answer, the remark below that. */

import { isForWantOfKey } from "./key.js";
import { decode, fit, scaleDown } from "./picture.js";
import { NoAnswer, predict, Refusal } from "./server.js";
import { duration, percent } from "./words.js";

const PAYLOAD_TOO_LARGE = 413;
const SERVER_ERROR = 500;
const NOT_FOUND = 404;
// Tried in turn on a picture that is too large for the server; the network sees far less of it anyway.
const SMALLER_SIDES = [2048, 1024, 512];

/**
 * Fills in what a picture { file, name, eyes, choice } lacks: `fitted`, where the browser can decode it; `state`, which
 * is "waiting", "answered" or "failed"; then `prediction` and `remark`, or `problem`, `isWorthTrying` (again) and
 * `isModelGone`. Calls `update` at every step. Once `signal` is aborted it leaves the picture alone.
 */
export async function examine(picture, facts, signal, update) {
  const bitmap = await decode(picture.file).catch(() => undefined);
  try {
    if (signal.aborted) return;
    if (bitmap) picture.fitted = fit(bitmap, picture.eyes.height, picture.eyes.width);
    update(picture);
    const reply = await askInSmallerSizes(picture, bitmap, signal);
    if (signal.aborted) return;
    picture.prediction = reply.answer;
    picture.remark = remarkOn(reply, facts);
    picture.state = "answered";
  } catch (error) {
    const canBeRead = await isReadable(picture.file);
    if (signal.aborted) return;
    picture.problem = canBeRead ? error.message : "The file cannot be read.";
    picture.isModelGone = error.status === NOT_FOUND;
    picture.isWorthTrying =
      error instanceof NoAnswer || error.status >= SERVER_ERROR || picture.isModelGone || isForWantOfKey(error);
    picture.state = "failed";
  } finally {
    bitmap?.close();
  }
  update(picture);
}

/** Sends a picture as it is, and smaller only once the server, or a proxy before it, has found it too large. */
async function askInSmallerSizes({ file, choice }, bitmap, signal) {
  let reply = await predict(file, choice, signal).catch(keepTooLarge);
  for (const side of bitmap ? SMALLER_SIDES : []) {
    if (!(reply instanceof Refusal)) break;
    const { message } = reply;
    reply = await predict(await scaleDown(bitmap, side), choice, signal).catch(keepTooLarge);
    reply.shrunk = `Scaled down to ${side} pixels a side, for the server had said: “${message}”`;
  }
  if (reply instanceof Refusal) throw reply;
  return reply;
}

function keepTooLarge(error) {
  if (error instanceof Refusal && error.status === PAYLOAD_TOO_LARGE) return error;
  throw error;
}

function remarkOn({ answer, roundTrip, serverShare, shrunk }, facts) {
  const share = serverShare === undefined ? "" : `, ${duration(serverShare)} of it in the server`;
  const { name, version } = answer.model;
  const isKnown = facts?.name === name && facts.version === version;
  const accuracies = isKnown ? facts.metadata.eval_per_class_accuracy : {};
  return [
    `Answered in ${duration(roundTrip)}${share}, by ${name} version ${version}.`,
    // A class may be called "constructor".
    Object.hasOwn(accuracies, answer.label)
      ? `In its test it recognized ${percent(accuracies[answer.label])} of this class.`
      : "",
    shrunk ?? "",
  ]
    .filter(Boolean)
    .join(" ");
}

/** A folder, or a file that was deleted meanwhile, is no fault of the server's. */
async function isReadable(file) {
  return file
    .slice(0, 1)
    .arrayBuffer()
    .then(
      () => true,
      () => false,
    );
}
