// WebGPU's flag namespaces, which TypeScript's own DOM library leaves out.
type Flags<Names extends string> = { readonly [Name in Names]: number };

declare const GPUBufferUsage: Flags<
  | "COPY_DST"
  | "COPY_SRC"
  | "INDEX"
  | "INDIRECT"
  | "MAP_READ"
  | "MAP_WRITE"
  | "QUERY_RESOLVE"
  | "STORAGE"
  | "UNIFORM"
  | "VERTEX"
>;
declare const GPUMapMode: Flags<"READ" | "WRITE">;
declare const GPUShaderStage: Flags<"COMPUTE" | "FRAGMENT" | "VERTEX">;
declare const GPUTextureUsage: Flags<
  "COPY_DST" | "COPY_SRC" | "RENDER_ATTACHMENT" | "STORAGE_BINDING" | "TEXTURE_BINDING"
>;
