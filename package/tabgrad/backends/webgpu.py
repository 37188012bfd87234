"""Launch rules for the WebGPU kernels: a step of a plan → WGSL texts and their grids.

``lower`` is the door. A ``Fused`` step becomes a generated kernel (webgpu_fused.py); a
``Structured`` step becomes a file of ``kernels_wgsl`` with its constants filled in. Nothing here
needs a device.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Sequence
from typing import Any

from ..dtypes import DType, bfloat16, bool_, float16, float32, int64
from ..ir import USES_STATUS, Epilogue, Fused, Joined, Launch, Structured
from ..schedule.values import FACTORS, Caps
from . import variants
from .webgpu_fused import address, combine, fused, joined, number
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
    max_operands=8, max_instrs=192, packed=True, split_over=1 << 15, wide=False, max_inner=1 << 16,
    epilogues=True,
    joined=1 << 16,  # larger ones keep the GPU busy for longer than a launch takes
    attention=variants.FEW + 1,  # products of few rows have more workgroups
    scores=1 << 24,  # 64 MB: the kernels make ten products, the composition six
)  # fmt: skip
_MOST = 65535  # workgroups along one dimension; the kernels loop over what is beyond
_FEW_PACKED = 16  # rows up to which a workgroup per row of a packed weight does better than tiles
_WIDE = 8  # elements of a row that scatter_rows.wgsl adds faster than atomic operations do
_BLOCK = 1024  # elements that sort.wgsl sorts in workgroup memory
_FIRST = 1024  # elements that sort_first.wgsl can choose


def caps(limits: Limits) -> Caps:
    """What an adapter can do; without quads, one in software gains nothing by keeping scores."""
    attention = 0 if limits.software > limits.quads else CAPS.attention
    return CAPS._replace(
        max_operands=limits.max_storage_buffers, attention=attention, halves=limits.halves
    )


def lower(step: Fused | Joined | Structured, limits: Limits = Limits()) -> list[Launch]:  # noqa: B008
    """The kernels to launch for a step, in order."""
    if isinstance(step, Fused):
        return [fused(step, limits)]
    if isinstance(step, Joined):
        return joined(step, limits)
    return _STRUCTURED[step.op](step, limits)


def _launch(step: Structured, text: str, x: int, y: int = 1, z: int = 1, flags: int = 0) -> Launch:
    factors = FACTORS.get(step.op, 0) if step.dtypes[0] is float16 else 0
    counts = [_tiles(n, 2) if d in (float16, bfloat16) and k >= factors else n
              for k, (n, d) in enumerate(zip(step.sizes, step.dtypes, strict=True))]  # fmt: skip
    if factors:
        text = "enable f16;\n" + text.replace("alias Factor = f32", "alias Factor = f16")
    size = min(x, _MOST), min(y, _MOST), min(z, _MOST)
    text = f"// {step.op}\n{sized(text, counts)}"  # the first line is its name in profiles
    return Launch(text, step.operands, (), size, flags)


def _tiles(n: int, size: int) -> int:
    return -(-n // size)


def _ordered(step: Structured, at: Sequence[int]) -> Structured:
    """The step with its operands in the order of the kernel's bindings."""
    operands, dtypes, sizes = zip(
        *[(step.operands[i], step.dtypes[i], step.sizes[i]) for i in at], strict=True
    )
    return step._replace(operands=operands, dtypes=dtypes, sizes=sizes)


# --- matrix products and convolutions -------------------------------------------------------------


def _matmul(step: Structured, limits: Limits) -> list[Launch]:
    if not {*step.dtypes} <= {float16, float32}:
        raise NotImplementedError("the webgpu device multiplies matrices of floats only")
    sizes, m, n, k, a, b = step.arg
    batch = math.prod(sizes)
    kernel, sizing = variants.choose(step, limits)
    out, turned = (n, 1), variants.turned(m, n)
    if turned:  # few columns: take the product of the transposes, whose rows are few
        m, n, a, b, out = n, m, (*b[:2], b[3], b[2]), (*a[:2], a[3], a[2]), (1, n)
        step = _ordered(step, (1, 0, *range(2, len(step.operands))))
    name = {"direct": "matmul_direct", "matvec": "matvec"}.get(kernel, "matmul")
    fours = name == "matmul" and n % 4 == 0
    step, text = _ended(step, source(name), m if turned else 0, 4 if fours else 1)
    text = _batched(text, sizes, a, b)
    values = {"BATCH": batch, "N": n, "K": k, "A_ROW": a[2], "A_COL": a[3], "B_ROW": b[2],
              "B_COL": b[3], "OUT_ROW": out[0], "OUT_COL": out[1]}  # fmt: skip
    if kernel == "direct":
        return [_quads(step, text, {**values, "M": m}, batch, m, n, k, sizing)]
    if kernel == "matvec":
        return [_matvec(step, text, values, m, sizing, limits)]
    values |= {"M": m, "A_ALONG_K": a[3] <= a[2], "B_ALONG_K": b[2] < b[3]}
    del values["OUT_ROW"], values["OUT_COL"]
    return [_tiled(step, _vectors(text, m, n, a, b), values, kernel, sizing, limits)]


def _ended(step: Structured, text: str, columns: int = 0, lanes: int = 1) -> tuple[Structured, str]:
    """A product whose kernel does the step's epilogue, on ``lanes`` elements at once.

    columns: those of what is stored, if the kernel makes the transpose of that; else 0."""
    end = step.epilogue or Epilogue()
    type_, word = ("f32", "u32") if lanes == 1 else ("vec4<f32>", "vec4<u32>")
    n = f"at % {columns}u" if columns else "n"
    lines, x, y = [], "value", "x"
    for name, sign, at in ("factor", "*", n), ("bias", "+", n), ("residual", "+", "at"):
        k = getattr(end, name)
        if k is not None:
            x += f" {sign} {name}[{at}]"
            lines.append(f"@group(0) @binding({k + 1}) var<storage, read> {name}: array<{type_}>;")
    if end.low > -math.inf:
        y = f"max({y}, {type_}({number(end.low, 'f')}))"
    if end.high < math.inf:
        y = f"min({y}, {type_}({number(end.high, 'f')}))"
    if y != "x":
        y = f"select({y}, x, (bitcast<{word}>(x) & {word}(~0u >> 1u)) > {word}(0x7f800000u))"
    lines += [
        f"fn finish(value: {type_}, n: u32, at: u32) -> {type_} {{",
        f"  let x = {x};\n  return {y};\n}}\n",
    ]
    *inputs, out = range(len(step.operands))
    step = _ordered(step, (*inputs[:2], out, *inputs[2:]))
    return step, replace_section(text, "finish", "\n".join(lines))


def _linear(step: Structured, limits: Limits) -> list[Launch]:
    m, n, k, bits, group = step.arg
    step = _ordered(step, (0, 1, -1, 2)[: len(step.operands)])  # scales last
    values = {"M": m, "N": n, "K": k, "GROUP": group, "EACH": 128 // bits}
    if m > _FEW_PACKED and not limits.quads:
        text = _with_product(_decoding("linear_tiled", step))
        return [_tiled(step, text, {**values, "BATCH": 1}, *variants.choose(step, limits), limits)]
    rows = min(m, 8 if limits.quads else 4)
    down = _tiles(m, rows)
    if limits.quads:
        text, cols = _decoding("linear_direct", step), min(_tiles(n, 4), 8 if m <= 4 else 4)
        across = _tiles(n, 4 * cols)
    else:
        text, cols = _decoding("linear", step), 4 if _tiles(n, 4) * down >= variants.ENOUGH else 1
        across = _tiles(n, cols)
    if limits.subgroups:
        text = _by_subgroups(text)
    text = repeat(text, {"i": rows, "j": cols, "u": 32 // bits})
    text = substitute(text, {**values, "ROWS": rows, "COLS": cols, "DOWN": down})
    return [_launch(step, text, *grid(across * down))]


def _decoding(name: str, step: Structured) -> str:
    """A kernel for the weights of a step: linear.wgsl has the sections for int8."""
    bits, own = step.arg[3], source("linear")
    scale, decode = section(own, "scale"), section(own, "decode")
    if bits == 16:
        scale = "fn scaled(v: f32, n: u32, k: u32) -> f32 { return v; }\n"
    if bits != 8:
        head = "fn decode(v: u32, next: u32, high: u32) -> vec4<f32> {\n"
        decode = f"{head}{_DECODE[step.dtypes[1].name]}}}\n"
    text = replace_section(source(name), "scale", scale)
    return replace_section(text, "decode", decode)


_DECODE = {
    "int32": """  let left = vec4<u32>(28u, 20u, 12u, 4u) - high * 4u;
  let up = v * (vec4<u32>(1u) << left);
  return vec4<f32>(vec4<i32>(up & vec4<u32>(0xf0000000u))) * 3.725290298461914e-9;
""",
    "float16": "  return vec4<f32>(unpack2x16float(v), unpack2x16float(next));\n",
    "bfloat16": """  let two = vec2<u32>(v, next);
  return bitcast<vec4<f32>>(vec4<u32>(two * 65536u, two & vec2<u32>(0xffff0000u)).xzyw);
""",
}


def _matvec(
    step: Structured, text: str, values: dict[str, int], rows: int, sizing: list[int],
    limits: Limits,
) -> Launch:  # fmt: skip
    if limits.subgroups and sizing[1:] == [1, 64]:
        text = _by_subgroups(text)
    size = dict(zip(("COLS", "NL", "KL"), sizing, strict=True), ROWS=rows)
    text = substitute(repeat(text, {"i": rows, "j": size["COLS"]}), {**values, **size})
    groups = _tiles(values["N"], size["COLS"] * size["NL"])
    return _launch(step, text, groups, values["BATCH"])


def _by_subgroups(text: str) -> str:
    """A kernel that adds its invocations' shares up by subgroups."""
    return "enable subgroups;\n" + replace_section(text, "add", section(source("subgroups"), "add"))


def _with_product(text: str) -> str:
    """matmul.wgsl with other operands."""
    return replace_section(source("matmul"), "operands", section(text, "operands"))


def _tiled(
    step: Structured, text: str, values: dict[str, Any], kernel: str, sizing: list[int],
    limits: Limits,
) -> Launch:  # fmt: skip
    """A kernel of operands and the ``product`` of matmul.wgsl, or that of matrices instead."""
    if kernel == "matrices":
        tile, sizes, head = 64, {"LANES": limits.matrices}, _MATRICES
        product = section(source("matmul_matrices"), "product")
        product = replace_section(product, "fours", section(text, "fours"))
        text = repeat(replace_section(text, "product", product), {"u": 4, "i": 4, "j": 4})
    else:
        tile, split = sizing
        sizes, head = {"TILE": tile, "SPLIT": split}, ""
        n = min(tile // 32, 2)
        text = repeat(text, {"u": n, "i": n, "j": n, "e": 4})
        if split > 1:  # shares are added up where the tiles were
            text = text.replace("alias Tile = Factor", "alias Tile = f32")
    across, down = _tiles(values["N"], tile), _tiles(values["M"], tile)
    text = head + substitute(text, {**values, **sizes, "ACROSS": across, "DOWN": down})
    return _launch(step, text, *grid(across * down * values["BATCH"]))


_MATRICES = "enable subgroups;\nenable chromium_experimental_subgroup_matrix;\n"


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
            body = (f"fn {head} -> vec4<Factor> {{\n  if ({outside}) {{ return vec4<Factor>(); }}\n"
                    f"  return {name}[({at}) / 4u];\n}}\n")  # fmt: skip
            functions = re.sub(rf"fn load_{name}4.*?\n}}\n", lambda _: body, functions, flags=re.S)  # noqa: B023
            text = re.sub(rf"fn load_{name}\(.*?\n}}\n", "", text, flags=re.S)
            text = text.replace(f" {name}: array<Factor>", f" {name}: array<vec4<Factor>>")
    if n % 4 == 0:
        body = """fn store4(z: u32, m: u32, n: u32, value: vec4<f32>) {
  if (m >= M || n >= N) { return; }
  let at = ((z * M + m) * N + n) / 4u;
  out[at] = finish(value, n / 4u, at);
}
"""
        functions = re.sub(r"fn store4.*?\n}\n", lambda _: body, functions, flags=re.S)
        text = re.sub(r"fn store_out\(.*?\n}\n", "", text, flags=re.S)
        text = text.replace(" out: array<f32>", " out: array<vec4<f32>>")
    return replace_section(text, "fours", functions)


def _batched(text: str, sizes: tuple[int, ...], *views: Any, part: str = "batch") -> str:
    """The function that says where the factors of a batch begin."""
    lines, names = [], "pqrs"[: len(views)]
    for name, (strides, offset, *_) in zip(names, views, strict=True):
        lets, at = address("z", sizes, strides, offset)
        lines += [*lets, f"let {name} = {at};"]
    body = "".join(f"  {line}\n" for line in dict.fromkeys(lines))
    vector = f"vec{len(views)}<u32>"
    body += f"  return {vector}({', '.join(names)});\n"
    head = section(text, part).partition("(")[0]
    return replace_section(text, part, f"{head}(z: u32) -> {vector} {{\n{body}}}\n")


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


def _attention(step: Structured, limits: Limits) -> list[Launch]:
    sizes, (t, s, d, e), scale, causal, *views = step.arg
    step = _ordered(step, (0, 1, 2, -1, 3)[: len(step.operands)])  # a mask last
    views += [((0,) * len(sizes), 0, 0)] * (4 - len(views))
    batch = math.prod(sizes)
    values = {"BATCH": batch, "T": t, "S": s, "D": d, "E": e, "CAUSAL": causal,
              "SCALE": struct.unpack("<I", struct.pack("<f", scale))[0]}  # fmt: skip
    rows_at = (("Q_ROW", "K_ROW", "V_ROW", "MASK_ROW"), [view[2] for view in views])
    values |= dict(zip(*rows_at, strict=True))
    if limits.quads:
        text, rows, cols, each = source("attention_direct"), min(_tiles(t, 4), 4), 4, 4
        deep = next(u for u in (4, 2, 1) if d % u == 0)
    else:
        text, cols, each = _fours(source("attention"), (d, d, e), views), _tiles(e, 32), 8
        fit = (r for r in (4, 2) if r * cols <= 16 and _tiles(t, 8 * r) * batch >= variants.ENOUGH)
        rows, deep = next(fit, 1), _tiles(_tiles(d, 4), _tiles(d, 32))
        values["PART"] = next(n for n in (32, 16, 8, 4) if n * cols <= 64)
    text = _masked(step, text, 4)
    down = _tiles(t, each * rows)
    values |= {"ROWS": rows, "COLS": cols, "DEEP": deep, "DOWN": down}
    text = substitute(repeat(text, {"i": rows, "j": cols, "s": 4, "u": deep, "e": 4}), values)
    return [_launch(step, _batched(text, sizes, *views), *grid(batch * down))]


def _masked(step: Structured, text: str, binding: int) -> str:
    """With a mask, if the step has one."""
    if len(step.operands) == binding:
        return text
    type_, score = "f32", "score + mask[at]"
    if step.dtypes[binding] is bool_:
        type_, score = "i32", "select(of_bits(0xff800000u), score, mask[at] != 0)"
    text = re.sub(r"(fn masked.*return) score", rf"\1 {score}", text)
    return f"{text}@group(0) @binding({binding}) var<storage, read> mask: array<{type_}>;\n"


def _attention_grad(step: Structured, limits: Limits) -> list[Launch]:
    sizes, (t, s, d, e), scale, causal, *views = step.arg
    step = _ordered(step, (0, 1, 2, 3, 4, -1, 5)[: len(step.operands)])  # a mask last
    views += [((0,) * len(sizes), 0, 0)] * (6 - len(views))
    batch, cols = math.prod(sizes), _tiles(max(d, e), 32)
    deep = _tiles(_tiles(d, 4), _tiles(d, 32))
    values = {"BATCH": batch, "T": t, "S": s, "D": d, "E": e, "CAUSAL": causal, "COLS": cols,
              "DEEP": deep, "SCALE": struct.unpack("<I", struct.pack("<f", scale))[0],
              "PART": next(n for n in (32, 16, 8, 4) if n * cols <= 64)}  # fmt: skip
    rows_at = (("Q_ROW", "K_ROW", "V_ROW", "G_ROW", "SHARE_ROW", "MASK_ROW"), views)
    values |= {name: view[2] for name, view in zip(*rows_at, strict=True)}
    text = _fours(_masked(step, source("attention_grad"), 6), (d, d, e, e), views)
    text = _batched(_batched(text, sizes, *views[:4]), sizes, *views[4:], part="more")
    launches = []
    for keys, own in (False, t), (True, s):
        rows = 2 if cols <= 4 and _tiles(own, 16) * batch >= variants.ENOUGH else 1
        down = _tiles(own, 8 * rows)
        values |= {"KEYS": keys, "ROWS": rows, "DOWN": down}
        made = substitute(repeat(text, {"i": rows, "j": cols, "e": 4}), values)
        launches.append(_launch(step, made, *grid(batch * down)))
    return launches


def _fours(text: str, widths: tuple[int, ...], views: Any) -> str:
    """Four elements per access wherever rows lie on their 16 bytes."""
    for x, width, (lead, offset, row) in zip("qkvg", widths, views, strict=False):
        if not any(n % 4 for n in (*lead, offset, row, width)):
            text = re.sub(rf"vec4<Factor>\({x}\[.*\]\)", f"{x}[at / 4u]", text)
            text = text.replace(f" {x}: array<Factor>", f" {x}: array<vec4<Factor>>")
    return text


_CONV = ("C", "H", "W", "O", "KH", "KW", "OH", "OW", "SH", "SW", "PH", "PW", "DH", "DW")
_WINDOW = ("H", "W", "KH", "KW", "OH", "OW", "SH", "SW", "PH", "PW", "DH", "DW")


def _conv(step: Structured, limits: Limits) -> list[Launch]:
    names = dict(zip(("BATCH", *_CONV, "GROUPS"), step.arg, strict=True))
    single = {"conv2d": names["C"], "conv2d_input": names["O"]}.get(step.op) == names["GROUPS"]
    strides = names["C"] == names["O"] and names["SH"] == names["SW"] == 1
    if single and (step.op == "conv2d" or strides):
        return _conv_depth(step, names)
    kernel, sizing = variants.choose(step, limits)
    if kernel == "direct":
        rule = _conv_weight_direct if step.op == "conv2d_weight" else _conv_direct
        return rule(step, names, sizing)
    groups = names.pop("GROUPS")
    s = variants.shape(step)
    values = {**names, "BATCH": groups, "M": s.m, "N": s.n, "K": s.k, "CG": names["C"] // groups,
              "OG": names["O"] // groups, "B_ALONG_K": step.op == "conv2d_weight"}  # fmt: skip
    text = _with_product(source(step.op))
    if step.op == "conv2d":
        step, text = _ended(step, text)
    return [_tiled(step, text, values, kernel, sizing, limits)]


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
    step, text = _ended(step, source("conv2d_direct"))
    return [_quads(step, text, values, batch, co, pixels, ci, sizing)]


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
    step, text = _ended(step, source("conv2d_depth"))
    text = replace_section(text, "taps", "\n".join(lines) + "\n")
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
    most = 4 if limits.software else 2 * variants.ENOUGH  # workgroups that are of use at once
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
    "attention": _attention, "attention_grad": _attention_grad,
}  # fmt: skip
