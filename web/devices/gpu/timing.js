// Time per kernel by timestamp queries: every dispatch in a pass of its own, while profiling.

const MOST = 2048; // dispatches per run; a query set holds twice as many

/** @param {GPUDevice} device */
export function timing(device) {
  const can = device.features.has("timestamp-query");
  /** @type {GPUQuerySet | null} */
  let queries = null;
  /** @type {string[]} */
  let labels = [];
  /** @type {Promise<[string, number][]>[]} */
  let runs = [];

  /** @param {boolean} on */
  function profile(on) {
    if (on && can) queries ??= device.createQuerySet({ type: "timestamp", count: 2 * MOST });
    else if (queries) {
      queries.destroy();
      queries = null;
    }
  }

  /**
   * @param {string} label
   * @returns {GPUComputePassDescriptor | null} for the pass of one dispatch, or null where it is not timed
   */
  function pass(label) {
    if (!queries || labels.length === MOST) return null;
    const at = 2 * labels.length;
    labels.push(label);
    const ends = { beginningOfPassWriteIndex: at, endOfPassWriteIndex: at + 1 };
    return { timestampWrites: { querySet: queries, ...ends } };
  }

  /**
   * The run's last commands; call the result once they are submitted.
   * @param {GPUCommandEncoder} encoder
   */
  function finish(encoder) {
    if (!queries || !labels.length) return () => {};
    const names = labels;
    const size = names.length * 16;
    labels = [];
    const { QUERY_RESOLVE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
    const resolved = device.createBuffer({ size, usage: QUERY_RESOLVE | COPY_SRC });
    const staging = device.createBuffer({ size, usage: COPY_DST | MAP_READ });
    encoder.resolveQuerySet(queries, 0, 2 * names.length, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
    return () => {
      runs.push(collect(names, resolved, staging));
    };
  }

  /**
   * @param {string[]} names
   * @param {GPUBuffer} resolved
   * @param {GPUBuffer} staging
   */
  async function collect(names, resolved, staging) {
    await staging.mapAsync(GPUMapMode.READ);
    const at = new BigInt64Array(staging.getMappedRange());
    /** @type {[string, number][]} */
    const times = names.map((name, i) => [name, Number(at[2 * i + 1] - at[2 * i]) / 1e6]);
    staging.destroy();
    resolved.destroy();
    return times;
  }

  /** Kernel and milliseconds of every dispatch since the last call. */
  async function timings() {
    const all = runs;
    runs = [];
    return (await Promise.all(all)).flat();
  }

  return { profile, pass, finish, timings, on: () => queries !== null };
}
