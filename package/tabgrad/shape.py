"""Pure arithmetic of shapes, strides and views. Knows no tensors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod

Shape = tuple[int, ...]


@lru_cache(4096)
def numel(shape: Shape) -> int:
    """Number of elements of a shape."""
    return prod(shape)


@lru_cache(4096)
def contiguous_strides(shape: Shape) -> Shape:
    """Row-major strides in elements; as PyTorch, a size of 0 counts as 1."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


@lru_cache(4096)
def is_contiguous(shape: Shape, strides: Shape) -> bool:
    """True if the elements lie in row-major order without gaps."""
    step = 1
    for n, s in zip(reversed(shape), reversed(strides), strict=True):
        if n == 0:
            return True
        if n != 1 and s != step:
            return False
        step *= n
    return True


@lru_cache(4096)
def broadcast_shapes(a: Shape, b: Shape) -> Shape:
    """The common shape of two operands; raises PyTorch's RuntimeError."""
    if a == b:
        return a
    n = max(len(a), len(b))
    xs, ys = (1,) * (n - len(a)) + a, (1,) * (n - len(b)) + b
    out = []
    for i, (x, y) in reversed([*enumerate(zip(xs, ys, strict=True))]):  # PyTorch names the last
        if x != y and x != 1 and y != 1:
            raise RuntimeError(
                f"The size of tensor a ({x}) must match the size of tensor b ({y}) "
                f"at non-singleton dimension {i}"
            )
        out.append(y if x == 1 else x)
    return tuple(reversed(out))


def broadcast_strides(shape: Shape, strides: Shape, to: Shape) -> Shape:
    """Strides of an operand of ``shape`` seen at the broadcast shape ``to``."""
    pad = len(to) - len(shape)
    return (0,) * pad + tuple(
        0 if n == 1 and m != 1 else s for n, s, m in zip(shape, strides, to[pad:], strict=True)
    )


def wrap_dim(dim: int, ndim: int) -> int:
    """A dimension counted from the end made positive; raises PyTorch's IndexError."""
    n = ndim or 1
    if not -n <= dim < n:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})"
        )
    return dim + n if dim < 0 else dim


def wrap_dims(dims: int | Sequence[int] | None, ndim: int) -> Shape:
    """Several dimensions; None and () mean all. Raises on repeats."""
    if dims is None:
        return tuple(range(ndim))
    out = tuple(wrap_dim(d, ndim) for d in ((dims,) if isinstance(dims, int) else dims))
    if not out:
        return tuple(range(ndim))
    for d in out:
        if out.count(d) > 1:
            raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    return out if ndim else ()


@lru_cache(4096)
def infer_size(shape: Shape, n: int) -> Shape:
    """Replaces the one -1 of a requested shape; raises PyTorch's RuntimeError."""
    known, hole = 1, -1
    for i, s in enumerate(shape):
        if s == -1:
            if hole >= 0:
                raise RuntimeError("only one dimension can be inferred")
            hole = i
        elif s < 0:
            raise RuntimeError(f"invalid shape dimension {s}")
        else:
            known *= s
    if hole >= 0:
        if known == 0:
            raise RuntimeError(
                f"cannot reshape tensor of 0 elements into shape {list(shape)} because the "
                "unspecified dimension size -1 can be any value and is ambiguous"
            )
        if n % known == 0:
            return (*shape[:hole], n // known, *shape[hole + 1 :])
    elif known == n:
        return tuple(shape)
    raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {n}")


@lru_cache(4096)
def reshape_strides(shape: Shape, strides: Shape, new: Shape) -> Shape | None:
    """Strides that show a view under a new shape as large, or None if that needs a copy."""
    if not numel(shape):
        return contiguous_strides(new)
    # runs of dimensions that are contiguous among themselves: (elements, innermost stride)
    runs: list[list[int]] = []
    for n, s in zip(shape, strides, strict=True):
        if n == 1:
            continue
        if runs and runs[-1][1] == s * n:
            runs[-1][0] *= n
            runs[-1][1] = s
        else:
            runs.append([n, s])
    out: list[int] = []
    i = len(new) - 1
    for n, s in reversed(runs):
        done = 1
        while i >= 0 and (done < n or new[i] == 1):
            out.append(s * done)
            done *= new[i]
            i -= 1
        if done != n:
            return None
    fill = out[-1] * new[i + 1] if out and i + 1 < len(new) else 1
    while i >= 0:  # leading dimensions of size 1
        out.append(fill)
        i -= 1
    return tuple(reversed(out))


def extent(shape: Shape, strides: Shape, offset: int) -> tuple[int, int]:
    """Lowest and highest address a view touches; (0, -1) when it is empty."""
    if not numel(shape):
        return 0, -1
    lo = hi = offset
    for n, s in zip(shape, strides, strict=True):
        if s > 0:
            hi += (n - 1) * s
        else:
            lo += (n - 1) * s
    return lo, hi


def overlaps_itself(shape: Shape, strides: Shape) -> bool:
    """True if two indices of a view may share an address (expanded or overlapping windows)."""
    reach = 0
    for s, n in sorted((abs(s), n) for n, s in zip(shape, strides, strict=True) if n > 1):
        if s <= reach:
            return True
        reach += s * (n - 1)
    return False


def refine(a: Shape, b: Shape) -> Shape | None:
    """The coarsest shape of which both are groupings in linear order, or None."""
    if a == b:
        return a
    marks = sorted(_suffixes(a) | _suffixes(b), reverse=True)
    out = []
    for big, small in zip(marks, marks[1:], strict=False):
        if big % small:
            return None
        out.append(big // small)
    return tuple(out)


def _suffixes(shape: Shape) -> set[int]:
    out, step = {1}, 1
    for n in reversed(shape):
        step *= n
        out.add(step)
    return out


def split_strides(shape: Shape, strides: Shape, fine: Shape) -> Shape:
    """Strides of a view of ``shape`` over ``fine``, a refinement of it (no sizes of 1 in it)."""
    out: list[int] = []
    i = len(fine) - 1
    for n, s in zip(reversed(shape), reversed(strides), strict=True):
        done = 1
        while done < n:
            out.append(s * done)
            done *= fine[i]
            i -= 1
    return tuple(reversed(out))


def collapse(shape: Shape, views: Sequence[Shape]) -> tuple[Shape, list[Shape]]:
    """Merges neighbouring dimensions wherever all views step through them as through one."""
    dims: list[int] = []
    strides: list[list[int]] = [[] for _ in views]
    for i, n in enumerate(shape):
        if n == 1:
            continue
        if dims and all(out[-1] == view[i] * n for out, view in zip(strides, views, strict=True)):
            dims[-1] *= n
            for out, view in zip(strides, views, strict=True):
                out[-1] = view[i]
        else:
            dims.append(n)
            for out, view in zip(strides, views, strict=True):
                out.append(view[i])
    return tuple(dims), [tuple(s) for s in strides]


def decompose(
    shape: Shape, strides: Shape, offset: int, source: Shape
) -> tuple[Shape, list[tuple[int, int]]] | None:
    """A view over the linear numbering of ``source`` as steps along its dimensions.

    Returns the start index and, per dimension of the view, (source dimension, step), or None if
    the view is not made of such steps.
    """
    basis = contiguous_strides(source)
    start, rest = [], offset
    for n, b in zip(source, basis, strict=True):
        k = min(rest // b, n - 1)
        start.append(k)
        rest -= k * b
    if rest or offset < 0:
        return None
    low, high = list(start), list(start)
    steps: list[tuple[int, int]] = []
    for n, s in zip(shape, strides, strict=True):
        if n == 1 or s == 0:
            steps.append((0, 0))
            continue
        d = next((d for d, b in enumerate(basis) if source[d] > 1 and s % b == 0), None)
        if d is None:
            return None
        step = s // basis[d]
        (high if step > 0 else low)[d] += step * (n - 1)
        steps.append((d, step))
    if any(lo < 0 or hi >= n for lo, hi, n in zip(low, high, source, strict=True)):
        return None
    return tuple(start), steps
