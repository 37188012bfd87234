"""The executors: numpy (the definition), webgpu and wasm."""
