"""Compiles the kernels: build/simd.wasm, relaxed.wasm (fused multiply-add), and each for threads.

    python wasm_kernels/build.py

Needs the pip package ``ziglang``. The modules import nothing but their memory (``env.memory``),
which the host makes with any maximum up to 65535 pages (shared for the builds with threads), and
export the kernels, ``run`` (run.c), ``__heap_base`` (where free memory begins), ``status`` (address
of the status word) and ``running``. Those with threads export what a worker needs for a life of its
own: its stack pointer, its thread-local memory, ``work``.
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE / "build"
# disable-lsr: loads then keep their constant offsets in the instruction, which saves an add each.
FLAGS = """
    -target wasm32-wasi -mexec-model=reactor -std=gnu17 -O3
    -Wall -Wno-unused-parameter -Wno-pass-failed
    -mllvm -disable-lsr -fno-math-errno -fwrapv -ffp-contract=off -fno-strict-aliasing
    -Wl,--no-entry -Wl,--import-memory -Wl,--export=__heap_base -Wl,--export=status
    -Wl,--export=running -Wl,--export-table -Wl,--growable-table -Wl,-z,stack-size=262144 -s
""".split()
CPU = "generic+simd128+bulk_memory+nontrapping_fptoint+sign_ext+mutable_globals"
THREADS = """
    -Wl,--shared-memory -Wl,--max-memory=4294901760 -Wl,--export=__stack_pointer
    -Wl,--export=__tls_size -Wl,--export=__wasm_init_tls -Wl,--export=failed
""".split()
BUILDS = {
    "simd.wasm": [f"-mcpu={CPU}"],
    "relaxed.wasm": [f"-mcpu={CPU}+relaxed_simd"],
    "simd-threads.wasm": [f"-mcpu={CPU}+atomics", *THREADS],
    "relaxed-threads.wasm": [f"-mcpu={CPU}+relaxed_simd+atomics", *THREADS],
}


def compile_to(name: str, *flags: str) -> Path:
    BUILD.mkdir(exist_ok=True)
    out = BUILD / name
    sources = [str(p) for p in sorted(HERE.glob("*.c"))]
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, *flags, *sources, "-o", str(out)]
    subprocess.run(command, check=True)
    return out


def main() -> None:
    with ThreadPoolExecutor() as pool:
        made = list(pool.map(lambda item: compile_to(item[0], *item[1]), BUILDS.items()))
    for out in made:
        print(f"{out.relative_to(HERE.parent)}: {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
