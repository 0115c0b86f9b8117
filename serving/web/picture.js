/**
 * What becomes of a picture before the network sees it, computed as serving/picture.py computes it: upright, white
 * behind transparency, scaled with Pillow's antialiasing bicubic filter until it covers the input, center-cropped.
 */

// Greater pictures go through the browser's own filter first: quicker, and the memory stays within bounds.
const GREATEST_SIDE = 2048;
const BICUBIC_SUPPORT = 2;
const JPEG_QUALITY = 0.92;
// The pixels of a smaller picture are shown as what they are.
const TINY_SIDE = 128;

/** Decodes a picture, upright and without its colour profile. Throws where the browser cannot. */
export function decode(blob) {
  return createImageBitmap(blob, { imageOrientation: "from-image", colorSpaceConversion: "none" });
}

/** Scales and center-crops a bitmap to ImageData of height x width pixels. */
export function fit(bitmap, height, width) {
  const scale = Math.min(bitmap.width / width, bitmap.height / height);
  const across = findSpan(bitmap.width, width, scale);
  const down = findSpan(bitmap.height, height, scale);
  const { data, width: columns, height: rows } = readPixels(bitmap, across, down);
  const narrow = resample(data, rows, { line: columns * 4, sample: 4 }, makeTaps(across, columns, width), {
    line: width * 4,
    sample: 4,
  });
  const fitted = resample(narrow, width, { line: 4, sample: width * 4 }, makeTaps(down, rows, height), {
    line: 4,
    sample: width * 4,
  });
  return new ImageData(fitted, width, height);
}

/** Whether an element shows pixels rather than a picture. */
export function markTiny(element, width, height) {
  element.classList.toggle("tiny", Math.max(width, height) < TINY_SIDE);
}

/** Draws the middle size x size pixels of `fitted` on a canvas, which becomes as large as they are. */
export function drawMiddle(canvas, fitted, size) {
  canvas.width = Math.min(size, fitted.width);
  canvas.height = Math.min(size, fitted.height);
  const left = Math.floor((fitted.width - canvas.width) / 2);
  const top = Math.floor((fitted.height - canvas.height) / 2);
  canvas.getContext("2d").putImageData(fitted, -left, -top);
  markTiny(canvas, canvas.width, canvas.height);
}

/** Returns a JPEG of a bitmap, with white behind it, whose sides are at most `side` pixels. */
export function scaleDown(bitmap, side) {
  const factor = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  const width = Math.max(1, Math.round(bitmap.width * factor));
  const height = Math.max(1, Math.round(bitmap.height * factor));
  const { canvas } = drawOnWhite(bitmap, [0, 0, bitmap.width, bitmap.height], width, height);
  return new Promise((resolve, reject) => {
    canvas.toBlob(
      (blob) => (blob ? resolve(blob) : reject(new Error("The picture could not be scaled down."))),
      "image/jpeg",
      JPEG_QUALITY,
    );
  });
}

/**
 * The stretch of one axis that is wanted: whole pixels from `first` on, `length` of them, enough for the filter at both
 * ends; the wanted stretch begins at `start` among them, and `scale` of them become one.
 */
function findSpan(available, wanted, scale) {
  const start = (available - wanted * scale) / 2;
  const margin = BICUBIC_SUPPORT * Math.max(scale, 1);
  const first = Math.max(0, Math.floor(start - margin));
  const end = Math.min(available, Math.ceil(start + wanted * scale + margin));
  return { first, length: end - first, start: start - first, scale };
}

function readPixels(bitmap, across, down) {
  const shrinkage = Math.max(1, across.length / GREATEST_SIDE, down.length / GREATEST_SIDE);
  const width = Math.max(1, Math.round(across.length / shrinkage));
  const height = Math.max(1, Math.round(down.length / shrinkage));
  const source = [across.first, down.first, across.length, down.length];
  return drawOnWhite(bitmap, source, width, height).getImageData(0, 0, width, height);
}

function drawOnWhite(bitmap, source, width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingEnabled = source[2] !== width || source[3] !== height;
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, ...source, 0, 0, width, height);
  return context;
}

/** For each wanted pixel the first of those that it is made of, and the weight of each; Pillow's precompute_coeffs. */
function makeTaps(span, pixels, wanted) {
  const shrinkage = span.length / pixels;
  const scale = span.scale / shrinkage;
  const spread = Math.max(scale, 1);
  return Array.from({ length: wanted }, (_, number) => {
    const center = span.start / shrinkage + (number + 0.5) * scale;
    const first = Math.max(0, Math.floor(center - BICUBIC_SUPPORT * spread + 0.5));
    const end = Math.min(pixels, Math.floor(center + BICUBIC_SUPPORT * spread + 0.5));
    const raw = Array.from({ length: end - first }, (_, tap) => bicubic((first + tap - center + 0.5) / spread));
    const sum = raw.reduce((total, weight) => total + weight, 0);
    return { first, weights: raw.map((weight) => weight / sum) };
  });
}

/** Keys' cubic with a = -0.5, as in Pillow. */
function bicubic(distance) {
  const x = Math.abs(distance);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

/** Scales one axis of RGBA bytes. `from` and `to` are the steps between lines and between samples, in bytes. */
function resample(source, lines, from, taps, to) {
  const result = new Uint8ClampedArray(lines * taps.length * 4).fill(255);
  for (let line = 0; line < lines; line++) {
    taps.forEach(({ first, weights }, number) => {
      let [red, green, blue] = [0, 0, 0];
      let at = line * from.line + first * from.sample;
      for (let tap = 0; tap < weights.length; tap++, at += from.sample) {
        red += weights[tap] * source[at];
        green += weights[tap] * source[at + 1];
        blue += weights[tap] * source[at + 2];
      }
      result.set([red, green, blue], line * to.line + number * to.sample);
    });
  }
  return result;
}
