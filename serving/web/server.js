/** What the server is asked and what it says; its errors in words. All addresses are relative to the page's. */

const PATIENCE_MILLISECONDS = 60_000;

/** The server answered with an error; the message is its own sentence. */
export class Refusal extends Error {
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

/** No answer came; the message says so in one sentence. */
export class NoAnswer extends Error {}

const authorization = {};

/** From now on every question carries this API key; RFC 6750. */
export function showKey(key) {
  authorization.Authorization = `Bearer ${key}`;
}

/** All models and their versions. Throws Refusal or NoAnswer. */
export async function readModels() {
  return (await ask("models", { cache: "no-store" })).answer;
}

/** A model's facts; of the server's own choice, as `GET /metrics` gives them to those who ask for JSON. Throws
 * Refusal or NoAnswer. */
export async function readFacts({ model, version }) {
  const address = model === undefined ? "metrics" : ["models", model, version].filter(Boolean).join("/");
  return (await ask(address, { headers: { Accept: "application/json" }, cache: "no-store" })).answer;
}

/** Where pictures for a model are sent. */
export function addressFor(choice) {
  const query = new URLSearchParams(Object.entries(choice).filter(([, value]) => value !== undefined));
  return query.size ? `predict?${query}` : "predict";
}

/**
 * Asks a model for a picture's class. Returns { answer, roundTrip, serverShare }, both times in milliseconds; serverShare is
 * undefined where the server sends no Server-Timing. Throws Refusal or NoAnswer, or AbortError once `signal` is
 * aborted.
 */
export async function predict(picture, choice, signal) {
  const begin = performance.now();
  // The server finds out by itself what kind of picture it is; what the browser thinks of a file's name is no help.
  const headers = { "Content-Type": "application/octet-stream" };
  const { answer, response } = await ask(addressFor(choice), { method: "POST", body: picture, headers, signal });
  const roundTrip = performance.now() - begin;
  return { answer, roundTrip, serverShare: readServerTiming(response.headers.get("Server-Timing")) };
}

async function ask(address, options) {
  const timeout = AbortSignal.timeout(PATIENCE_MILLISECONDS);
  const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
  const headers = { ...options.headers, ...authorization };
  let response, text;
  try {
    response = await fetch(address, { ...options, headers, signal });
    text = await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (error.name === "TimeoutError") {
      throw new NoAnswer(`The server did not answer within ${PATIENCE_MILLISECONDS / 1000} seconds.`);
    }
    throw new NoAnswer("The server does not answer; is it still running?");
  }
  const answer = parseOrNothing(text);
  if (!response.ok || answer === undefined) {
    const sentence =
      answer?.detail ?? `The server answered with status ${response.status} ${response.statusText}`.trim() + ".";
    throw new Refusal(sentence, response.status);
  }
  return { answer, response };
}

/** What stands between the page and the server, a proxy say, may answer with a page of its own. */
function parseOrNothing(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The metric `total` of a Server-Timing header, or the sum of all where none has that name; in milliseconds. */
function readServerTiming(header) {
  const durations = new Map();
  for (const metric of (header ?? "").split(",")) {
    const [name, ...parameters] = metric.split(";").map((part) => part.trim());
    const duration = parameters.find((parameter) => parameter.startsWith("dur="));
    if (duration) durations.set(name, Number(duration.slice(4).replaceAll('"', "")));
  }
  return (
    durations.get("total") ?? (durations.size ? [...durations.values()].reduce((sum, each) => sum + each) : undefined)
  );
}
