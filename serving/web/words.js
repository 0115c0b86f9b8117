/** How the page finds its elements, and how it writes numbers. */

export const byId = (id) => document.getElementById(id);

/** 0.8258 -> "82.6 %"; a number is never broken off from its unit. */
export const percent = (share) => `${(100 * share).toFixed(1)}\u00a0%`;

/** Milliseconds, as exactly as one can feel: "3.4 ms", "120 ms", "2.1 s". */
export function duration(milliseconds) {
  if (milliseconds >= 1000) return `${(milliseconds / 1000).toFixed(1)}\u00a0s`;
  return `${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)}\u00a0ms`;
}

export const count = (number) => number.toLocaleString("en");

/** A name that others gave, as an element: whichever way its letters run, they turn no others round. */
export function isolated(name) {
  const element = document.createElement("bdi");
  element.textContent = name;
  return element;
}

/** "32 × 32", in one line. */
export const size = (width, height) => `${width}\u00a0×\u00a0${height}`;
