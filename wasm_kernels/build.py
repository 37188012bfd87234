"""Compiles the kernels to build/simd.wasm and build/relaxed.wasm (fused multiply-add).

    python wasm_kernels/build.py

Needs the pip package ``ziglang``. The modules import nothing but their memory (``env.memory``),
which the host makes with a maximum of at most 65535 pages, and export the kernels, ``run`` and its
companions, their table, ``__heap_base`` (where free memory begins), ``status`` (address of the
status word), and what a thread needs for itself: the stack pointer and its ``_Thread_local`` block.

The memory is declared as shared. One byte of the import says so; a host that is not allowed to
share memory clears it (web/devices/cpu/module.js), for the rest of the module is the same.
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE / "build"
DATA, PASSIVE = 11, 1  # a section, a kind of segment
# disable-lsr: loads then keep their constant offsets in the instruction, which saves an add each.
FLAGS = """
    -target wasm32-wasi -mexec-model=reactor -std=gnu17 -O3
    -Wall -Werror -Wno-unused-parameter -Wno-pass-failed
    -msimd128 -matomics -mbulk-memory -mnontrapping-fptoint -msign-ext
    -mllvm -disable-lsr -fno-math-errno -fwrapv -ffp-contract=off -fno-strict-aliasing
    -Wl,--no-entry -Wl,--import-memory -Wl,--shared-memory -Wl,--max-memory=4294901760
    -Wl,--export-table -Wl,--growable-table -Wl,--export=__heap_base -Wl,--export=status
    -Wl,--export=__stack_pointer -Wl,--export=__wasm_init_tls -Wl,--export=__tls_size
    -Wl,-z,stack-size=262144 -s
""".split()


def compile_to(name: str, *flags: str) -> Path:
    BUILD.mkdir(exist_ok=True)
    out = BUILD / name
    sources = [str(p) for p in sorted(HERE.glob("*.c"))]
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, *flags, *sources, "-o", str(out)]
    subprocess.run(command, check=True)
    out.write_bytes(without_zeros(out.read_bytes()))
    return out


def without_zeros(module: bytes) -> bytes:
    """The module without the zeros that the linker writes for the scratch memory of a thread, which
    may be megabytes: whoever makes room for a thread clears it."""
    at = 8
    while module[at] != DATA:
        start, size = number(module, at + 1)
        at = start + size
    head, (start, size) = module[:at], number(module, at + 1)
    data, tail = module[start : start + size], module[start + size :]
    count = number(data, 0)[0]
    first, size = number(data, count + 1)  # the first segment is that of a thread
    kept = data[first : first + size].rstrip(b"\0")
    digits = first - count - 1
    copies = [b"\x41\0\x41%b\xfc\x08\0\0" % leb(n, digits) for n in (size, len(kept))]
    if data[count] != PASSIVE or head.count(copies[0]) != 2:
        raise SystemExit("the linker lays thread-local memory out in a new way")
    data = data[: count + 1] + leb(len(kept), 1) + kept + data[first + size :]
    return head.replace(*copies) + bytes([DATA]) + leb(len(data), 1) + data + tail


def number(code: bytes, at: int) -> tuple[int, int]:
    """Where a number in LEB128 ends, and the number."""
    value = shift = 0
    while True:
        value |= (code[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if code[at - 1] < 128:
            return at, value


def leb(value: int, digits: int) -> bytes:
    """A number in LEB128 of at least so many digits."""
    out = []
    while value > 127 or len(out) + 1 < digits:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def main() -> None:
    builds = {"simd.wasm": (), "relaxed.wasm": ("-mrelaxed-simd",)}
    with ThreadPoolExecutor() as pool:
        made = list(pool.map(lambda name: compile_to(name, *builds[name]), builds))
    for old in {*BUILD.glob("*.wasm")} - {*made}:
        old.unlink()  # of another version of this file: the wheel takes all that lies there
    for out in made:
        print(f"{out.relative_to(HERE.parent)}: {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
