"""Launch rules for the WebGPU kernels: a step of a plan → WGSL texts and their grids.

``lower`` is the door. A ``Fused`` step becomes a generated kernel (webgpu_fused.py); a
``Structured`` step becomes a file of ``kernels_wgsl`` with its constants filled in. Nothing here
needs a device.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from ..dtypes import DType, bfloat16, float16, float32, int64
from ..ir import USES_STATUS, Fused, Launch, Structured
from ..schedule import Caps
from . import variants
from .webgpu_fused import address, combine, fused
from .wgsl import (
    Limits,
    grid,
    prelude,
    repeat,
    replace_section,
    section,
    sized,
    source,
    substitute,
)

# One of the eight storage buffers that every adapter has is kept for the status word.
CAPS = Caps(
    max_operands=8, max_instrs=192, packed=True, split_over=1 << 15, wide=False, max_inner=1 << 16
)
_MOST = 65535  # workgroups along one dimension; the kernels loop over what is beyond
_WIDE = 8  # elements of a row that scatter_rows.wgsl adds faster than atomic operations do
_BLOCK = 1024  # elements that sort.wgsl sorts in workgroup memory
_FIRST = 1024  # elements that sort_first.wgsl can choose


def lower(step: Fused | Structured, limits: Limits = Limits()) -> list[Launch]:  # noqa: B008
    """The kernels to launch for a step, in order."""
    if isinstance(step, Fused):
        return [fused(step, limits)]
    return _STRUCTURED[step.op](step, limits)


def _launch(step: Structured, text: str, x: int, y: int = 1, z: int = 1, flags: int = 0) -> Launch:
    counts = [_tiles(n, 2) if d in (float16, bfloat16) else n
              for n, d in zip(step.sizes, step.dtypes, strict=True)]  # fmt: skip
    size = min(x, _MOST), min(y, _MOST), min(z, _MOST)
    text = f"// {step.op}\n{sized(text, counts)}"  # the first line is its name in profiles
    return Launch(text, step.operands, (), size, flags)


def _tiles(n: int, size: int) -> int:
    return -(-n // size)


# --- matrix products and convolutions -------------------------------------------------------------


def _matmul(step: Structured, limits: Limits) -> list[Launch]:
    if any(d is not float32 for d in step.dtypes):
        raise NotImplementedError("the webgpu device multiplies float32 matrices only")
    sizes, m, n, k, a, b = step.arg
    batch = math.prod(sizes)
    kernel, sizing = variants.choose(step, limits.quads, limits.tuned)
    out = (n, 1)
    if variants.turned(m, n):  # few columns: take the product of the transposes, whose rows are few
        m, n, a, b, out = n, m, (*b[:2], b[3], b[2]), (*a[:2], a[3], a[2]), (1, n)
        at = (1, 0, 2)
        step = step._replace(
            operands=tuple(step.operands[i] for i in at), sizes=tuple(step.sizes[i] for i in at)
        )
    values = {"BATCH": batch, "N": n, "K": k, "A_ROW": a[2], "A_COL": a[3], "B_ROW": b[2],
              "B_COL": b[3], "OUT_ROW": out[0], "OUT_COL": out[1]}  # fmt: skip
    if kernel == "direct":
        text = _batched(source("matmul_direct"), sizes, a, b)
        return [_quads(step, text, {**values, "M": m}, batch, m, n, k, sizing)]
    if kernel == "matvec":
        return [_matvec(step, _batched(source("matvec"), sizes, a, b), values, m, sizing)]
    values |= {"M": m, "A_ALONG_K": a[3] <= a[2], "B_ALONG_K": b[2] < b[3]}
    del values["OUT_ROW"], values["OUT_COL"]
    text = _vectors(_batched(source("matmul"), sizes, a, b), m, n, a, b)
    return [_tiled(step, text, values, sizing)]


def _linear(step: Structured, limits: Limits) -> list[Launch]:
    m, n, k, bits, group = step.arg
    at = (0, 1, len(step.operands) - 1, 2)[: len(step.operands)]  # scales last
    step = step._replace(
        operands=tuple(step.operands[i] for i in at), sizes=tuple(step.sizes[i] for i in at),
        dtypes=tuple(step.dtypes[i] for i in at),
    )  # fmt: skip
    text = source("linear")
    if bits == 16:
        plain = "fn scaled(v: f32, n: u32, k: u32) -> f32 { return v; }\n"
        text = replace_section(text, "scale", plain)
    if bits != 8:
        body = _DECODE[step.dtypes[1].name]
        head = "fn decode(v: vec4<u32>, q: u32) -> vec4<f32> {\n"
        text = prelude(body) + replace_section(text, "decode", f"{head}{body}\n}}\n")
    each, rows = 128 // bits, min(m, 4)
    down = _tiles(m, rows)
    text = repeat(text, {"i": rows, "q": each // 4})
    values = {"M": m, "N": n, "K": k, "GROUP": group, "ROWS": rows, "DOWN": down, "EACH": each}
    return [_launch(step, substitute(text, values), *grid(n * down))]


_DECODE = {
    "int32": """  let left = vec4<u32>(28u, 20u, 12u, 4u) - q / 4u * 4u;
  return vec4<f32>(vec4<i32>(vec4<u32>(v[q % 4u]) << left) >> vec4<u32>(28u));""",
    "float16": """  let a = v[2u * q];
  let b = v[2u * q + 1u];
  return vec4<f32>(half_to_f(a), half_to_f(a >> 16u), half_to_f(b), half_to_f(b >> 16u));""",
    "bfloat16": """  let two = vec2<u32>(v[2u * q], v[2u * q + 1u]);
  let all = vec4<u32>(two << vec2<u32>(16u), two & vec2<u32>(0xffff0000u));
  return bitcast<vec4<f32>>(all.xzyw);""",
}


def _matvec(
    step: Structured, text: str, values: dict[str, int], rows: int, sizing: list[int]
) -> Launch:
    size = dict(zip(("COLS", "NL", "KL"), sizing, strict=True), ROWS=rows)
    text = substitute(repeat(text, {"i": rows, "j": size["COLS"]}), {**values, **size})
    groups = _tiles(values["N"], size["COLS"] * size["NL"])
    return _launch(step, text, groups, values["BATCH"])


def _tiled(step: Structured, text: str, values: dict[str, Any], sizing: list[int]) -> Launch:
    tile, split = sizing
    across, down = _tiles(values["N"], tile), _tiles(values["M"], tile)
    text = repeat(text, {"i": tile // 32, "j": tile // 32, "e": 4})
    sizes = {"TILE": tile, "SPLIT": split, "ACROSS": across, "DOWN": down}
    text = substitute(text, {**values, **sizes})
    return _launch(step, text, *grid(across * down * values["BATCH"]))


def _vectors(text: str, m: int, n: int, a: Any, b: Any) -> str:
    """Four elements per access wherever they lie side by side on their 16 bytes."""
    fit = [not any(x % 4 for x in (*v[0], v[1], step, size)) and unit == 1
           for v, unit, step, size in ((a, a[2], a[3], m), (b, b[3], b[2], n))]  # fmt: skip
    functions = section(text, "fours")
    for on, name, head, at in (
        (fit[0], "a", "load_a4(base: u32, m: u32, k: u32)", "base + m + k * A_COL"),
        (fit[1], "b", "load_b4(base: u32, k: u32, n: u32)", "base + k * B_ROW + n"),
    ):
        if on:
            outside = "m >= M || k >= K" if name == "a" else "n >= N || k >= K"
            body = (f"fn {head} -> vec4<f32> {{\n  if ({outside}) {{ return vec4<f32>(); }}\n"
                    f"  return {name}[({at}) / 4u];\n}}\n")  # fmt: skip
            functions = re.sub(rf"fn load_{name}4.*?\n}}\n", lambda _: body, functions, flags=re.S)  # noqa: B023
            text = re.sub(rf"fn load_{name}\(.*?\n}}\n", "", text, flags=re.S)
            text = text.replace(f" {name}: array<f32>", f" {name}: array<vec4<f32>>")
    if n % 4 == 0:
        body = """fn store4(z: u32, m: u32, n: u32, value: vec4<f32>) {
  if (m < M && n < N) { out[((z * M + m) * N + n) / 4u] = value; }
}
"""
        functions = re.sub(r"fn store4.*?\n}\n", lambda _: body, functions, flags=re.S)
        text = re.sub(r"fn store_out\(.*?\n}\n", "", text, flags=re.S)
        text = text.replace(" out: array<f32>", " out: array<vec4<f32>>")
    return replace_section(text, "fours", functions)


def _batched(text: str, sizes: tuple[int, ...], a: Any, b: Any) -> str:
    """The function that says where the factors of a batch begin."""
    lines = []
    for name, (strides, offset, *_) in (("p", a), ("q", b)):
        lets, at = address("z", sizes, strides, offset)
        lines += [*lets, f"let {name} = {at};"]
    body = "".join(f"  {line}\n" for line in dict.fromkeys(lines))
    head = "fn bases(z: u32) -> vec2<u32> {\n"
    return replace_section(text, "batch", f"{head}{body}  return vec2<u32>(p, q);\n}}\n")


def _quads(
    step: Structured, text: str, values: dict[str, int], batch: int, m: int, n: int, k: int,
    sizing: list[int],
) -> Launch:  # fmt: skip
    """A kernel of quads that makes (m, n) from products of length k."""
    spread, most_rows, most_cols = sizing
    rows = min(_tiles(m, spread), most_rows)
    cols = min(_tiles(n, 4), most_cols)
    deep = next(d for d in (4, 2, 1) if k % d == 0)
    text = repeat(text, {"i": rows, "j": cols, "s": spread, "u": deep})
    down, across = _tiles(m, spread * rows), _tiles(n, 4 * cols)
    sizes = {"ROWS": rows, "COLS": cols, "SPREAD": spread, "DEEP": deep, "ACROSS": across,
             "DOWN": down}  # fmt: skip
    return _launch(step, substitute(text, {**values, **sizes}), *grid(batch * down * across))


_CONV = ("C", "H", "W", "O", "KH", "KW", "OH", "OW", "SH", "SW", "PH", "PW", "DH", "DW")
_WINDOW = ("H", "W", "KH", "KW", "OH", "OW", "SH", "SW", "PH", "PW", "DH", "DW")


def _conv(step: Structured, limits: Limits) -> list[Launch]:
    names = dict(zip(("BATCH", *_CONV, "GROUPS"), step.arg, strict=True))
    single = {"conv2d": names["C"], "conv2d_input": names["O"]}.get(step.op) == names["GROUPS"]
    strides = names["C"] == names["O"] and names["SH"] == names["SW"] == 1
    if single and (step.op == "conv2d" or strides):
        return _conv_depth(step, names)
    kernel, sizing = variants.choose(step, limits.quads, limits.tuned)
    if kernel == "direct":
        rule = _conv_weight_direct if step.op == "conv2d_weight" else _conv_direct
        return rule(step, names, sizing)
    groups = names.pop("GROUPS")
    s = variants.shape(step)
    values = {**names, "BATCH": groups, "M": s.m, "N": s.n, "K": s.k, "CG": names["C"] // groups,
              "OG": names["O"] // groups, "B_ALONG_K": step.op == "conv2d_weight"}  # fmt: skip
    text = section(source(step.op), "operands") + section(source("matmul"), "product")
    return [_tiled(step, text, values, sizing)]


def _conv_direct(step: Structured, names: dict[str, int], sizing: list[int]) -> list[Launch]:
    groups, back = names["GROUPS"], step.op == "conv2d_input"
    cg, og = names["C"] // groups, names["O"] // groups
    taps = names["KH"] * names["KW"]
    image, result = (names["H"], names["W"]), (names["OH"], names["OW"])
    ci, co, x, y = (og, cg, result, image) if back else (cg, og, image, result)
    phases = (names["SH"], names["SW"]) if back else (1, 1)
    grid_h, grid_w = _tiles(y[0], phases[0]), _tiles(y[1], phases[1])
    pixels = names["BATCH"] * grid_h * grid_w
    values = {
        **{k: names[k] for k in _WINDOW if k not in ("H", "W", "OH", "OW")},
        "GROUPS": groups, "PIXELS": pixels, "GH": grid_h, "GW": grid_w,
        "CI": ci, "CO": co, "XH": x[0], "XW": x[1], "YH": y[0], "YW": y[1],
        "W_GROUP": og * cg * taps, "W_CI": cg * taps if back else taps,
        "W_CO": taps if back else cg * taps, "BACKWARD": back, "PHASES_H": phases[0],
        "PHASES_W": phases[1],
    }  # fmt: skip
    for side, stride in zip("HW", phases, strict=True):
        common = math.gcd(stride, names[f"D{side}"])
        step_, dilation = stride // common, names[f"D{side}"] // common
        inverse = pow(dilation, -1, step_) if step_ > 1 else 0
        values |= {f"COMMON_{side}": common, f"STEP_{side}": step_, f"INVERSE_{side}": inverse}
    batch = groups * phases[0] * phases[1]
    return [_quads(step, source("conv2d_direct"), values, batch, co, pixels, ci, sizing)]


def _conv_depth(step: Structured, names: dict[str, int]) -> list[Launch]:
    """Windows of single channels: strips of a row of pixels share what they load."""
    back = step.op == "conv2d_input"
    names = dict(names)
    if back:  # a convolution of g with the window turned round
        for side in "HW":
            edge = names[f"D{side}"] * (names[f"K{side}"] - 1)
            names[f"P{side}"] = (edge - names[f"P{side}"]) % (1 << 32)
            names[side], names[f"O{side}"] = names[f"O{side}"], names[side]
    width, stride, dilation = names["OW"], names["SW"], names.pop("DW")
    wide = min(range(1, min(width, 8) + 1), key=lambda n: (_tiles(width, n) * (n + 4), -n))
    values = {**{k: names[k] for k in _WINDOW if k in names},
              "PLANES": names["BATCH"] * names["O"], "CHANNELS": names["O"],
              "EACH": names["O"] // names["C"], "TURNED": back, "WIDE": wide,
              "STRIPS": _tiles(width, wide)}  # fmt: skip
    taps = {(t, j): t * stride + j * dilation for t in range(wide) for j in range(names["KW"])}
    lines = [f"let x_{at} = load(start, v + {at}u, inside);" for at in sorted({*taps.values()})]
    lines += [f"let w_{j} = weight(at + {j}u);" for j in range(names["KW"])]
    lines += [f"c_{t} += w_{j} * x_{at};" for (t, j), at in taps.items()]
    text = replace_section(source("conv2d_depth"), "taps", "\n".join(lines) + "\n")
    text = substitute(repeat(text, {"i": wide}), values)
    strips = values["PLANES"] * names["OH"] * values["STRIPS"]
    return [_launch(step, text, *grid(_tiles(strips, 64)))]


def _conv_weight_direct(step: Structured, names: dict[str, int], sizing: list[int]) -> list[Launch]:
    groups = names["GROUPS"]
    cg, og = names["C"] // groups, names["O"] // groups
    taps = cg * names["KH"] * names["KW"]
    values = {**{k: names[k] for k in _WINDOW}, "BATCH": names["BATCH"], "GROUPS": groups,
              "CG": cg, "OG": og}  # fmt: skip
    text = source("conv2d_weight_direct")
    return [_quads(step, text, values, groups, og, taps, names["OW"], sizing)]


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
    rows, n, first = step.arg
    if first <= _FIRST and first <= n // 4 and n > (256 if limits.software else _BLOCK):
        return _sort_first(step, rows, n, first, limits)
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


def _sort_first(step: Structured, rows: int, n: int, first: int, limits: Limits) -> list[Launch]:
    most = 4 if limits.software else 256  # workgroups that are of use at once
    spans = max(1, min(most // rows, math.isqrt(n // (4 * first)), n // _BLOCK))
    values = {"ROWS": rows, "N": n, "K": first, "SPAN": _tiles(n, spans), "ROOM": max(first, 256),
              "SIZE": 32 if limits.software else 256}  # fmt: skip
    text = substitute(source("sort_first"), values)
    launches = [_launch(step, text, rows * spans)]
    if spans > 1:
        launches.append(_launch(step, substitute(text, {"MERGE": True}), rows))
    return launches


def _scatter(step: Structured, limits: Limits) -> list[Launch]:
    n, m, mode, width = step.arg
    if limits.software and width >= _WIDE and mode != "set":
        text, flags = _combining(source("scatter_rows"), _FOLD.get(mode, mode), step.dtypes[0])
        strips = _tiles(width, 4)
        ranges = _tiles(16, strips)
        values = {"M": m, "WIDTH": width, "RANGES": ranges, "SIZE": _tiles(n // width, ranges)}
        return [_launch(step, substitute(text, values), _tiles(strips * ranges, 4), flags=flags)]
    if mode == "set":
        text, flags = source("scatter_set"), 0
    else:
        text, flags = _combining(source("scatter"), _FOLD.get(mode, mode), step.dtypes[0])
    text = substitute(text, {"N": m * width, "WIDTH": width})
    return [_launch(step, text, _tiles(m * width, 64), flags=flags)]


_FOLD = {"add": "sum"}


def _copy(step: Structured, limits: Limits) -> list[Launch]:
    halves = step.dtypes[0] in (float16, bfloat16)
    words = _tiles(step.sizes[0], 2) if halves else step.sizes[0]
    return [_launch(step, substitute(source("copy"), {"N": words}), _tiles(words, 64))]


_STRUCTURED: dict[str, Callable[[Structured, Limits], list[Launch]]] = {
    "matmul": _matmul, "linear": _linear, "conv2d": _conv, "conv2d_input": _conv,
    "conv2d_weight": _conv, "scan": _scan, "sort": _sort, "scatter": _scatter, "copy": _copy,
}  # fmt: skip
