// The drawing pad, and what it holds as the network wants it: 8×8 grey values, prepared as the
// data set was: ink cut out, scaled to 32×32, and counted in blocks of 4×4.

const GRID = 8;
const FINE = 32;
const STROKE = 0.1; // of the pad's width

/** @param {HTMLCanvasElement} pad */
const pen = (pad) =>
  /** @type {CanvasRenderingContext2D} */ (pad.getContext("2d", { willReadFrequently: true }));

/** @param {HTMLCanvasElement} pad */
export function clear(pad) {
  const g = pen(pad);
  g.fillStyle = "#fff";
  g.fillRect(0, 0, pad.width, pad.height);
}

/**
 * Strokes follow the pointer.
 * @param {HTMLCanvasElement} pad
 * @param {() => void} changed
 */
export function drawOn(pad, changed) {
  /** @type {[number, number] | null} */
  let last = null;
  /** @param {PointerEvent} event @returns {[number, number]} */
  const point = (event) => {
    const box = pad.getBoundingClientRect();
    const scale = pad.width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  };
  /** @param {PointerEvent} event */
  const stroke = (event) => {
    if (!last) return;
    const next = point(event);
    const g = pen(pad);
    g.lineCap = "round";
    g.lineWidth = STROKE * pad.width;
    g.strokeStyle = "#000";
    g.beginPath();
    g.moveTo(...last);
    g.lineTo(...next);
    g.stroke();
    last = next;
    changed();
  };
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    last = point(event);
    stroke(event);
  });
  pad.addEventListener("pointermove", stroke);
  for (const end of ["pointerup", "pointercancel"]) pad.addEventListener(end, () => (last = null));
}

/**
 * A picture onto the pad, whole and centred; light ink on dark paper is turned into its negative.
 * @param {HTMLCanvasElement} pad
 * @param {Blob} file
 */
export async function paste(pad, file) {
  const picture = await createImageBitmap(file);
  const scale = Math.min(pad.width / picture.width, pad.height / picture.height);
  const [w, h] = [picture.width * scale, picture.height * scale].map(Math.ceil);
  const [x, y] = [Math.floor((pad.width - w) / 2), Math.floor((pad.height - h) / 2)];
  const g = pen(pad);
  clear(pad);
  g.drawImage(picture, x, y, w, h);
  const corners = [0, w - 1].flatMap((dx) => [0, h - 1].map((dy) => [x + dx, y + dy]));
  const dark = corners.filter(([cx, cy]) => darkness(g.getImageData(cx, cy, 1, 1).data)[0]);
  if (dark.length < 3) return;
  g.globalCompositeOperation = "difference"; // white minus the picture
  g.fillStyle = "#fff";
  g.fillRect(x, y, w, h);
  g.globalCompositeOperation = "source-over";
}

/**
 * Grey values onto the pad, as soft squares.
 * @param {HTMLCanvasElement} pad
 * @param {Float32Array} grey
 */
export function ink(pad, grey) {
  const small = new OffscreenCanvas(GRID, GRID);
  put(/** @type {any} */ (small.getContext("2d")), grey);
  const g = pen(pad);
  clear(pad);
  g.imageSmoothingQuality = "high";
  g.drawImage(small, 0, 0, pad.width, pad.height);
}

/**
 * Grey values into a canvas of 8×8 pixels.
 * @param {HTMLCanvasElement} small
 * @param {Float32Array | null} grey
 */
export function show(small, grey) {
  put(pen(small), grey ?? new Float32Array(GRID * GRID));
}

/**
 * @param {CanvasRenderingContext2D} g
 * @param {Float32Array} grey
 */
function put(g, grey) {
  const image = g.createImageData(GRID, GRID);
  grey.forEach((value, k) => image.data.set([0, 0, 0, 255 * value], 4 * k));
  g.fillStyle = "#fff";
  image.data.forEach((_, k) => {
    if (k % 4 < 3) image.data[k] = 255 - image.data[(k | 3) >>> 0];
  });
  for (let k = 3; k < image.data.length; k += 4) image.data[k] = 255;
  g.putImageData(image, 0, 0);
}

/**
 * What is drawn, as the network's 64 inputs from 0 to 1; null for an empty pad.
 * @param {HTMLCanvasElement} pad
 * @returns {Float32Array | null}
 */
export function toPixels(pad) {
  const { width, height } = pad;
  const dark = darkness(pen(pad).getImageData(0, 0, width, height).data);
  const box = bounds(dark, width);
  if (!box) return null;
  const [left, top, right, bottom] = box;
  const scale = FINE / Math.max(right - left, bottom - top);
  const [w, h] = [(right - left) * scale, (bottom - top) * scale];
  const fine = new OffscreenCanvas(FINE, FINE);
  const g = /** @type {any} */ (fine.getContext("2d"));
  g.fillStyle = "#fff";
  g.fillRect(0, 0, FINE, FINE);
  g.imageSmoothingQuality = "high";
  const place = [(FINE - w) / 2, (FINE - h) / 2, w, h];
  g.drawImage(pad, left, top, right - left, bottom - top, ...place);
  const bits = darkness(g.getImageData(0, 0, FINE, FINE).data);
  const counts = new Float32Array(GRID * GRID);
  const block = FINE / GRID;
  bits.forEach((on, k) => {
    const [x, y] = [k % FINE, Math.floor(k / FINE)];
    counts[Math.floor(y / block) * GRID + Math.floor(x / block)] += on / block ** 2;
  });
  return counts;
}

/**
 * One bit per pixel: dark or not.
 * @param {Uint8ClampedArray} rgba
 */
function darkness(rgba) {
  const bits = new Uint8Array(rgba.length / 4);
  for (let k = 0; k < bits.length; k++) {
    const [r, g, b] = rgba.subarray(4 * k, 4 * k + 3);
    bits[k] = Number(0.3 * r + 0.59 * g + 0.11 * b < 128);
  }
  return bits;
}

/**
 * @param {Uint8Array} bits
 * @param {number} width
 * @returns {[number, number, number, number] | null} left, top, right, bottom of what is set
 */
function bounds(bits, width) {
  let [left, top, right, bottom] = [Infinity, Infinity, -1, -1];
  bits.forEach((on, k) => {
    if (!on) return;
    const [x, y] = [k % width, Math.floor(k / width)];
    [left, top] = [Math.min(left, x), Math.min(top, y)];
    [right, bottom] = [Math.max(right, x + 1), Math.max(bottom, y + 1)];
  });
  return right < 0 ? null : [left, top, right, bottom];
}
