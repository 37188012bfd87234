// The compiled kernels: bound to their memory, and numbered so that C can call them.

// What a module that imports a shared memory says of it: its name, that it is a memory, "shared, with a maximum". The module is the
// same, and valid, when the last byte says "with a maximum".
const SHARED = "\x06memory\x02\x03";
const OWN = 1;

/**
 * @param {BufferSource} wasm
 * @param {boolean} share whether this place may share memory between threads
 * @returns {{ module: WebAssembly.Module, shared: boolean }}
 */
export function compiled(wasm, share) {
  const view = ArrayBuffer.isView(wasm);
  const bytes = view ? new Uint8Array(wasm.buffer, wasm.byteOffset, wasm.byteLength) : wasm;
  const code = new Uint8Array(bytes).slice();
  const at = String.fromCharCode(...code.subarray(0, 4096)).indexOf(SHARED);
  if (at >= 0 && !share) code[at + SHARED.length - 1] = OWN;
  return { module: new WebAssembly.Module(code), shared: at >= 0 && share };
}

/**
 * An instance's exports. Its functions are in its table, in the order of the module, so that they have the same numbers in every
 * thread. (A worker gets this function as text: it may use nothing around it.)
 * @param {WebAssembly.Module} module
 * @param {WebAssembly.Memory} memory
 */
export function connect(module, memory) {
  const made = new WebAssembly.Instance(module, { env: { memory } });
  const exports = /** @type {Record<string, any>} */ (made.exports);
  const functions = Object.entries(exports).filter(([, value]) => typeof value === "function");
  const table = exports.__indirect_function_table;
  const first = table.grow(functions.length);
  functions.forEach(([, value], k) => table.set(first + k, value));
  return { exports, numbers: new Map(functions.map(([name], k) => [name, first + k])) };
}
