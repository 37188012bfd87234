import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as format from "../../web/format.js";

const python = (name) =>
  readFileSync(new URL(`../../package/tabgrad/${name}`, import.meta.url), "utf8");

/** The numbers of lines like `A, B = 1, 2`. */
function constants(text) {
  const found = {};
  for (const [, names, values] of text.matchAll(/^([A-Z_, ]+) = ([\d, ]+)$/gm)) {
    const numbers = values.split(",").map(Number);
    names.split(",").forEach((name, k) => (found[name.trim()] = numbers[k]));
  }
  return found;
}

test("opcodes and flags are Python's", () => {
  const theirs = { ...constants(python("plan.py")), ...constants(python("ir.py")) };
  for (const name of ["VERSION", "RUN", "COPY", "ALLOC", "FREE", "USES_SCALARS", "USES_STATUS"])
    assert.equal(format[name], theirs[name], name);
});

test("dtype codes and sizes are Python's", () => {
  const rows = [...python("dtypes.py").matchAll(/DType\((\d+), "(\w+)", (\d+)/g)];
  assert.equal(rows.length, format.HOST_BYTES.length);
  for (const [, code, name, bytes] of rows) {
    assert.equal(format.HOST_BYTES[Number(code)], Number(bytes), name);
    const constant = format[name.toUpperCase()];
    if (constant !== undefined) assert.equal(constant, Number(code), name);
  }
});

test("sizes are readable", () => {
  assert.equal(format.readable(12), "12 bytes");
  assert.equal(format.readable(3 << 20), "3.0 MiB");
  assert.equal(format.readable(5 * 2 ** 40), "5120.0 GiB");
});

test("the loader asks for this version of the wheel, and for the Pyodide we test with", () => {
  const read = (path) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
  const boot = read("web/loader/boot.js");
  const [, version] = read("pyproject.toml").match(/^version = "(.*)"$/m);
  assert.match(boot, new RegExp(`"tabgrad-${version}-py3-none-any.whl"`));
  const { pyodide } = JSON.parse(read("package.json")).dependencies;
  assert.match(boot, new RegExp(`PYODIDE = "${pyodide}"`));
});
