"""Launch rules for the WebGPU kernels: a step of a plan → WGSL texts and their grids.

``lower`` is the door. A ``Fused`` step becomes a generated kernel (webgpu_fused.py); a
``Structured`` step becomes a file of ``kernels_wgsl`` with its constants filled in. Nothing here
needs a device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..dtypes import DType, bfloat16, float16, float32, int64
from ..ir import USES_STATUS, Fused, Launch, Structured
from ..schedule import Caps
from .webgpu_fused import address, combine, fused
from .wgsl import Limits, prelude, replace_section, section, source, substitute

# One of the eight storage buffers that every adapter has is kept for the status word.
CAPS = Caps(
    max_operands=8, max_instrs=192, packed=True, split_over=1 << 15, wide=False, max_inner=1 << 16
)
_MOST = 65535  # workgroups along one dimension; the kernels loop over what is beyond
_BLOCK = 1024  # elements that sort.wgsl sorts in workgroup memory


def lower(step: Fused | Structured, limits: Limits = Limits()) -> list[Launch]:  # noqa: B008
    """The kernels to launch for a step, in order."""
    if isinstance(step, Fused):
        return [fused(step, limits)]
    return _STRUCTURED[step.op](step, limits)


def _launch(step: Structured, text: str, x: int, y: int = 1, z: int = 1, flags: int = 0) -> Launch:
    grid = min(x, _MOST), min(y, _MOST), min(z, _MOST)
    return Launch(text, step.operands, (), grid, flags)


def _tiles(n: int, size: int) -> int:
    return -(-n // size)


# --- matrix products and convolutions -------------------------------------------------------------


def _matmul(step: Structured, limits: Limits) -> list[Launch]:
    if any(d is not float32 for d in step.dtypes):
        raise NotImplementedError("the webgpu device multiplies float32 matrices only")
    sizes, m, n, k, a, b = step.arg
    batch = math.prod(sizes)
    if not limits.software:
        values = {"BATCH": batch, "M": m, "N": n, "K": k, "A_ROW": a[2], "A_COL": a[3],
                  "B_ROW": b[2], "B_COL": b[3], "A_ALONG_K": a[3] <= a[2],
                  "B_ALONG_K": b[2] < b[3]}  # fmt: skip
        text = _batched(source("matmul"), sizes, a, b)
        return [_launch(step, substitute(text, values), _tiles(n, 64), _tiles(m, 64), batch)]
    slots, out = step.operands, (n, 1)
    if n < 16 < m:  # the lanes run along the columns: take the product of the transposes
        m, n, a, b, out = n, m, (*b[:2], b[3], b[2]), (*a[:2], a[3], a[2]), (1, n)
        slots = (slots[1], slots[0], slots[2])
    values = {"BATCH": batch, "M": m, "N": n, "K": k, "A_ROW": a[2], "A_COL": a[3],
              "B_ROW": b[2], "B_COL": b[3], "OUT_ROW": out[0], "OUT_COL": out[1]}  # fmt: skip
    text = substitute(_batched(source("matmul_direct"), sizes, a, b), values)
    launch = _launch(step, text, _tiles(n, 64), _tiles(m, 8), batch)
    return [launch._replace(slots=slots)]


def _batched(text: str, sizes: tuple[int, ...], a: Any, b: Any) -> str:
    """The function that says where the factors of a batch begin."""
    lines = []
    for name, (strides, offset, *_) in (("p", a), ("q", b)):
        lets, at = address("z", sizes, strides, offset)
        lines += [*lets, f"let {name} = {at};"]
    body = "".join(f"  {line}\n" for line in dict.fromkeys(lines))
    head = "fn bases(z: u32) -> vec2<u32> {\n"
    return replace_section(text, "batch", f"{head}{body}  return vec2<u32>(p, q);\n}}\n")


_CONV = ("C", "H", "W", "O", "KH", "KW", "OH", "OW", "SH", "SW", "PH", "PW", "DH", "DW")
_WINDOW = ("H", "W", "KH", "KW", "OH", "OW", "SH", "SW", "PH", "PW", "DH", "DW")


def _conv(step: Structured, limits: Limits) -> list[Launch]:
    names = dict(zip(("BATCH", *_CONV, "GROUPS"), step.arg, strict=True))
    if limits.software:
        rule = _conv_weight_direct if step.op == "conv2d_weight" else _conv_direct
        return rule(step, names)
    groups = names.pop("GROUPS")
    batch = names.pop("BATCH")
    cg, og = names["C"] // groups, names["O"] // groups
    taps = names["KH"] * names["KW"]
    pixels, window = batch * names["OH"] * names["OW"], batch * names["H"] * names["W"]
    m, n, k = {
        "conv2d": (og, pixels, cg * taps),
        "conv2d_input": (cg, window, og * taps),
        "conv2d_weight": (og, cg * taps, pixels),
    }[step.op]
    values = {**names, "BATCH": groups, "M": m, "N": n, "K": k, "CG": cg, "OG": og,
              "B_ALONG_K": step.op == "conv2d_weight"}  # fmt: skip
    text = section(source(step.op), "operands") + section(source("matmul"), "product")
    return [_launch(step, substitute(text, values), _tiles(n, 64), _tiles(m, 64), groups)]


def _conv_direct(step: Structured, names: dict[str, int]) -> list[Launch]:
    groups, back = names["GROUPS"], step.op == "conv2d_input"
    cg, og = names["C"] // groups, names["O"] // groups
    taps = names["KH"] * names["KW"]
    image, result = names["H"] * names["W"], names["OH"] * names["OW"]
    ci, co, x_plane, y_plane = (og, cg, result, image) if back else (cg, og, image, result)
    pixels = names["BATCH"] * y_plane
    values = {
        **{k: names[k] for k in _WINDOW}, "GROUPS": groups, "PIXELS": pixels, "CI": ci, "CO": co,
        "X_PLANE": x_plane, "Y_PLANE": y_plane, "W_GROUP": og * cg * taps,
        "W_CI": cg * taps if back else taps, "W_CO": taps if back else cg * taps,
        "BACKWARD": back,
    }  # fmt: skip
    text = substitute(source("conv2d_direct"), values)
    return [_launch(step, text, _tiles(pixels, 64), _tiles(co, 8), groups)]


def _conv_weight_direct(step: Structured, names: dict[str, int]) -> list[Launch]:
    groups = names["GROUPS"]
    cg, og = names["C"] // groups, names["O"] // groups
    taps = cg * names["KH"] * names["KW"]
    values = {**{k: names[k] for k in _WINDOW}, "BATCH": names["BATCH"], "GROUPS": groups,
              "CG": cg, "OG": og}  # fmt: skip
    text = substitute(source("conv2d_weight_direct"), values)
    return [_launch(step, text, _tiles(taps, 64), _tiles(og, 8), groups)]


# --- scan, sort, scatter, copy --------------------------------------------------------------------


def _combining(text: str, kind: str, dtype: DType) -> tuple[str, int]:
    """A kernel with its operation, and the functions and the status word that this needs."""
    type_ = "f" if dtype is float32 else "l" if dtype is int64 else "i"
    name = {"f": "f32"}.get(type_, "i32")
    body = f"fn combine(a: T, b: T) -> T {{ return {combine(kind, type_, 'a', 'b')}; }}\n"
    text = replace_section(text, "combine", f"alias T = {name};\n{body}")
    functions = prelude(body)
    if "&status" not in functions:
        return functions + text, 0
    at = text.count("@binding")
    binding = f"@group(0) @binding({at}) var<storage, read_write> status: array<atomic<u32>, 4>;\n"
    return binding + functions + text, USES_STATUS


def _scan(step: Structured, limits: Limits) -> list[Launch]:
    rows, n, kind = step.arg
    serial = limits.software or n < 64
    text, flags = _combining(source("scan_rows" if serial else "scan"), kind, step.dtypes[0])
    text = substitute(text, {"ROWS": rows, "N": n})
    return [_launch(step, text, _tiles(rows, 16) if serial else rows, flags=flags)]


def _sort(step: Structured, limits: Limits) -> list[Launch]:
    rows, n = step.arg
    if n <= (2048 if limits.software else 64):
        text = substitute(source("sort_rank"), {"ROWS": rows, "N": n})
        return [_launch(step, text, _tiles(rows * n, 64))]
    whole = 1 << max(n - 1, 1).bit_length()  # the next power of two
    block = min(whole, _BLOCK)
    values = {"ROWS": rows, "N": n, "BLOCK": block}
    blocks = rows * _tiles(n, block)
    first = substitute(source("sort"), values)
    merge = substitute(source("sort"), {**values, "FIRST": False})
    launches = [_launch(step, first, blocks)]
    half = block
    while half < whole:
        for reach in [half >> k for k in range((half // block).bit_length())]:
            far = {"ROWS": rows, "N": n, "PAIRS": whole // 2, "HALF": reach, "FLIP": reach == half}
            text = substitute(source("sort_step"), far)
            launches.append(_launch(step, text, _tiles(rows * whole // 2, 64)))
        launches.append(_launch(step, merge, blocks))
        half *= 2
    return launches


def _scatter(step: Structured, limits: Limits) -> list[Launch]:
    _, m, mode = step.arg
    if mode == "set":
        text, flags = source("scatter_set"), 0
    else:
        text, flags = _combining(source("scatter"), _FOLD.get(mode, mode), step.dtypes[0])
    return [_launch(step, substitute(text, {"M": m}), _tiles(m, 64), flags=flags)]


_FOLD = {"add": "sum"}


def _copy(step: Structured, limits: Limits) -> list[Launch]:
    halves = step.dtypes[0] in (float16, bfloat16)
    words = _tiles(step.sizes[0], 2) if halves else step.sizes[0]
    return [_launch(step, substitute(source("copy"), {"N": words}), _tiles(words, 64))]


_STRUCTURED: dict[str, Callable[[Structured, Limits], list[Launch]]] = {
    "matmul": _matmul, "conv2d": _conv, "conv2d_input": _conv, "conv2d_weight": _conv,
    "scan": _scan, "sort": _sort, "scatter": _scatter, "copy": _copy,
}  # fmt: skip
