import assert from "node:assert/strict";
import { test } from "node:test";
import { toDevice, toHost } from "../../web/convert.js";
import * as format from "../../web/format.js";

const bytesOf = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
const words = (bytes) => [...new Int32Array(bytes.slice().buffer)];

test("narrow integers travel as words and come back", () => {
  const cases = [
    [format.BOOL, Uint8Array.of(1, 0, 1), [1, 0, 1]],
    [format.UINT8, Uint8Array.of(0, 200, 255), [0, 200, 255]],
    [format.INT8, Int8Array.of(-128, 0, 127), [-128, 0, 127]],
    [format.INT16, Int16Array.of(-32768, 5, 32767), [-32768, 5, 32767]],
    [format.INT64, BigInt64Array.of(-2147483648n, 5n, 2147483647n), [-2147483648, 5, 2147483647]],
  ];
  for (const [dtype, host, device] of cases) {
    const sent = toDevice(bytesOf(host), dtype);
    assert.deepEqual(words(sent), device);
    assert.deepEqual(toHost(sent, dtype), bytesOf(host));
  }
});

test("bytes may begin anywhere", () => {
  const shifted = (array) => {
    const all = new Uint8Array(array.byteLength + 1);
    all.set(bytesOf(array), 1);
    return all.subarray(1);
  };
  assert.deepEqual(words(toDevice(shifted(BigInt64Array.of(-7n)), format.INT64)), [-7]);
  assert.deepEqual(words(toDevice(shifted(Int16Array.of(-7)), format.INT16)), [-7]);
  const back = toHost(shifted(Int32Array.of(-7)), format.INT64);
  assert.deepEqual(back, bytesOf(BigInt64Array.of(-7n)));
});

test("an int64 outside of 32 bits is refused by name and value", () => {
  for (const value of [2147483648n, -2147483649n, 1n << 62n])
    assert.throws(() => toDevice(bytesOf(BigInt64Array.of(1n, value)), format.INT64), {
      name: "RangeError64",
      message: new RegExp(`value ${value} cannot be converted to type int32 without overflow`),
    });
});

test("what needs no change is not copied, and float64 is refused", () => {
  const bytes = bytesOf(Float32Array.of(1, 2));
  assert.equal(toDevice(bytes, 8), bytes);
  assert.equal(toHost(bytes, 8), bytes);
  assert.throws(() => toDevice(bytes, format.FLOAT64), { name: "TypeError", message: /float32/ });
});
