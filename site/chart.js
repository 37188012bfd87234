// A loss curve as SVG, drawn anew whenever a value arrives.

const WIDTH = 560;
const HEIGHT = 240;
const LEFT = 44;
const RIGHT = 12;
const TOP = 12;
const BOTTOM = 30;
const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 * @param {string} [text]
 */
function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (text !== undefined) made.textContent = text;
  return made;
}

/** @param {number} value a power of ten, written out */
const plain = (value) => (value >= 1 ? String(value) : value.toPrecision(1));

/** A chart with a logarithmic axis of losses over training steps. */
export class LossChart {
  /**
   * @param {Element} place
   * @param {number} steps as many as will come
   */
  constructor(place, steps) {
    this.steps = Math.max(steps, 2);
    /** @type {number[]} */
    this.losses = [];
    /** @type {[number, number][]} */
    this.reference = [];
    this.svg = element("svg", {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      class: "chart",
      role: "img",
      "aria-label": "loss over training steps",
    });
    place.replaceChildren(this.svg);
    this.draw();
  }

  /** @param {number[]} losses of the steps that follow */
  add(...losses) {
    this.losses.push(...losses);
    this.draw();
  }

  /** @param {[number, number][]} points step and loss of a second, dashed line */
  compare(points) {
    this.reference = points;
    this.draw();
  }

  draw() {
    const seen = [...this.losses, ...this.reference.map(([, loss]) => loss)].filter((v) => v > 0);
    const high = Math.max(0, ...seen.map((v) => Math.ceil(Math.log10(v))));
    const low = Math.min(-1, ...seen.map((v) => Math.floor(Math.log10(v))));
    /** @param {number} step */
    const x = (step) => LEFT + ((WIDTH - LEFT - RIGHT) * step) / (this.steps - 1);
    /** @param {number} loss */
    const y = (loss) => {
      const share = (Math.log10(Math.max(loss, 10 ** low)) - low) / (high - low);
      return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share;
    };
    const parts = [];
    for (let power = low; power <= high; power++) {
      const at = y(10 ** power);
      parts.push(element("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: at, y2: at, class: "grid" }));
      const label = { x: LEFT - 8, y: at + 4, "text-anchor": "end" };
      parts.push(element("text", label, plain(10 ** power)));
    }
    const ends = { y: HEIGHT - 8 };
    parts.push(element("text", { ...ends, x: LEFT }, "step 1"));
    const last = { ...ends, x: WIDTH - RIGHT, "text-anchor": "end" };
    parts.push(element("text", last, String(this.steps)));
    /** @param {[number, number][]} points */
    const path = (points) => points.map(([step, loss]) => `${x(step)},${y(loss)}`).join(" ");
    if (this.reference.length)
      parts.push(element("polyline", { points: path(this.reference), class: "reference" }));
    /** @type {[number, number][]} */
    const line = this.losses.map((loss, step) => [step, loss]);
    if (line.length) parts.push(element("polyline", { points: path(line), class: "line" }));
    this.svg.replaceChildren(...parts);
  }
}
