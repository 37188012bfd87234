// The worker's side of remote.js.

import { boot } from "./boot.js";

/** @type {import("./boot.js").Python} */
let python;

/** @param {any} message */
const post = (message) => /** @type {any} */ (globalThis).postMessage(message);

/** @type {Record<string, (id: number, ...values: any[]) => Promise<any>>} */
const doors = {
  async boot(_, settings) {
    python = await boot(settings, (stage) => post({ stage }));
  },
  run: (id, code, filename) => python.run(code, filename, (print) => post({ id, print })),
  find: (_, name) => python.find(name),
  call: (_, name, values) => python.call(name, values),
};

globalThis.onmessage = async ({ data: { id, door, values } }) => {
  try {
    post({ id, value: await doors[door](id, ...values) });
  } catch (error) {
    post({ id, error: error instanceof Error ? error.message : String(error) });
  }
};
