// Whether subgroups multiply matrices of floats: a feature that is still a proposal
// (https://github.com/gpuweb/gpuweb/blob/main/proposals/subgroup-matrix.md), so its words are tried.

export const MATRICES = "chromium-experimental-subgroup-matrix";

const PROBE = `enable subgroups;
enable chromium_experimental_subgroup_matrix;
var<workgroup> tile: array<f32, 64>;
@compute @workgroup_size(128)
fn main(@builtin(subgroup_id) number: u32) {
  let a = subgroupMatrixLoad<subgroup_matrix_left<f32, 8, 8>, col_major>(&tile, 0u, 8u);
  let b = subgroupMatrixLoad<subgroup_matrix_right<f32, 8, 8>, row_major>(&tile, 0u, 8u);
  var c: subgroup_matrix_result<f32, 8, 8>;
  c = subgroupMatrixMultiplyAccumulate(a, b, c);
  workgroupBarrier();
  subgroupMatrixStore<row_major>(&tile, 0u, c, 8u);
}`;

/**
 * How many invocations a subgroup has that multiplies 8 × 8 matrices of floats; 0 if none does.
 *
 * @param {GPUAdapter} adapter
 * @param {GPUDevice} device
 */
export async function lanesOfMatrices(adapter, device) {
  const { subgroupMinSize, subgroupMaxSize, subgroupMatrixConfigs } = /** @type {any} */ (
    adapter.info
  );
  const offered = [...(subgroupMatrixConfigs ?? [])].some(ofFloats);
  const fits = subgroupMinSize === subgroupMaxSize && subgroupMaxSize <= 64;
  if (!fits || !offered || !device.features.has(MATRICES)) return 0;
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code: PROBE });
  device.createComputePipeline({ layout: "auto", compute: { module } });
  return (await device.popErrorScope()) ? 0 : subgroupMaxSize;
}

/** @param {any} config */
function ofFloats({ M, N, K, componentType, resultComponentType }) {
  return M === 8 && N === 8 && K === 8 && componentType === "f32" && resultComponentType === "f32";
}
