/** Rows of a class's name, a bar and a percentage. */

import { byId, count, isolated, percent } from "./words.js";

// Rows that are there at once; the rest unfolds.
const FIRST_CLASSES = 10;
// Longer names than the narrow column takes in one line get a wider one.
const SHORT_NAME = 14;

/**
 * Fills the table's body `id`, and where there are many classes the <details> `more-${id}`, with a row for each
 * [name, share]; a share of undefined leaves its row empty. `top` is the class to stress, if any.
 */
export function fillRows(id, shares, top) {
  const [more, rest] = [byId(`more-${id}`), shares.slice(FIRST_CLASSES)];
  fillBody(byId(id), shares.slice(0, FIRST_CLASSES), top);
  fillBody(more.querySelector("tbody"), rest, top);
  more.querySelector("summary").textContent = rest.length === 1 ? "One more class" : `The other ${count(rest.length)} classes`;
  more.hidden = rest.length === 0;
  const isWordy = shares.some(([name]) => name.length > SHORT_NAME);
  for (const table of [byId(id).parentElement, more.querySelector("table")]) table.classList.toggle("wordy", isWordy);
}

/** Empties the rows, and keeps their names. */
export function emptyRows(id) {
  const rows = [byId(id), byId(`more-${id}`).querySelector("tbody")].flatMap((body) => [...body.rows]);
  fillRows(
    id,
    rows.map((row) => [row.cells[0].textContent, undefined]),
  );
}

function fillBody(body, shares, top) {
  while (body.rows.length > shares.length) body.deleteRow(-1);
  while (body.rows.length < shares.length) body.append(byId("class-row").content.firstElementChild.cloneNode(true));
  shares.forEach(([name, share], number) => {
    const row = body.rows[number];
    row.classList.toggle("top", name === top);
    row.querySelector("th").title = name;
    row.querySelector("th").replaceChildren(isolated(name));
    row.querySelector(".fill").style.width = `${100 * (share ?? 0)}%`;
    row.querySelector(".number").textContent = share === undefined ? "" : percent(share);
  });
}
