"""Launch rules for the WASM kernels: a step of a plan → exports of ``wasm_kernels``, their words.

``lower`` is the door. A ``Fused`` step is compiled by ``wasm_fused.py``; a ``Structured`` step is a
call of the kernel of that name, whose head comment says what the words mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf, prod
from struct import pack, unpack
from typing import Any

from ..dtypes import bfloat16, bool_
from ..ir import Fused, Launch, Structured
from ..schedule import Caps
from .wasm_fused import fused
from .wasm_ops import FOLDS

CAPS = Caps(
    split_over=1 << 17, chunk=1 << 14, columns=1 << 20, turned=True, epilogues=True, attention=1
)
SHARE = 500_000  # floating-point operations, some 10 microseconds: what is worth a thread
QUERIES = 60  # of a head: a unit of work of attention, at least
ELEMENT = 8  # operations in the time that an element of an operand costs
_ROW = 8  # elements scattered in the time in which each share looks at an index


def _launch(
    kernel: str, slots: tuple[int, ...], words: Iterable[int], shares: int = 1
) -> list[Launch]:
    return [Launch(kernel, slots, tuple(words), (shares, 1, 1), 0)]


def _product(
    step: Structured,
    slots: tuple[int, ...],
    words: Iterable[int],
    flops: int,
    bias: tuple[int, int],
) -> list[Launch]:
    """A kernel bound by multiply-adds; ``bias``: the steps of bias and factor per row and column of
    the result."""
    out, e = step.operands[-1], step.epilogue
    end: tuple[int, ...] = (0,)
    slots = (*slots, out)
    if e is not None:
        more = (e.bias, e.residual, e.factor)
        bounded = (e.low, e.high) != (-inf, inf)
        given = [more[0] is not None, more[1] is not None, bounded, more[2] is not None]
        bits = sum(bit << k for k, bit in enumerate(given))
        end = (bits, *unpack("<2i", pack("<2f", e.low, e.high)), *bias)
        slots += tuple(out if k is None else step.operands[k] for k in more)
    shares = max(1, min(64, (flops + ELEMENT * sum(step.sizes)) // SHARE))
    return _launch(f"{step.op}_{_letter(step)}", slots, (*words, *end), shares)


def _matmul(step: Structured) -> list[Launch]:
    batch, m, n, k, (a_batch, a_offset, *a), (b_batch, b_offset, *b) = step.arg
    first, second = step.operands[:2]
    dims = list(zip(batch, a_batch, b_batch, strict=True))
    while dims and dims[-1][1:] == (m * a[0], 0):  # one b for all: more rows
        m *= dims.pop()[0]
    bias = (0, 1)
    if n == 1 and m > 1:  # a column: its transpose is the row times the other matrix
        first, second, m, n = second, first, n, m
        a, b, a_offset, b_offset = [b[1], b[0]], [a[1], a[0]], b_offset, a_offset
        dims = [(size, y, x) for size, x, y in dims]
        bias = (0, 0)
    words = [
        m,
        n,
        k,
        a_offset,
        *a,
        b_offset,
        *b,
        len(dims),
        *(word for dim in dims for word in dim),
    ]
    flops = 2 * m * n * k * prod(size for size, *_ in dims)
    return _product(step, (first, second), words, flops, bias)


def _linear(step: Structured) -> list[Launch]:
    m, n, k, bits, group = step.arg
    *inputs, out = step.operands
    kind = 3 - bits // 8 if bits < 16 else int(step.dtypes[1] is bfloat16)
    shares = max(1, min(64, n // 4, (2 * m + ELEMENT // 2) * n * k // SHARE))
    return _launch("linear", (*inputs[:2], out, *inputs[2:]), (m, n, k, kind, group), shares)


def _conv(step: Structured) -> list[Launch]:
    n, c, _, _, o, kh, kw, oh, ow, *_, groups = step.arg
    flops = 2 * n * o * oh * ow * (c // groups) * kh * kw
    return _product(step, step.operands[:2], step.arg, flops, (1, 0))


def _attention(step: Structured) -> list[Launch]:
    batch, (t, s, d, e), scale, causal, *views = step.arg
    *slots, out = step.operands
    grad = step.op == "attention_grad"
    at = 5 if grad else 3  # where a mask is; the kernels have it in the fourth place
    kind = 0 if len(slots) == at else 2 if step.dtypes[at] is bool_ else 1
    if not kind:
        slots, views = [*slots, out], [*views, ((0,) * len(batch), 0, 0)]
    order = (0, 1, 2, at, *range(3, at))
    q, k, v, *rest = (slots[i] for i in order)
    views = [views[i] for i in order]
    dims = zip(batch, *(lead for lead, *_ in views), strict=True)
    places = [word for _, *place in views for word in place]
    words = [t, s, d, e, *unpack("<i", pack("<f", scale)), causal, kind, *places, len(batch)]
    words += [word for dim in dims for word in dim]
    heads, width = prod(batch), 3 * d + 2 * e if grad else d + e
    units = heads if grad else heads * -(-t // QUERIES)
    shares = max(1, min(64, units, heads * t * s * (width + 16) * (1 if causal else 2) // SHARE))
    return _launch(f"{step.op}_f", (q, k, v, out, *rest), words, shares)


def _letter(step: Structured) -> str:
    return step.dtypes[0].compute


def _scan(step: Structured) -> list[Launch]:
    rows, n, op = step.arg
    shares = max(1, min(64, rows // 4, rows * n // 40_000))
    return _launch(f"scan_{_letter(step)}", step.operands, (rows, n, FOLDS.index(op)), shares)


def _sort(step: Structured) -> list[Launch]:
    rows, n, first = step.arg
    shares = max(1, min(64, rows, rows * n // (40_000 if first < n // 8 else 2000)))
    return _launch(f"sort_{_letter(step)}", step.operands, step.arg, shares)


def _scatter(step: Structured) -> list[Launch]:
    n, m, mode, width = step.arg
    shares = max(1, min(64, width // _ROW, m * width // 100_000))
    kernel, row = f"scatter_{_letter(step)}", width
    if mode == "set":
        kernel, row = "scatter_set", width * step.dtypes[0].itemsize
    fold = FOLDS.index({"add": "sum", "set": "sum"}.get(mode, mode))
    return _launch(kernel, step.operands, (n // width, m, row, fold), shares)


def _copy(step: Structured) -> list[Launch]:
    return _launch("copy", step.operands, (step.sizes[0] * step.dtypes[0].itemsize,))


_STRUCTURED: dict[str, Callable[[Structured], list[Launch]]] = {
    "matmul": _matmul,
    "linear": _linear,
    "conv2d": _conv,
    "conv2d_input": _conv,
    "conv2d_weight": _conv,
    "scan": _scan,
    "sort": _sort,
    "scatter": _scatter,
    "copy": _copy,
    "attention": _attention,
    "attention_grad": _attention,
}


def lower(step: Fused | Structured, caps: Any = None) -> list[Launch]:
    """The exports to call for a step, in order."""
    return fused(step) if isinstance(step, Fused) else _STRUCTURED[step.op](step)
