// Kernel texts to pipelines, each text once; what the compiler has to say arrives later and is reported.

import { named } from "../../format.js";

/** @typedef {{ pipeline: GPUComputePipeline, layout: GPUBindGroupLayout, label: string, broken: Error | null }} Kernel */

/**
 * @param {GPUDevice} device
 * @param {(error: Error) => void} report
 */
export function pipelines(device, report) {
  /** @type {Map<string, Kernel>} */
  const made = new Map();
  const counts = { pipelines: 0 };

  /**
   * @param {string} text WGSL
   * @returns {Kernel}
   */
  function compile(text) {
    const known = made.get(text);
    if (known) return known;
    counts.pipelines++;
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ code: text });
    const pipeline = device.createComputePipeline({ layout: "auto", compute: { module } });
    const layout = pipeline.getBindGroupLayout(0);
    /** @type {Kernel} */
    const kernel = { pipeline, layout, label: text.slice(0, text.indexOf("\n")), broken: null };
    device.popErrorScope().then(
      (error) => {
        if (!error) return;
        kernel.broken = named("KernelError", explain(error.message, text));
        report(kernel.broken);
      },
      () => {}, // the device is lost, which is told elsewhere
    );
    made.set(text, kernel);
    return kernel;
  }

  return { compile, counts };
}

/**
 * The compiler's message with the source lines it speaks of.
 * @param {string} message
 * @param {string} text
 */
export function explain(message, text) {
  const lines = text.split("\n");
  const at = message.match(/:(\d+):\d+ error/)?.[1];
  if (at === undefined) return `a kernel does not compile: ${message}\n\n${numbered(lines, 1)}`;
  const first = Math.max(1, Number(at) - 2);
  const near = lines.slice(first - 1, Number(at) + 2);
  return `a kernel does not compile: ${message}\n\n${numbered(near, first)}`;
}

/**
 * @param {string[]} lines
 * @param {number} first
 */
function numbered(lines, first) {
  return lines.map((line, i) => `${String(first + i).padStart(4)} | ${line}`).join("\n");
}
