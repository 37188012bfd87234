// The words that cross from Python: numbers shared with package/tabgrad/plan.py, ir.py and dtypes.py.
// docs/architecture.md describes the layout; tests compare both sides.

export const VERSION = 1;

// opcodes of `load`
export const RUN = 1;
export const COPY = 2;
export const ALLOC = 3;
export const FREE = 4;

// flags of RUN
export const USES_SCALARS = 1;
export const USES_STATUS = 2;

// bytes of an element by dtype code: bool, uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64
export const HOST_BYTES = [1, 1, 1, 2, 4, 8, 2, 2, 4, 8];
// the same in a webgpu buffer: one 32-bit word for what WGSL cannot address; 0 is refused
export const WORD_BYTES = [4, 4, 4, 4, 4, 4, 2, 2, 4, 0];

export const BOOL = 0;
export const UINT8 = 1;
export const INT8 = 2;
export const INT16 = 3;
export const INT32 = 4;
export const INT64 = 5;
export const FLOAT64 = 9;

/**
 * An error that Python knows by its name: OutOfMemory, DeviceLost, RangeError64, KernelError, HttpError, Truncated.
 * @param {string} name
 * @param {string} message
 */
export function named(name, message) {
  const error = new Error(message);
  error.name = name;
  return error;
}

/** @param {number} bytes */
export function readable(bytes) {
  let value = bytes;
  for (const unit of ["bytes", "KiB", "MiB", "GiB"]) {
    if (value < 1024 || unit === "GiB")
      return `${unit === "bytes" ? value : value.toFixed(1)} ${unit}`;
    value /= 1024;
  }
  return "";
}
