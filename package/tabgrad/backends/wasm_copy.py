"""Fused steps that compute nothing: copies between views, and rows of a table."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..ir import Fused, Instr, Launch
from ..shape import contiguous_strides

_SHARE = 100_000  # bytes that are worth a thread of their own, some 10 µs
_SQUARE = 16  # twin in permute.c
_PIECES = 8  # of the innermost dimension, where the others are too few to be shared

_Dim = tuple[int, int, int]  # size, stride in the source, in the target


def copied(step: Fused, instrs: Sequence[Instr]) -> list[Launch] | None:
    """The launch of a step that only copies; None for others."""
    if step.inner:
        return None
    if [i.op for i in instrs] == ["load", "store"]:
        return _permute(step, *instrs)
    return _take_rows(step, instrs)


def _permute(step: Fused, load: Instr, store: Instr) -> list[Launch] | None:
    """A copy of one view to another of the same dtype."""
    (source, steps, start), (target, to_steps, to_start) = load.arg, store.arg
    if source == target or step.dtypes[source] is not step.dtypes[target]:
        return None
    if to_steps is None:
        to_steps = contiguous_strides(step.rows)
    dims = [d for d in zip(step.rows, steps, to_steps, strict=True) if d[0] != 1] or [(1, 1, 1)]
    blocked, dims = _ordered(dims)
    size = step.dtypes[source].itemsize
    shares = min(64, math.prod(step.rows) * size // _SHARE)
    n, step_in, step_out = dims[0]
    if _units(blocked, dims) < shares and n % _PIECES == 0 and n >= _PIECES * _SQUARE:
        n //= _PIECES  # few and long: pieces of them are shared
        dims = [(n, step_in, step_out), *dims[1:], (_PIECES, n * step_in, n * step_out)]
    shares = max(1, min(shares, _units(blocked, dims)))
    words = [size, start, to_start or 0, int(blocked), len(dims), *(w for d in dims for w in d)]
    slots = (step.operands[source], step.operands[target])
    return [Launch("permute", slots, tuple(words), (shares, 1, 1), 0)]


def _units(blocked: bool, dims: list[_Dim]) -> int:
    """Strips or runs, which threads share."""
    return math.prod(d[0] for d in dims[1:]) // (_SQUARE if blocked else 1)


def _ordered(dims: list[_Dim]) -> tuple[bool, list[_Dim]]:
    """Innermost first, and whether the first two are turned in squares: the one that runs along the
    target, and the one that runs along the source."""
    dims = sorted(dims, key=lambda d: abs(d[2]))
    first, *rest = dims
    along = min(rest, key=lambda d: (d[1] == 0, abs(d[1]), d[2]), default=first)
    blocked = 0 < abs(along[1]) < abs(first[1])
    if blocked:
        rest.remove(along)
        dims = [first, along, *rest]
    if first[0] * (along[0] if blocked else 1) < _SQUARE:  # too small a unit: the longest run
        return False, sorted(dims, key=lambda d: -d[0])
    return blocked, dims


def _take_rows(step: Fused, instrs: Sequence[Instr]) -> list[Launch] | None:
    """Whole rows of a table, as an embedding reads them: the index is that of a row's begin."""
    by_op = {i.op: i for i in instrs}
    if sorted(i.op for i in instrs) != ["add", "addr", "load", "store", "take"]:
        return None
    addr, load, take, store = (by_op[op] for op in ("addr", "load", "take", "store"))
    if len(step.rows) != 2 or addr.arg[0] != (0, 1) or load.arg[1:] != ((1, 0), 0):
        return None
    (rows, width), table = step.rows, take.arg[0]
    target, strides, offset = store.arg
    dtypes = step.dtypes
    whole = strides in (None, (width, 1)) and not offset and target != table
    if not whole or dtypes[load.arg[0]].name != "int32" or dtypes[table] is not dtypes[target]:
        return None
    size = dtypes[table].itemsize
    slots = tuple(step.operands[k] for k in (load.arg[0], table, target))
    shares = max(1, min(64, rows, rows * width * size // _SHARE))
    return [Launch("take_rows", slots, (size, rows, width, addr.arg[1]), (shares, 1, 1), 0)]
