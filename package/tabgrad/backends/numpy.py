"""The numpy executor: slow, obvious, and the definition the others are compared with."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes as dt
from ..dtypes import DType
from ..ir import Fused, Instr, Structured
from ..ops.elementwise import ELEMENTWISE
from ..plan import liveness
from ..schedule import Caps, Schedule
from ..shape import Shape, contiguous_strides
from . import numpy_math

CAPS = Caps(epilogues=True, attention=1)
_STORED = {
    dt.bool_: np.bool_, dt.uint8: np.uint8, dt.int8: np.int8, dt.int16: np.int16,
    dt.int32: np.int32, dt.int64: np.int64, dt.float16: np.float16, dt.bfloat16: np.uint16,
    dt.float32: np.float32, dt.float64: np.float64,
}  # fmt: skip
_COMPUTE = {"f": np.float32, "d": np.float64, "i": np.int32, "l": np.int64, "b": np.bool_}
_EXPRESSIONS = {
    name: eval(f"lambda a=None, b=None, c=None: {row.np}", {"np": np, **vars(numpy_math)})
    for name, row in ELEMENTWISE.items()
}


class Plan:
    """A schedule, run step by step on numpy arrays."""

    def __init__(self, schedule: Schedule, n_scalar: int) -> None:
        self.schedule = schedule
        self.free = liveness(schedule).free
        self.launches = len(schedule.steps)
        self.times: list[tuple[str, float]] = []  # of the last run: step and milliseconds

    def run(self, leaves: Sequence[Any], numbers: Sequence[Any]) -> list[Any]:
        """Arrays of the results from arrays of the leaves."""
        slots: dict[int, Any] = dict(enumerate(leaves))
        n = self.schedule.n_leaf
        for k in range(n, len(self.schedule.slots)):
            slot = self.schedule.slots[k]
            slots[k] = np.empty(slot.nelems, _STORED[slot.dtype])
        self.times.clear()
        with np.errstate(all="ignore"):
            for i, step in enumerate(self.schedule.steps):
                start = time.perf_counter()
                if isinstance(step, Fused):
                    _fused(step, [slots[k] for k in step.operands], numbers)
                else:
                    _structured(step, [slots[k] for k in step.operands])
                self.times.append((_name(step), (time.perf_counter() - start) * 1e3))
                for k in self.free[i]:
                    del slots[k]
        return [slots[n + k] for k in range(self.schedule.n_out)]


def _name(step: Any) -> str:
    return step.op if isinstance(step, Structured) else "fused"


def upload(data: Any, dtype: DType) -> Any:
    """Host bytes as an array of their own."""
    return np.frombuffer(data, _STORED[dtype]).copy()


# --- fused kernels --------------------------------------------------------------------------------


def _window(x: Any, shape: Shape, strides: Shape, offset: int) -> Any:
    step = x.itemsize
    return np.lib.stride_tricks.as_strided(
        x[offset:] if offset < x.size else x, shape, [s * step for s in strides]
    )


def from_bfloat16(x: Any) -> Any:
    """Stored bfloat16 (upper halves) as float32."""
    return (x.astype(np.uint32) << 16).view(np.float32)


def to_bfloat16(x: Any) -> Any:
    """float32 rounded to bfloat16, to nearest even; nan stays nan."""
    bits = np.asarray(x, np.float32, order="C").view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(x), np.uint16(0x7FC0), rounded)


def _load(x: Any, dtype: DType) -> Any:
    return from_bfloat16(x) if dtype is dt.bfloat16 else x.astype(_COMPUTE[dtype.compute])


def _store(x: Any, dtype: DType) -> Any:
    return to_bfloat16(x) if dtype is dt.bfloat16 else x.astype(_STORED[dtype])


def _cast(x: Any, to: DType) -> Any:
    if to.is_floating_point:
        return _load(_store(x.astype(_COMPUTE[to.compute]), to), to)
    if to is dt.bool_:
        return x != 0
    if x.dtype.kind == "f":
        x = np.where(np.isfinite(x), np.trunc(x), 0).astype(np.int64)
    return x.astype(_STORED[to]).astype(_COMPUTE[to.compute])


def _fused(step: Fused, arrays: list[Any], numbers: Sequence[Any]) -> None:
    rows, inner = step.rows, step.inner
    ones = (1,) * len(inner)
    values: list[Any] = []
    for i in step.instrs:
        space = rows + (inner if i.level else ones)
        values.append(_instr(step, i, [values[k] for k in i.srcs], space, arrays, numbers))


def _instr(
    step: Fused, i: Instr, srcs: list[Any], space: Shape, arrays: list[Any], numbers: Sequence[Any]
) -> Any:
    type_ = _COMPUTE[i.type]
    if i.op in ("load", "store", "addr"):
        return _memory(step, i, srcs, space, arrays)
    if i.op == "scalar":
        return np.asarray(numbers[i.arg]).astype(type_)
    if i.op == "const":
        return _constant(i.arg, type_)
    if i.op == "take":
        return _load(arrays[i.arg[0]][srcs[0]], step.dtypes[i.arg[0]])
    if i.op == "index":
        return _index(srcs[0], *i.arg)
    if i.op == "cast":
        return _cast(srcs[0], i.arg)
    if i.op == "reduce":
        return _reduce(
            i.arg, np.broadcast_to(srcs[0], step.rows + step.inner), len(step.rows), type_
        )
    out = _EXPRESSIONS[i.op](*srcs)
    return out if i.op in _KEYS else np.asarray(out).astype(type_, copy=False)


_KEYS = ("order_key",)


def _constant(value: Any, type_: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value) and np.dtype(type_).kind == "i":
        info = np.iinfo(type_)
        return type_(info.max if value > 0 else info.min)
    return np.asarray(value).astype(type_)


def _memory(step: Fused, i: Instr, srcs: list[Any], space: Shape, arrays: list[Any]) -> Any:
    if i.op == "addr":
        strides, offset = i.arg
        out: Any = np.full(space, offset, _COMPUTE[i.type])
        for d, s in enumerate(strides):
            n = space[d]
            out += (np.arange(n) * s).astype(out.dtype).reshape((n,) + (1,) * (len(space) - d - 1))
        return out
    k, strides, offset = i.arg
    if strides is None:
        strides = contiguous_strides(space if i.level or not step.inner else step.rows)
    strides = strides + (0,) * (len(space) - len(strides))
    window = _window(arrays[k], space, strides, offset)
    if i.op == "load":
        return _load(window, step.dtypes[k])
    window[...] = _store(np.broadcast_to(srcs[0], space), step.dtypes[k])
    return None


def _index(x: Any, size: int, code: int, back: int) -> Any:
    bad = (x < -back) | (x >= size)
    if bad.any():
        numpy_math.status = max(numpy_math.status, code)
    return np.where(bad, 0, np.where(x < 0, x + size, x))


def _reduce(kind: str, x: Any, n_rows: int, type_: Any) -> Any:
    axes = tuple(range(n_rows, x.ndim))
    f: Any = {"sum": np.sum, "prod": np.prod, "max": np.max, "min": np.min}[kind]
    if kind == "sum" and type_ is np.float32:  # pairwise along one contiguous axis
        flat = np.ascontiguousarray(x).reshape((*x.shape[:n_rows], -1))
        out = np.sum(flat, -1, dtype=np.float32)
        return out.reshape(x.shape[:n_rows] + (1,) * len(axes))
    return f(x, axis=axes, keepdims=True).astype(type_)


# --- structured steps -----------------------------------------------------------------------------


def _structured(step: Structured, arrays: list[Any]) -> None:
    if step.epilogue is None:
        _STRUCTURED[step.op](step, *arrays)
        return
    *inputs, out = arrays
    _STRUCTURED[step.op](step, *inputs[:2], out)
    bias, residual, low, high, factor = step.epilogue
    over = 1 if step.op == "matmul" else step.arg[7] * step.arg[8]
    for k, f in ((factor, np.multiply), (bias, np.add)):
        if k is not None:
            values = inputs[k][:, None]
            channels = out.reshape(-1, values.size, over)
            f(channels, values, out=channels)
    if residual is not None:
        out += inputs[residual]
    np.clip(out, low, high, out=out)


def _copy(step: Structured, src: Any, dst: Any) -> None:
    dst[...] = src


def _matmul(step: Structured, a: Any, b: Any, out: Any) -> None:
    batch, m, n, k, (sa, oa, ra, ca), (sb, ob, rb, cb) = step.arg
    x = _window(a, (*batch, m, k), (*sa, ra, ca), oa)
    y = _window(b, (*batch, k, n), (*sb, rb, cb), ob)
    out[...] = np.matmul(x, y).reshape(-1)


def _linear(step: Structured, x: Any, w: Any, *more: Any) -> None:
    m, n, k, bits, group = step.arg
    *scale, out = more
    if bits == 16:
        weight = _load(w, step.dtypes[1]).reshape(n, k)
    else:  # of 16 bytes of int4 the lower halves come first
        b = w.view(np.int8).reshape(n, -1, 16)
        q = b if bits == 8 else np.stack([b << 4 >> 4, b >> 4], 2)
        weight = q.reshape(n, k) * scale[0].reshape(n, -1).repeat(group, 1)
    out[...] = (x.reshape(m, k) @ weight.T).reshape(-1)


def _heads(step: Structured, xs: Any, *shapes: tuple[int, int]) -> Any:
    """The operands of attention as (batch sizes, rows, columns)."""
    batch = step.arg[0]
    for x, shape, (lead, offset, row) in zip(xs, shapes, step.arg[4:], strict=False):
        yield _window(x, (*batch, *shape), (*lead, row, 1), offset)


def _weights(step: Structured, q: Any, k: Any, masks: Any) -> Any:
    """Those of attention, not divided by their totals yet, these, and the largest scores (-inf:
    nothing is seen)."""
    _, (t, s, *_), scale, causal, *_ = step.arg
    scores = np.matmul(q * q.dtype.type(scale), k.swapaxes(-1, -2))
    for m in masks:
        scores = np.where(m, scores, -np.inf) if m.dtype == np.bool_ else scores + m
    if causal:
        scores = np.where(np.tri(t, s, dtype=np.bool_), scores, -np.inf)
    top = scores.max(-1, keepdims=True)
    weights = np.exp(scores - np.where(top == -np.inf, 0, top))
    total = weights.sum(-1, keepdims=True)
    return weights.astype(q.dtype), np.where(total == 0, 1, total), top


def _attention(step: Structured, *operands: Any) -> None:
    t, s, d, e = step.arg[1]
    *xs, out = operands
    q, k, v, *masks = _heads(step, xs, (t, d), (s, d), (s, e), (t, s))
    weights, total, _ = _weights(step, q, k, masks)
    out[...] = (np.matmul(weights, v) / total).reshape(-1)


def _attention_grad(step: Structured, *operands: Any) -> None:
    t, s, d, e = step.arg[1]
    *xs, out = operands
    shapes = ((t, d), (s, d), (s, e), (t, e), (t, 1), (t, s))
    q, k, v, g, shares, *masks = _heads(step, xs, *shapes)
    weights, total, top = _weights(step, q, k, masks)
    logs = np.where(top == -np.inf, np.inf, top + np.log(total))
    weights = (weights / total).astype(q.dtype)
    scores = weights * (np.matmul(g, v.swapaxes(-1, -2)) - shares) * q.dtype.type(step.arg[2])
    turned = weights.swapaxes(-1, -2), scores.swapaxes(-1, -2)
    found = np.matmul(scores, k), np.matmul(turned[1], q), np.matmul(turned[0], g), logs
    out[...] = np.concatenate([x.reshape(-1) for x in found])


def _columns(x: Any, arg: tuple[int, ...]) -> Any:
    """(N, C, H, W) → windows (N, C, KH, KW, OH, OW)."""
    _, _, h, w, _, kh, kw, oh, ow, sh, sw, ph, pw, dh, dw, _ = arg
    # right and bottom are padded as far as the last window reaches
    bottom = max((oh - 1) * sh + dh * (kh - 1) + 1 - h - ph, 0)
    right = max((ow - 1) * sw + dw * (kw - 1) + 1 - w - pw, 0)
    x = np.pad(x, ((0, 0), (0, 0), (ph, bottom), (pw, right)))
    n, c, s = x.shape[0], x.shape[1], x.strides
    return np.lib.stride_tricks.as_strided(
        x,
        (n, c, kh, kw, oh, ow),
        (s[0], s[1], s[2] * dh, s[3] * dw, s[2] * sh, s[3] * sw),
    )


def _conv_shapes(arg: tuple[int, ...]) -> tuple[Shape, Shape, Shape]:
    n, c, h, w, o, kh, kw, oh, ow, *_, g = arg
    return (n, g, c // g, h, w), (g, o // g, c // g, kh, kw), (n, g, o // g, oh, ow)


def _conv2d(step: Structured, x: Any, w: Any, out: Any) -> None:
    _, sw, sy = _conv_shapes(step.arg)
    n, c = step.arg[:2]
    cols = _columns(x.reshape(step.arg[:4]), step.arg)
    cols = cols.reshape(n, sy[1], c // sy[1], *cols.shape[2:])
    y = np.einsum("ngcijyx,gocij->ngoyx", cols, w.reshape(sw), optimize=True)
    out[...] = y.reshape(-1)


def _conv2d_weight(step: Structured, g: Any, x: Any, out: Any) -> None:
    _, _, sy = _conv_shapes(step.arg)
    n, c = step.arg[:2]
    cols = _columns(x.reshape(step.arg[:4]), step.arg)
    cols = cols.reshape(n, sy[1], c // sy[1], *cols.shape[2:])
    w = np.einsum("ngcijyx,ngoyx->gocij", cols, g.reshape(sy), optimize=True)
    out[...] = w.reshape(-1)


def _conv2d_input(step: Structured, g: Any, w: Any, out: Any) -> None:
    n, c, h, wd, _, kh, kw, oh, ow, sh, sw, ph, pw, dh, dw, _ = step.arg
    _, ws, ys = _conv_shapes(step.arg)
    cols = np.einsum("ngoyx,gocij->ngcijyx", g.reshape(ys), w.reshape(ws), optimize=True)
    cols = cols.reshape(n, c, kh, kw, oh, ow)
    tall = max(h + 2 * ph, (oh - 1) * sh + dh * (kh - 1) + 1)
    wide = max(wd + 2 * pw, (ow - 1) * sw + dw * (kw - 1) + 1)
    x = np.zeros((n, c, tall, wide), g.dtype)
    for i in range(kh):
        for j in range(kw):
            top, left = i * dh, j * dw
            x[:, :, top : top + oh * sh : sh, left : left + ow * sw : sw][:, :, :oh, :ow] += cols[
                :, :, i, j
            ]
    out[...] = x[:, :, ph : ph + h, pw : pw + wd].reshape(-1)


def _scan(step: Structured, x: Any, out: Any) -> None:
    rows, n, kind = step.arg
    f = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}[kind]
    out[...] = f.accumulate(x.reshape(rows, n), axis=1).reshape(-1)


def _sort(step: Structured, keys: Any, out: Any) -> None:
    rows, n = step.arg[:2]
    out[...] = np.argsort(keys.reshape(rows, n), axis=1, kind="stable").reshape(-1)


def _scatter(step: Structured, out: Any, index: Any, value: Any) -> None:
    *_, mode, width = step.arg
    if width > 1:  # at() is fast for flat positions only
        index = (index[:, None] * width + np.arange(width)).reshape(-1)
    if mode == "set":
        out[index] = value
    else:
        f = {"add": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}[mode]
        f.at(out, index, value)


_STRUCTURED: dict[str, Any] = {
    "copy": _copy, "matmul": _matmul, "linear": _linear, "conv2d": _conv2d,
    "conv2d_input": _conv2d_input, "conv2d_weight": _conv2d_weight, "scan": _scan, "sort": _sort,
    "scatter": _scatter, "attention": _attention, "attention_grad": _attention_grad,
}  # fmt: skip
