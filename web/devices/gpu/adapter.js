// Finds the GPU and asks it for all that kernels can use.

import { named } from "../../format.js";
import { recall } from "./kept.js";
import { MATRICES, lanesOfMatrices } from "./matrices.js";

const NAMES = ["shader-f16", "subgroups", "timestamp-query", MATRICES];
const FEATURES = /** @type {GPUFeatureName[]} */ (NAMES);
const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxComputeWorkgroupsPerDimension",
];
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|softpipe|basic render|\bcpu\b/i;

/** @param {{ powerPreference?: GPUPowerPreference }} options */
export async function requestDevice(options) {
  const gpu = globalThis.navigator?.gpu;
  if (!gpu) throw named("NoWebGPU", "there is no WebGPU here: navigator.gpu is missing");
  const preference = options.powerPreference ?? "high-performance";
  const adapter = await gpu.requestAdapter({ powerPreference: preference });
  if (!adapter) throw named("NoWebGPU", "WebGPU finds no adapter on this machine");
  const requiredFeatures = FEATURES.filter((name) => adapter.features.has(name));
  const device = await adapter.requestDevice({ requiredFeatures, requiredLimits: wanted(adapter) });
  const info = describe(adapter, device);
  const matrices = await lanesOfMatrices(adapter, device);
  return { device, info: { ...info, matrices, kept: await recall(info.identity) } };
}

/** @param {GPUAdapter} adapter */
function wanted(adapter) {
  const offered = /** @type {Record<string, number>} */ (/** @type {unknown} */ (adapter.limits));
  const limits = Object.fromEntries(LIMITS.map((name) => [name, offered[name]]));
  limits.maxStorageBuffersPerShaderStage = Math.min(offered.maxStorageBuffersPerShaderStage, 16);
  return limits;
}

/**
 * @param {GPUAdapter} adapter
 * @param {GPUDevice} device
 */
function describe(adapter, device) {
  const { vendor = "", architecture = "", description = "", device: model = "" } = adapter.info;
  const names = [vendor, architecture, model, description].join(" ");
  const fallback = /** @type {any} */ (adapter).isFallbackAdapter || adapter.info.isFallbackAdapter;
  const granted = /** @type {Record<string, number>} */ (/** @type {unknown} */ (device.limits));
  const limits = [...LIMITS, "maxStorageBuffersPerShaderStage"];
  const software = Boolean(fallback) || SOFTWARE.test(names);
  const features = FEATURES.filter((name) => device.features.has(name));
  const { subgroupMinSize, subgroupMaxSize } = /** @type {any} */ (adapter.info);
  const fours = subgroupMinSize === 4 && subgroupMaxSize === 4;
  return {
    kind: "webgpu",
    vendor,
    architecture,
    description: description || model,
    software,
    quads: software && fours && device.features.has("subgroups"),
    subgroups: !software && device.features.has("subgroups"),
    features,
    limits: Object.fromEntries(limits.map((name) => [name, granted[name]])),
    identity: JSON.stringify([names, features, limits.map((name) => granted[name])]),
  };
}
