"""The work of a graph, counted from its key alone; see ``plan.linearize``."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

from ..dtypes import DTYPES, float64, int64

Key = tuple[Any, ...]

_FREE = ("view", "const", "iota", "number", "empty")
_CONVOLUTIONS = ("conv2d", "conv2d_input", "conv2d_weight")
_PRODUCTS = ("matmul", "linear", "attention", "attention_grad", *_CONVOLUTIONS)
_ALONE = ("reduce", "scan", "sort", "scatter", *_PRODUCTS)  # begin a kernel, mostly


class Work(NamedTuple):
    """What there is to do."""

    flops: int  # of products
    traffic: int  # bytes read and written, as if nothing were fused
    results: int  # bytes
    largest: int  # bytes of the largest value that comes or stays, in words of the GPU
    kernels: int  # about how many
    wide: bool  # float64, or integers that 32 bits cannot hold
    int64: bool  # computes with int64
    longs: list[int]  # which of the numbers are int64


def beyond(value: Any) -> bool:
    """Whether an integer does not fit into 32 bits."""
    return not -(1 << 31) <= value < 1 << 31


def work(key: Key, given: Sequence[int] = ()) -> Work:
    """Sums a key up, entry by entry; the leaves ``given`` may be written over."""
    flops = traffic = 0
    leaves = [k for k, e in enumerate(key[:-1]) if len(e) == 3]
    copied = set(leaves) - {leaves[k] for k in given}  # before they are written to
    sizes: list[int] = []  # bytes of each value
    reads: list[int] = []  # bytes that a reader of it moves
    for entry in key[:-1]:
        size = prod(_shape(entry)) * _dtype(entry).itemsize
        sizes.append(size)
        if len(entry) == 3:  # a leaf
            reads.append(size)
            continue
        op, *_, srcs = _parts(entry)
        if op in _FREE:
            reads.append(min(size, reads[srcs[0]]) if srcs else 0)
            continue
        reads.append(size)
        flops += _flops(key, entry) if op in _PRODUCTS else 0
        traffic += _traffic(entry, sizes, reads, copied)
    kept = {*leaves, *key[-1]}
    return Work(
        flops,
        traffic,
        results=sum(sizes[k] for k in set(key[-1])),
        largest=max((sizes[k] * max(1, 4 // _dtype(key[k]).itemsize) for k in kept), default=0),
        kernels=1 + sum(e[0] in _ALONE for e in key[:-1]),
        wide=any(map(_wide, key[:-1])),
        int64=any(map(_computes_int64, key[:-1])),
        longs=_longs(key),
    )


# --- entries: leaf, shape, dtype · dtype, shape of a number · op, dtype, shape, arg, type, … ------


def _dtype(entry: Key) -> Any:
    return DTYPES[entry[2 if len(entry) == 3 else 0 if len(entry) == 2 else 1]]


def _shape(entry: Key) -> Any:
    return entry[1 if len(entry) < 4 else 2]


def _parts(entry: Key) -> tuple[str, Any, Sequence[int]]:
    return ("number", None, ()) if len(entry) == 2 else (entry[0], entry[3], entry[5:])


def _wide(entry: Key) -> bool:
    dtype = _dtype(entry)
    return dtype is float64 or (dtype is int64 and entry[0] == "const" and beyond(entry[3]))


def _computes_int64(entry: Key) -> bool:
    return len(entry) > 3 and entry[0] not in (*_FREE, "cast", "take") and _dtype(entry) is int64


def _longs(key: Key) -> list[int]:
    numbers = [_dtype(e) for e in key[:-1] if len(e) == 2]
    return [k for k, dtype in enumerate(numbers) if dtype is int64]


def _flops(key: Key, entry: Key) -> int:
    op, arg, srcs = _parts(entry)
    if op == "matmul":
        return 2 * prod(_shape(entry)) * int(_shape(key[srcs[0]])[-1])
    if op == "linear":
        return 2 * int(prod(arg[:3]))  # m, n, k
    if op == "attention":  # scores, and sums of the values
        q, k = (_shape(key[s]) for s in srcs[:2])
        return 2 * prod(_shape(entry)[:-1]) * k[-2] * (q[-1] + _shape(entry)[-1])
    if op == "attention_grad":  # scores again, those of the gradient, and three sums
        q, k, _, g = (_shape(key[s]) for s in srcs[:4])
        return 2 * prod(g[:-1]) * k[-2] * (3 * q[-1] + 2 * g[-1])
    n, c, _, _, o, kh, kw, oh, ow, *_, groups = arg
    return 2 * n * o * oh * ow * (c // groups) * kh * kw


def _traffic(entry: Key, sizes: list[int], reads: list[int], copied: set[int]) -> int:
    op, _, srcs = _parts(entry)
    size = sizes[-1]
    if op == "take":  # of the table only what is taken
        return 2 * size + reads[srcs[1]]
    if op in ("store", "scatter"):  # a new content of the old one
        return 2 * size * (srcs[0] in copied) + 2 * sum(reads[k] for k in srcs[1:])
    return size + sum(reads[k] for k in srcs)
