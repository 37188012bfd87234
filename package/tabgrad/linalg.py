"""Products and norms, as ``torch.linalg``; decompositions are not there."""

from __future__ import annotations

import math
from typing import Any

from .dtypes import DType
from .functions.linalg import cross, matmul, matrix_power, multi_dot
from .functions.movement import diagonal as _diagonal
from .functions.reduction import vector_norm
from .shape import wrap_dim
from .tensor import Tensor


def norm(
    A: Tensor,
    ord: Any = None,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Tensor:
    """The norm of vectors, or of matrices where two dimensions and an ``ord`` are given.

    Examples:
        >>> norm(torch.tensor([3.0, 4.0]))
        tensor(5.)
    """
    if ord is None or (dim is None and A.ndim == 1) or isinstance(dim, int):
        return vector_norm(A, 2 if ord is None else ord, dim, keepdim, dtype=dtype)
    dims = (-2, -1) if dim is None else tuple(dim)
    if len(dims) == 1:
        return vector_norm(A, ord, dims, keepdim, dtype=dtype)
    return matrix_norm(A, ord, dims, keepdim, dtype=dtype)


def matrix_norm(
    A: Tensor,
    ord: Any = "fro",
    dim: Any = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Tensor:
    """``"fro"``, or the largest (smallest for -1, -inf) sum of a column (±1) or row (±inf)."""
    if ord == "fro":
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if ord not in (1, -1, math.inf, -math.inf):
        raise NotImplementedError(
            f"matrix_norm(ord={ord!r}): the singular value decomposition is not there"
        )
    x = A.abs() if dtype is None else A.to(dtype).abs()
    rows, columns = (wrap_dim(d, A.ndim) for d in dim)
    summed, picked = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = x.sum(summed, keepdim=True)
    best = sums.amax(picked, True) if ord > 0 else sums.amin(picked, True)
    return best if keepdim else best.squeeze((rows, columns))


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """Products of vectors along a dimension."""
    return (x * y).sum(dim)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """A view of the diagonal of matrices."""
    return _diagonal(A, offset, dim1, dim2)


__all__ = [
    "cross", "diagonal", "matmul", "matrix_norm", "matrix_power", "multi_dot", "norm", "vecdot",
    "vector_norm",
]  # fmt: skip
