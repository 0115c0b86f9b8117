/** The form for an API key, which some servers ask for. The key is forgotten with the page. */

import { showKey } from "./server.js";
import { byId } from "./words.js";

const UNAUTHORIZED = 401;

/** Shows the form if it was for want of a key that the server refused. Tells whether it was. */
export function isForWantOfKey(error) {
  if (error.status !== UNAUTHORIZED) return false;
  byId("key-form").hidden = false;
  return true;
}

/** Calls `goOn` when somebody has given a key. */
export function receiveKey(goOn) {
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    showKey(byId("key").value.trim());
    byId("key").value = "";
    byId("key-form").hidden = true;
    goOn();
  });
}
