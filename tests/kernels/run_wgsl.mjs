// Runs WGSL kernels in node on npm `webgpu` (Dawn): node run_wgsl.mjs FOLDER
// FOLDER/job.json: {texts, cases: [{buffers: [bytes…], launches: [{text, slots, grid, flags}],
// scalars: bytes, repeat}], matrices?, memory?}, FOLDER/in.bin: per case its buffers, then its scalars, end to end.
// Writes out.bin (per case its buffers, then four status words) and result.json.
import fs from "node:fs";
import path from "node:path";
import { create, globals } from "webgpu";

Object.assign(globalThis, globals);
const MATRICES = "chromium-experimental-subgroup-matrix";
// Alive to the end: Dawn breaks when it is collected. Proposals count as unsafe.
const gpu = create(["enable-dawn-features=allow_unsafe_apis"]);
const USES_SCALARS = 1;
const USES_STATUS = 2;
const SENTINEL = 64; // bytes behind every buffer that nothing may touch

async function main(folder) {
  const job = JSON.parse(fs.readFileSync(path.join(folder, "job.json"), "utf8"));
  const input = fs.readFileSync(path.join(folder, "in.bin"));
  const adapter = await gpu.requestAdapter();
  const wanted = ["subgroups", "shader-f16", ...(job.matrices ? [MATRICES] : [])];
  const features = wanted.filter((name) => adapter.features.has(name));
  const device = await adapter.requestDevice({
    requiredFeatures: features,
    requiredLimits: {
      maxStorageBufferBindingSize: adapter.limits.maxStorageBufferBindingSize,
      maxBufferSize: adapter.limits.maxBufferSize,
      ...(job.memory && { maxComputeWorkgroupStorageSize: job.memory }),
    },
  });
  const errors = await Promise.all(job.texts.map((text) => complaints(device, text)));
  const modules = job.texts.map((code) => device.createShaderModule({ code }));
  const result = { errors, cases: [] };
  const output = [];
  let at = 0;
  for (const one of job.cases) {
    const sizes = [...one.buffers, one.scalars];
    const chunks = sizes.map((n) => input.subarray(at, (at += n)));
    device.pushErrorScope("validation");
    const { data, ms } = await run(device, modules, one, chunks);
    const error = await device.popErrorScope();
    result.cases.push({ ms, error: error ? error.message : "" });
    output.push(...data);
  }
  fs.writeFileSync(path.join(folder, "out.bin"), Buffer.concat(output));
  fs.writeFileSync(path.join(folder, "result.json"), JSON.stringify(result));
  device.destroy();
}

async function complaints(device, code) {
  device.pushErrorScope("validation");
  const info = await device.createShaderModule({ code }).getCompilationInfo();
  await device.popErrorScope();
  return info.messages
    .filter((m) => m.type === "error")
    .map((m) => `${m.lineNum}:${m.linePos} ${m.message}`);
}

async function run(device, modules, one, chunks) {
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const buffers = one.buffers.map((n, k) => {
    const buffer = device.createBuffer({ size: n + SENTINEL, usage });
    device.queue.writeBuffer(buffer, 0, chunks[k]);
    device.queue.writeBuffer(buffer, n, new Uint8Array(SENTINEL).fill(0xa5));
    return buffer;
  });
  const status = device.createBuffer({ size: 16, usage });
  const uniform = device.createBuffer({
    size: Math.max(16, one.scalars),
    usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
  });
  device.queue.writeBuffer(uniform, 0, chunks.at(-1));
  const calls = one.launches.map((launch) => {
    const pipeline = device.createComputePipeline({
      layout: "auto",
      compute: { module: modules[launch.text] },
    });
    const bound = launch.slots.map((k) => ({ buffer: buffers[k], size: one.buffers[k] }));
    if (launch.flags & USES_SCALARS) bound.push({ buffer: uniform });
    if (launch.flags & USES_STATUS) bound.push({ buffer: status });
    const layout = pipeline.getBindGroupLayout(0);
    const entries = bound.map((resource, binding) => ({ binding, resource }));
    return { pipeline, group: device.createBindGroup({ layout, entries }), grid: launch.grid };
  });
  const submit = () => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const call of calls) {
      pass.setPipeline(call.pipeline);
      pass.setBindGroup(0, call.group);
      pass.dispatchWorkgroups(...call.grid);
    }
    pass.end();
    device.queue.submit([encoder.finish()]);
  };
  submit();
  await device.queue.onSubmittedWorkDone();
  let ms = Infinity;
  const data = [];
  for (const buffer of [...buffers, status]) data.push(await read(device, buffer));
  for (let k = 0; k < one.repeat; k++) {
    const start = performance.now();
    submit();
    await device.queue.onSubmittedWorkDone();
    ms = Math.min(ms, performance.now() - start);
  }
  for (const buffer of [...buffers, status, uniform]) buffer.destroy();
  return { data, ms };
}

async function read(device, buffer) {
  const staging = device.createBuffer({
    size: buffer.size,
    usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
  });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, 0, staging, 0, buffer.size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const data = Buffer.from(staging.getMappedRange().slice(0));
  staging.destroy();
  return data;
}

await main(process.argv[2]);
process.exit(0); // Dawn keeps its thread alive
