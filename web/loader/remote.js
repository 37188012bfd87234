// Python in a worker: the same three doors over messages.

/** @typedef {import("./boot.js").Python} Python */

/**
 * @param {import("./boot.js").Settings} settings
 * @param {(stage: string) => void} tell
 * @returns {Promise<Python>}
 */
export async function inWorker(settings, tell) {
  const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  /** @type {Map<number, { done: (value: any) => void, fail: (error: Error) => void, print?: (text: string) => void }>} */
  const waiting = new Map();
  let last = 0;

  worker.onmessage = ({ data }) => {
    if ("stage" in data) return tell(data.stage);
    const asked = waiting.get(data.id);
    if ("print" in data) return asked?.print?.(data.print);
    waiting.delete(data.id);
    if ("error" in data) asked?.fail(new Error(data.error));
    else asked?.done(data.value);
  };
  worker.onerror = (event) => {
    const error = new Error(`the worker failed: ${event.message}`);
    for (const { fail } of waiting.values()) fail(error);
    waiting.clear();
  };

  /**
   * @param {string} door
   * @param {any[]} values
   * @param {(text: string) => void} [print]
   */
  function ask(door, values, print) {
    return new Promise((done, fail) => {
      waiting.set(++last, { done, fail, print });
      worker.postMessage({ id: last, door, values });
    });
  }

  await ask("boot", [settings]);
  return {
    run: (code, filename, print) => ask("run", [code, filename], print),
    find: (name) => ask("find", [name]),
    call: (name, values) => ask("call", [name, values]),
  };
}
