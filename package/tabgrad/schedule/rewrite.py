"""First pass: views move to the leaves, odd dtypes get casts, and what is cheaper to compute again
than to read back is copied to each of its consumers. Same values, fewer views, less memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..dtypes import float16, float32, int32
from ..graph import Node, const, view
from ..ir import FEW_ROWS
from ..shape import (
    Shape,
    broadcast_strides,
    collapse,
    contiguous_strides,
    decompose,
    numel,
)
from .epilogue import ended
from .repeat import repeatable
from .values import (
    DEEP,
    FACTORS,
    FUSIBLE,
    PACKED,
    Caps,
    Graph,
    base_of,
    is_reshape,
    is_virtual,
    peel,
    renamed,
    toposort,
)

_NEUTRAL = {"sum": 0, "prod": 1, "max": -math.inf, "min": math.inf}


class Rewriter:
    """Makes the graph that is scheduled: same values, fewer and better placed views."""

    def __init__(self, caps: Caps, roots: Sequence[Node]) -> None:
        self.caps = caps
        self.roots = roots
        self.new: dict[int, Node] = {}
        self.uses: dict[int, int] = {}
        self.keep: list[Node] = []  # rewritten nodes must outlive their ids

    def run(self) -> Graph:
        order = toposort(self.roots)
        for node in order:
            for s in node.srcs:
                self.uses[id(s)] = self.uses.get(id(s), 0) + 1
        for node in self.roots:
            self.uses[id(node)] = self.uses.get(id(node), 0) + 1
        self.copied = repeatable(order, self.roots, self.uses)
        for node in order:
            self.new[id(node)] = self._rewrite(node)
        roots = [self.new[id(r)] for r in self.roots]
        return Graph(roots, toposort(roots))

    def _rewrite(self, node: Node) -> Node:
        if not numel(node.shape) and node.op not in ("buffer", "const"):
            return const(0, node.dtype, node.shape)
        if not node.srcs:
            return node
        srcs = tuple(self._source(s) for s in node.srcs)
        if node.op == "reduce":
            trivial = self._trivial_reduce(node, srcs[0])
            if trivial is not None:
                return trivial
        if node.op == "view":
            source = node.srcs[0]
            single = self.uses.get(id(source), 0) <= 1 or id(source) in self.copied
            out = self._view(srcs[0], node, single)
        elif (end := ended(self.caps, node, srcs, self.uses)) is not None:
            out = end
        elif node.op in FUSIBLE:
            out = node if srcs == node.srcs else _rebuilt(node, srcs)
            if node.op == "reduce":
                out = self._split(self._unpacked(out))
        else:
            out = self._structured(node, srcs)
        self.keep.append(out)
        self.uses.setdefault(id(out), self.uses.get(id(node), 0))
        return out

    def _source(self, s: Node) -> Node:
        """The new node for a source: a copy of its own for each consumer if it is repeatable."""
        return self._copy(s) if self.uses[id(s)] > 1 else self.new[id(s)]

    def _copy(self, s: Node) -> Node:
        new = self.new[id(s)]
        if id(s) not in self.copied or new.op != s.op:
            return new
        if s.op == "view" and new.srcs[0] is not self.new[id(s.srcs[0])]:
            return new
        out = Node(new.op, tuple([self._copy(d) for d in s.srcs]), new.shape, new.dtype, new.arg)
        self.uses[id(out)] = 1
        self.keep.append(out)
        return out

    def _trivial_reduce(self, node: Node, src: Node) -> Node | None:
        """A reduction over nothing is its neutral element, over one element a copy."""
        kind, k = node.arg
        inner = numel(src.shape[len(src.shape) - k :])
        if inner == 0:
            return const(_NEUTRAL[kind], node.dtype, node.shape)
        if inner != 1:
            return None
        window = view(src, node.shape, contiguous_strides(node.shape), 0)
        self.keep.append(window)
        return self._view(src, window, False)

    def _view(self, src: Node, node: Node, single: bool, depth: int = 0) -> Node:
        """A view of ``src``, moved as near to the leaves as it goes."""
        shape, (strides, offset) = node.shape, node.arg
        if src.op == "view" and not is_reshape(src):
            composed = _compose(src, shape, strides, offset)
            if composed is not None:
                return composed
        src = peel(src)
        if src.op == "view":
            composed = _compose(src, shape, strides, offset)
            if composed is not None:
                return composed
        if src.op in ("number", "const"):
            return (
                Node(src.op, (), shape, src.dtype, src.arg)
                if src.op == "const"
                else renamed(src, shape)
            )
        if src.op == "iota":
            moved = _compose_strides(src.shape, src.arg, shape, strides, offset)
            if moved is not None:
                return Node("iota", (), shape, src.dtype, moved)
        plain = src.op == "matmul" and src.arg is None  # without bias: that is per column
        if plain and single and (shape, strides, offset) == _turned(src.shape):
            return self._turned_matmul(src)
        out = Node("view", (src,), shape, src.dtype, (strides, offset))
        movable = src.op in FUSIBLE and src.op != "reduce" and depth < DEEP
        if movable and not is_reshape(out):
            free = is_virtual(src)
            if free or (single and numel(shape) <= numel(src.shape)):
                pushed = self._push(src, shape, strides, offset, depth + 1)
                if pushed is not None:
                    return pushed
        return out

    def _turned_matmul(self, src: Node) -> Node:
        """(a b)ᵀ = bᵀ aᵀ: operands are read in any order, but a result is not turned for free."""
        turned = []
        for s in reversed(src.srcs):
            shape, *arg = _turned(s.shape)
            window = Node("view", (s,), shape, s.dtype, tuple(arg))
            self.keep.append(window)
            turned.append(self._view(s, window, False))
        out = Node("matmul", tuple(turned), _turned(src.shape)[0], src.dtype)
        self.keep.append(out)
        return out

    def _push(
        self, src: Node, shape: Shape, strides: Shape, offset: int, depth: int
    ) -> Node | None:
        """view(f(a, b)) → f(view(a), view(b))."""
        steps = decompose(shape, strides, offset, src.shape)
        if steps is None:
            return None
        start, along = steps
        first = 1 if src.op == "take" else 0  # what is taken from stays as it is
        srcs = list(src.srcs)
        for i in range(first, len(srcs)):
            s = srcs[i]
            base = broadcast_strides(s.shape, contiguous_strides(s.shape), src.shape)
            new = tuple(k * base[d] if base else 0 for d, k in along)
            begin = sum(k * b for k, b in zip(start, base, strict=True))
            window = Node("view", (s,), shape, s.dtype, (new, begin))
            srcs[i] = self._view(s, window, self.uses.get(id(s), 2) <= 1, depth)
        out = Node(src.op, tuple(srcs), shape, src.dtype, src.arg)
        self.keep.extend(srcs)
        return out

    def _unpacked(self, node: Node) -> Node:
        """A reduction of packed floats in float32: a row's result cannot be half a word."""
        if not self.caps.packed or node.dtype not in PACKED:
            return node
        src = Node("cast", node.srcs, node.srcs[0].shape, float32)
        wide = Node("reduce", (src,), node.shape, float32, node.arg)
        self.keep += [src, wide]
        return Node("cast", (self._split(wide),), node.shape, node.dtype)

    def _split(self, node: Node) -> Node:
        """A long reduction of few rows in two steps, so that many workgroups have work."""
        if node.op != "reduce":
            return node
        kind, k = node.arg
        src, limit = node.srcs[0], self.caps.split_over
        inner = numel(src.shape[len(src.shape) - k :])
        rows = numel(node.shape)
        if self.caps.columns and rows * inner >= self.caps.columns and _down(src, k):
            return self._columns(node, rows, inner)
        if not limit or inner <= limit or rows >= 64:
            return node
        chunk = next((c for c in range(self.caps.chunk, 63, -1) if inner % c == 0), 0)
        if not chunk:
            return node
        parts = inner // chunk
        shape = (rows, parts, chunk)
        seen = Node("view", (src,), shape, src.dtype, (contiguous_strides(shape), 0))
        first = Node("reduce", (seen,), (rows, parts), node.dtype, (kind, 1))
        self.keep += [seen, first]
        return self._split(Node("reduce", (first,), node.shape, node.dtype, (kind, 1)))

    def _columns(self, node: Node, rows: int, inner: int) -> Node:
        """A sum down the columns of a large matrix in parts, which threads share: each reads whole
        rows, as memory likes it."""
        parts = next((n for n in (4, 5, 6, 7) if inner % n == 0), 0)
        if not parts or rows % 16 or rows > 2048:
            return node
        chunk = inner // parts
        shape = (parts, rows, chunk)
        src = node.srcs[0]
        window = Node("view", (src,), shape, src.dtype, ((chunk, inner, 1), 0))
        seen = self._view(src, window, False)
        first = Node("reduce", (seen,), (parts, rows), node.dtype, (node.arg[0], 1))
        turned = Node("view", (first,), (rows, parts), node.dtype, ((1, rows), 0))
        self.keep += [seen, first, turned]
        return Node("reduce", (turned,), node.shape, node.dtype, (node.arg[0], 1))

    def _linear(self, node: Node, x: Node, w: Node) -> Node | None:
        """x wᵀ for a few rows and a weight in memory of 16 bits, which is read as it is."""
        w = peel(w.srcs[0] if w.op == "cast" and w.dtype is float32 else w)
        if w.op != "view" or w.dtype not in PACKED or len(x.shape) + len(w.shape) != 4:
            return None
        (m, k), n, weight = x.shape, w.shape[1], w.srcs[0]
        whole = weight.op == "buffer" and numel(weight.shape) == n * k
        if m > FEW_ROWS or k % 32 or w.arg != ((1, k), 0) or not whole:
            return None
        x = x if x.dtype is float32 else Node("cast", (x,), x.shape, float32)
        out = Node("linear", (x, weight), node.shape, float32, (m, n, k, 16, k))
        self.keep += [x, out]
        return out if node.dtype is float32 else Node("cast", (out,), node.shape, node.dtype)

    def _of_halves(self, node: Node, srcs: tuple[Node, ...]) -> Node | None:
        """A product of float16 factors that are read as they are."""
        n = FACTORS.get(node.op, 0) if self.caps.halves else 0
        factors = [s.srcs[0] if s.op == "cast" and s.dtype is float32 else s for s in srcs[:n]]
        if not n or not all(s.dtype is float16 and _by_element(s) for s in factors):
            return None
        more = [Node("cast", (s,), s.shape, float32) if s.dtype is float16 else s for s in srcs[n:]]
        out = Node(node.op, (*factors, *more), node.shape, float32, node.arg)
        self.keep += [*more, out]
        return out if node.dtype is float32 else Node("cast", (out,), node.shape, node.dtype)

    def _structured(self, node: Node, srcs: tuple[Node, ...]) -> Node:
        """Structured kernels compute in 4- or 8-byte types: narrower ones are cast around them."""
        if node.op == "matmul" and (linear := self._linear(node, *srcs)) is not None:
            return linear
        if (product := self._of_halves(node, srcs)) is not None:
            return product
        if node.op == "sort" or (node.op == "matmul" and node.dtype is float32):
            return _rebuilt(node, srcs)
        if node.op == "store":
            narrow = self.caps.packed and node.dtype in PACKED
        else:
            narrow = node.dtype.code < int32.code or node.dtype in PACKED
        if not narrow:
            return _rebuilt(node, srcs)
        wide = float32 if node.dtype.is_floating_point else int32
        cast = tuple(
            Node("cast", (s,), s.shape, wide) if s.dtype is node.dtype else s for s in srcs
        )
        inner = Node(node.op, cast, node.shape, wide, node.arg)
        self.keep += [*cast, inner]
        return Node("cast", (inner,), node.shape, node.dtype)


def _by_element(node: Node, depth: int = 6) -> bool:
    """Is a value in memory, or made element by element? A kernel of rows cannot store halves."""
    node = base_of(node)
    if node.op not in FUSIBLE:
        return True
    if node.op == "reduce" or not depth:
        return False
    return False not in [_by_element(s, depth - 1) for s in node.srcs]


def _turned(shape: Shape) -> tuple[Shape, Shape, int]:
    """The window on a matrix that is its transpose: shape, strides and offset."""
    strides = contiguous_strides(shape)
    return shape[:-2] + shape[:-3:-1], strides[:-2] + strides[:-3:-1], 0


def _down(src: Node, k: int) -> bool:
    """Do the last k dimensions go down the columns of a matrix in memory?"""
    if src.op != "view" or src.srcs[0].op != "buffer":
        return False
    strides = [s for s, n in zip(src.arg[0], src.shape, strict=True) if n > 1]
    inner = sum(n > 1 for n in src.shape[len(src.shape) - k :])
    across, down = strides[: len(strides) - inner], strides[len(strides) - inner :]
    return bool(across and down) and across[-1] == 1 and min(down) > 1


def _rebuilt(node: Node, srcs: tuple[Node, ...]) -> Node:
    return node if srcs == node.srcs else Node(node.op, srcs, node.shape, node.dtype, node.arg)


def _compose(inner: Node, shape: Shape, strides: Shape, offset: int) -> Node | None:
    """view(view(x)) as one view."""
    moved = _compose_strides(inner.shape, inner.arg, shape, strides, offset)
    if moved is None:
        return None
    return Node("view", inner.srcs, shape, inner.dtype, moved)


def _compose_strides(
    mid: Shape, arg: tuple[Shape, int], shape: Shape, strides: Shape, offset: int
) -> tuple[Shape, int] | None:
    """A view over the numbering of ``mid``, itself a view ``arg``, as one view."""
    mid_strides, mid_offset = arg
    steps = decompose(shape, strides, offset, mid)
    if steps is None:
        merged, (inner,) = collapse(mid, [mid_strides])
        steps = decompose(shape, strides, offset, merged)
        if steps is None:
            return None
        mid_strides = inner
    start, along = steps
    out = tuple(k * mid_strides[d] if mid_strides else 0 for d, k in along)
    return out, mid_offset + sum(k * s for k, s in zip(start, mid_strides, strict=True))
