"""Compiles the kernels to build/simd.wasm and build/relaxed.wasm (fused multiply-add).

    python wasm_kernels/build.py

Needs the pip package ``ziglang``. The modules import nothing but their memory (``env.memory``),
which the host makes with any maximum up to 65536 pages, and export the kernels,
``__heap_base`` (where free memory begins) and ``status`` (address of the status word).
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE / "build"
# disable-lsr: loads then keep their constant offsets in the instruction, which saves an add each.
FLAGS = """
    -target wasm32-wasi -mexec-model=reactor -std=gnu17 -O3 -Wall -Wno-unused-parameter -Wno-pass-failed
    -msimd128 -mbulk-memory -mnontrapping-fptoint -msign-ext
    -mllvm -disable-lsr -fno-math-errno -fwrapv -ffp-contract=off -fno-strict-aliasing
    -Wl,--no-entry -Wl,--import-memory -Wl,--export=__heap_base -Wl,--export=status
    -Wl,-z,stack-size=262144 -s
""".split()


def compile_to(name: str, *flags: str) -> Path:
    BUILD.mkdir(exist_ok=True)
    out = BUILD / name
    sources = [str(p) for p in sorted(HERE.glob("*.c"))]
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, *flags, *sources, "-o", str(out)]
    subprocess.run(command, check=True)
    return out


def main() -> None:
    for out in (compile_to("simd.wasm"), compile_to("relaxed.wasm", "-mrelaxed-simd")):
        print(f"{out.relative_to(HERE.parent)}: {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
