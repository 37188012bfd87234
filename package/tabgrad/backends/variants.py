"""Which WGSL kernel makes a matrix product or a convolution, and with which sizes: one table.

A variant is the name of a kernel with its sizes, "tiled 64 1". What ``tabgrad.tune`` has measured
on a visitor's device comes before the table, whose variants fit the limits all adapters have: 256
invocations and 16 KiB of workgroup memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..dtypes import float16
from ..ir import Structured
from .wgsl import Limits

OPS = ("matmul", "conv2d", "conv2d_input", "conv2d_weight")
VERSION = "3"  # of what was measured: another one where kernels or variants become other ones
ENOUGH = 128  # workgroups that keep a GPU busy
FEW = 4  # rows that matvec.wgsl keeps in registers
_MOST = 256  # shapes that are remembered, in a text of at most so many characters each
_LINE = 200


class Shape(NamedTuple):
    """A step as ``batch`` products (m, k) · (k, n), made so that few columns are few rows."""

    op: str
    batch: int
    m: int
    n: int
    k: int
    a_along_k: bool = False  # a product's factors: which of their strides is the smaller one
    b_along_k: bool = False

    @property
    def few(self) -> bool:
        return self.op == "matmul" and self.m <= FEW

    def tiles(self, size: int) -> int:
        """How many tiles of ``size`` × ``size`` results there are."""
        return -(-self.m // size) * -(-self.n // size) * self.batch


# The kernels and their sizes:
#   direct SPREAD ROWS COLS (the latter at most)   matvec COLS NL KL   tiled TILE SPLIT   matrices
# An adapter ("quads": computes on the CPU, see Limits) takes its first row that fits a shape.
TABLE: tuple[tuple[str, Callable[[Shape], bool], str], ...] = (
    ("quads", lambda s: s.m <= 3, "direct 1 4 8"),
    ("quads", lambda s: True, "direct 4 4 4"),
    ("gpu", lambda s: s.few and s.b_along_k, "matvec 4 1 64"),
    ("gpu", lambda s: s.few, "matvec 1 32 8"),
    ("gpu", lambda s: s.tiles(64) >= ENOUGH, "tiled 64 1"),
    ("gpu", lambda s: s.tiles(32) < ENOUGH and s.k >= 256, "tiled 32 4"),
    ("gpu", lambda s: True, "tiled 32 1"),
)
# what a tuner tries besides: of tiles those that fit, and matrices instead where there are some
MORE = ("direct 4 2 4", "direct 4 4 2", "direct 4 2 8", "matvec 1 1 64", "matvec 1 64 4",
        "tiled 128 1", "tiled 64 4", "matrices")  # fmt: skip


def turned(m: int, n: int) -> bool:
    """Whether the product of the transposes is made instead: few columns become few rows."""
    return n < 4 < m


def shape(step: Structured) -> Shape:
    """The products that a matmul or a convolution is made of."""
    if step.op == "linear":
        return Shape("linear", 1, *step.arg[:3])
    if step.op == "matmul":
        sizes, m, n, k, (*_, a_row, a_col), (*_, b_row, b_col) = step.arg
        if turned(m, n):
            m, n, a_row, a_col, b_row, b_col = n, m, b_col, b_row, a_col, a_row
        return Shape("matmul", math.prod(sizes), m, n, k, a_col <= a_row, b_row < b_col)
    images, c, h, w, o, kh, kw, oh, ow, *_, groups = step.arg
    cg, og, taps = c // groups, o // groups, kh * kw
    pixels, window = images * oh * ow, images * h * w
    sizes = {
        "conv2d": (og, pixels, cg * taps),
        "conv2d_input": (cg, window, og * taps),
        "conv2d_weight": (og, cg * taps, pixels),
    }[step.op]
    return Shape(step.op, groups, *sizes)


def candidates(s: Shape, limits: Limits) -> list[str]:
    """The variants of the kernel that suits an adapter and a shape, the table's choice first."""
    here = "quads" if limits.quads else "gpu"
    first = next(v for device, fits, v in TABLE if device == here and fits(s))
    kernels = [first.split()[0]]
    if limits.matrices and kernels == ["tiled"]:
        kernels.append("matrices")
    return [
        first,
        *[v for v in known() if v.split()[0] in kernels and v != first and has_room(v, limits)],
    ]


def has_room(variant: str, limits: Limits) -> bool:
    """Is there workgroup memory for it?"""
    kernel, *sizes = variant.split()
    return kernel != "tiled" or 128 * math.prod(map(int, sizes)) <= limits.memory


def known() -> list[str]:
    """All variants."""
    return [*[v for *_, v in TABLE], *MORE]


class Tuned(NamedTuple):
    """What was measured: milliseconds of the table's choice and of the quickest one."""

    step: str
    default: str
    chosen: str
    before: float
    after: float


def name(step: Structured) -> str:
    """A step's name among what was measured."""
    arg = shape(step) if step.op == "matmul" else (step.op, *step.arg)
    half = " f16" if step.dtypes[0] is float16 else ""
    return " ".join(str(x if x is step.op else int(x)) for x in arg) + half


def choose(step: Structured, limits: Limits) -> tuple[str, list[int]]:
    """The kernel for a step and its sizes."""
    able = candidates(shape(step), limits)
    found = limits.tuned.get(name(step)) if limits.tuned else None
    kernel, *sizes = (found.chosen if found and found.chosen in able else able[0]).split()
    return kernel, [*map(int, sizes)]


def written(tuned: Mapping[str, Tuned]) -> str:
    """What was measured as a text."""
    rows = ["\t".join(map(str, row)) for row in tuned.values()]
    return "\n".join([_head(), *rows[-_MOST:]])


def _head() -> str:
    from .. import __version__

    return f"{__version__} {VERSION}"


def read(text: str) -> dict[str, Tuned]:
    """What ``written`` wrote. The text lay in the browser's storage: if it is anything but that,
    or of another version, nothing of it is taken."""
    head, *rows = text.split("\n") if len(text) <= _MOST * _LINE else [""]
    names, out = {*known()}, {}
    try:
        for row in rows if head == _head() else []:
            step, default, chosen, before, after = row.split("\t")
            if not {default, chosen} <= names or not 0 <= float(after) <= float(before) < 1e9:
                return {}
            out[step] = Tuned(step, default, chosen, float(before), float(after))
    except ValueError:
        return {}
    return out
