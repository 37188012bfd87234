"""Matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import dtypes as dt
from ..ops import functional as ops
from ..promotion import title
from ..shape import broadcast_shapes, numel
from ..tensor import Tensor


def _product(a: Tensor, b: Tensor) -> Tensor:
    """(…, M, K) @ (…, K, N): the GEMM for floats, multiply and sum for integers."""
    if a.dtype is not b.dtype:
        raise RuntimeError(
            "expected m1 and m2 to have the same dtype, but got: "
            f"{_c_name(a.dtype)} != {_c_name(b.dtype)}"
        )
    if a.dtype is dt.bool_:
        raise RuntimeError("\"addmm_impl_cpu_\" not implemented for 'Bool'")
    if a.dtype.is_floating_point:
        return ops.matmul(a, b)
    return (a.unsqueeze(-1) * b.unsqueeze(-3)).sum(-2).to(a.dtype)


def _c_name(d: dt.DType) -> str:
    return {"float32": "float", "float64": "double", "int64": "long", "int32": "int"}.get(
        d.name, f"c10::{title(d)}" if d.is_floating_point else d.name
    )


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """Product of two matrices."""
    if input.ndim != 2:
        raise RuntimeError("self must be a matrix")
    if mat2.ndim != 2:
        raise RuntimeError("mat2 must be a matrix")
    _check_inner(input, mat2)
    return _product(input, mat2)


def _check_inner(a: Tensor, b: Tensor) -> None:
    if a._shape[-1] != b._shape[-2]:
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({a._shape[-2]}x{a._shape[-1]} and "
            f"{b._shape[-2]}x{b._shape[-1]})"
        )


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """Products of matrices in two batches of one size."""
    for x in (input, mat2):
        if x.ndim != 3:
            raise RuntimeError(
                "batch1 must be a 3D tensor" if x is input else "batch2 must be a 3D tensor"
            )
    if input._shape[0] != mat2._shape[0] or input._shape[2] != mat2._shape[1]:
        want = [input._shape[0], input._shape[2]]
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: {want} but got: "
            f"{list(mat2._shape[:2])}."
        )
    return _labelled(_product(input, mat2), "BmmBackward0")


def _labelled(y: Tensor, name: str) -> Tensor:
    if y._grad_fn is not None:
        y._grad_fn.label = name
    return y


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Matrix product with vectors and broadcast batches, as ``torch.matmul``."""
    if not isinstance(other, Tensor):
        raise TypeError(
            f"matmul(): argument 'other' (position 2) must be Tensor, not {type(other).__name__}"
        )
    if not input._shape or not other._shape:
        raise RuntimeError(
            "both arguments to matmul need to be at least 1D, but they are "
            f"{input.ndim}D and {other.ndim}D"
        )
    if input.ndim == 1 and other.ndim == 1:
        return dot(input, other)
    a = input if input.ndim > 1 else input.unsqueeze(0)
    b = other if other.ndim > 1 else other.unsqueeze(1)
    if a._shape[-1] != b._shape[-2]:
        if other.ndim == 1:
            raise RuntimeError(
                f"size mismatch, got input ({a._shape[-2]}), mat ({a._shape[-2]}x{a._shape[-1]}), "
                f"vec ({other._shape[0]})"
            )
        _check_inner(a, b)
    if a.ndim > 2 and b.ndim == 2:  # one large product instead of many small ones
        rows = a.reshape(numel(a._shape[:-1]), a._shape[-1])
        y = _product(rows, b).reshape((*a._shape[:-1], b._shape[-1]))
    else:
        broadcast_shapes(a._shape[:-2], b._shape[:-2])
        y = _product(a, b)
    if input.ndim == 1:
        y = y.squeeze(-2)
    return y.squeeze(-1) if other.ndim == 1 else y


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """Product of a matrix and a vector."""
    if input.ndim != 2 or vec.ndim != 1:
        raise RuntimeError(f"vector + matrix @ vector expected, got 1, {input.ndim}, {vec.ndim}")
    if input._shape[1] != vec._shape[0]:
        raise RuntimeError(
            f"size mismatch, got input ({input._shape[0]}), mat ({input._shape[0]}x"
            f"{input._shape[1]}), vec ({vec._shape[0]})"
        )
    return matmul(input, vec)


def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """Sum of products of two vectors."""
    if input.ndim != 1 or tensor.ndim != 1:
        raise RuntimeError(f"1D tensors expected, but got {input.ndim}D and {tensor.ndim}D tensors")
    if input._shape != tensor._shape:
        raise RuntimeError(
            "inconsistent tensor size, expected tensor "
            f"[{input._shape[0]}] and src [{tensor._shape[0]}] to have the same number of "
            "elements, "
            f"but got {input._shape[0]} and {tensor._shape[0]} elements respectively"
        )
    if input.dtype is not tensor.dtype:
        raise RuntimeError(
            "dot : expected both vectors to have same dtype, but found "
            f"{title(input.dtype)} and {title(tensor.dtype)}"
        )
    return _labelled((input * tensor).sum().to(input.dtype), "DotBackward0")


inner_product = dot


def inner(input: Tensor, other: Tensor) -> Tensor:
    """Products summed over the last dimensions."""
    if not input._shape or not other._shape:
        return input * other
    return tensordot(input, other, ([-1], [-1]))


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """All products of two vectors."""
    for x in (input, vec2):
        if x.ndim != 1:
            raise RuntimeError(
                f"outer: Expected 1-D argument {'self' if x is input else 'vec2'}, but got "
                f"{x.ndim}-D"
            )
    return input.unsqueeze(1) * vec2


ger = outer


def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * mat1 @ mat2``."""
    return _labelled(_added(input, mm(mat1, mat2), beta, alpha), "AddmmBackward0")


def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * mat @ vec``."""
    return _added(input, mv(mat, vec), beta, alpha)


def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * outer(vec1, vec2)``."""
    return _added(input, outer(vec1, vec2), beta, alpha)


def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    """``beta * input + alpha * batch1 @ batch2``."""
    return _added(input, bmm(batch1, batch2), beta, alpha)


def _added(x: Tensor, y: Tensor, beta: Any, alpha: Any) -> Tensor:
    y = y if alpha == 1 else y * alpha
    if beta == 0:
        return y
    return (x if beta == 1 else x * beta) + y


def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """Products summed over pairs of dimensions."""
    if isinstance(dims, int):
        da, db = [*range(a.ndim - dims, a.ndim)], [*range(dims)]
    else:
        da, db = ([x] if isinstance(x, int) else list(x) for x in dims)
    da, db = [d % a.ndim for d in da], [d % b.ndim for d in db]
    for i, j in zip(da, db, strict=True):
        if a._shape[i] != b._shape[j]:
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {a._shape[i]} in dim {i} "
                f"and second has size {b._shape[j]} in dim {j}"
            )
    left = [d for d in range(a.ndim) if d not in da]
    right = [d for d in range(b.ndim) if d not in db]
    k = 1
    for d in da:
        k *= a._shape[d]
    x = a.permute(left + da).reshape(-1, k) if k else a.permute(left + da).reshape(_n(a, left), 0)
    y = (
        b.permute(db + right).reshape(k, -1)
        if k
        else b.permute(db + right).reshape(0, _n(b, right))
    )
    shape = tuple(a._shape[d] for d in left) + tuple(b._shape[d] for d in right)
    return _product(x, y).reshape(shape)


def _n(x: Tensor, dims: Sequence[int]) -> int:
    n = 1
    for d in dims:
        n *= x._shape[d]
    return n


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """A chain of matrix products, left to right."""
    y = tensors[0]
    for x in tensors[1:]:
        y = matmul(y, x)
    return y


chain_matmul = lambda *matrices: multi_dot(matrices)  # noqa: E731


def matrix_power(input: Tensor, n: int) -> Tensor:
    """A square matrix to a whole power."""
    if n < 0:
        raise NotImplementedError("matrix_power: n must not be negative (the inverse is not there)")
    out = input.new_ones((input._shape[-1],)).diag_embed().expand(input._shape)
    base = input
    while n:
        if n & 1:
            out = matmul(out, base)
        n >>= 1
        base = matmul(base, base) if n else base
    return out


def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The cross product of 3-vectors."""
    if dim is None:
        dim = next((d for d, n in enumerate(input._shape) if n == 3), -1)
    a, b = input, other
    if a._shape[dim] != 3 or b._shape[dim] != 3:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {a._shape[dim]} and "
            f"{b._shape[dim]}"
        )
    return a.roll(-1, dim) * b.roll(-2, dim) - a.roll(-2, dim) * b.roll(-1, dim)


def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product."""
    n = max(input.ndim, other.ndim)
    a = input.reshape((1,) * (n - input.ndim) + input._shape)
    b = other.reshape((1,) * (n - other.ndim) + other._shape)
    left = a.reshape(tuple(v for s in a._shape for v in (s, 1)))
    right = b.reshape(tuple(v for s in b._shape for v in (1, s)))
    return (left * right).reshape(tuple(x * y for x, y in zip(a._shape, b._shape, strict=True)))


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0) -> Tensor:
    """Distances between all pairs of rows."""
    from .reduction import vector_norm

    return vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)


# --- einsum -------------------------------------------------------------------------------------


def einsum(equation: Any, *operands: Any) -> Tensor:
    """Einstein summation, with ``...``, repeated and implicit output letters."""
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    inputs, output, xs = _parse(equation, list(operands))
    _check_sizes(xs, inputs)
    terms = [_diagonals(x, s) for x, s in zip(xs, inputs, strict=True)]
    x, s = terms[0]
    for i in range(1, len(terms)):
        y, t = terms[i]
        later = set(output).union(*[set(u) for _, u in terms[i + 1 :]])
        x, s = _contract(x, s, y, t, later)
    gone = [k for k, c in enumerate(s) if c not in output]
    if gone:
        x, s = x.sum(gone), "".join(c for c in s if c in output)
    return x.permute([s.index(c) for c in output]) if output != s else x


def _parse(equation: Any, xs: list[Tensor]) -> tuple[list[str], str, list[Tensor]]:
    """Letters per operand and of the result; an ellipsis becomes letters of its own."""
    if not isinstance(equation, str):
        raise TypeError(
            "einsum(): the sublist form is not supported; write the equation as a string"
        )
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    inputs = left.split(",")
    if len(inputs) != len(xs):
        more = "fewer" if len(xs) < len(inputs) else "more"
        raise RuntimeError(
            f"einsum(): {more} operands were provided than specified in the equation"
        )
    free = [c for c in "0123456789!@#$%&*" if c not in text]
    n_dots = 0
    for k, s in enumerate(inputs):
        named = s.replace("...", "", 1)
        if not all(c.isalpha() for c in named):
            bad = next(c for c in named if not c.isalpha())
            raise RuntimeError(
                f"einsum(): invalid subscript given at index {left.index(bad)} in the equation "
                "string, subscripts must be in [a-zA-Z]"
            )
        dots = xs[k].ndim - len(named)
        if dots < 0 or (dots and "..." not in s):
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({len(named)}) does not match "
                f"the number of dimensions ({xs[k].ndim}) for operand {k} and no ellipsis was given"
                if "..." not in s else
                f"einsum(): the number of subscripts in the equation ({len(named)}) is more than "
                f"the number of dimensions ({xs[k].ndim}) for operand {k}"
            )  # fmt: skip
        n_dots = max(n_dots, dots if "..." in s else 0)
        inputs[k] = s.replace("...", "".join(free[len(free) - dots :]) if dots else "")
    tail = "".join(free[len(free) - n_dots :]) if n_dots else ""
    if arrow:
        output = right.replace("...", tail)
        if len(set(output)) != len(output):
            twice = next(c for c in output if output.count(c) > 1)
            raise RuntimeError(
                f"einsum(): output subscript {twice} appears more than once in the output"
            )
        missing = [c for c in output if c not in "".join(inputs)]
        if missing:
            raise RuntimeError(
                f"einsum(): output subscript {missing[0]} does not appear in the equation for any "
                "input operand"
            )
    else:
        named = "".join(inputs)
        output = tail + "".join(
            sorted(c for c in set(named) if c.isalpha() and named.count(c) == 1)
        )
    return inputs, output, xs


def _check_sizes(xs: list[Tensor], inputs: list[str]) -> None:
    """A letter has one size, or 1 where it is broadcast; within an operand exactly one."""
    sizes: dict[str, int] = {}
    for k, (x, s) in enumerate(zip(xs, inputs, strict=True)):
        for d, (n, c) in enumerate(zip(x._shape, s, strict=True)):
            first = x._shape[s.index(c)]
            if n != first:
                raise RuntimeError(
                    f"einsum(): subscript {c} is repeated for operand {k} but the sizes don't "
                    f"match, {n} != {first}"
                )
            old = sizes.get(c, 1)
            if old != n and old != 1 and n != 1:
                if not c.isalpha():  # PyTorch's text lacks this space, too
                    raise RuntimeError(
                        f"einsum(): dimension {d} covered by ellipsis in operand {k}has size {n} "
                        f"which does not broadcast with previously seen ellipsis with size {old} "
                        "for the respective dimension"
                    )
                raise RuntimeError(
                    f"einsum(): subscript {c} has size {n} for operand {k} which does not "
                    f"broadcast with previously seen size {old}"
                )
            sizes[c] = max(old, n) if 0 not in (old, n) else 0


def _diagonals(x: Tensor, s: str) -> tuple[Tensor, str]:
    """Repeated letters of one operand become a diagonal."""
    while len(set(s)) < len(s):
        c = next(c for c in s if s.count(c) > 1)
        i, j = s.index(c), s.rindex(c)
        x = x.diagonal(0, i, j)
        s = "".join(d for k, d in enumerate(s) if k not in (i, j)) + c
    return x, s


def _contract(x: Tensor, s: str, y: Tensor, t: str, later: set[str]) -> tuple[Tensor, str]:
    """Two operands as one batched matrix product."""
    for c in [c for c in s if c not in t and c not in later]:
        x, s = x.sum(s.index(c)), s.replace(c, "")
    for c in [c for c in t if c not in s and c not in later]:
        y, t = y.sum(t.index(c)), t.replace(c, "")
    batch = [c for c in s if c in t and c in later]
    inner_ = [c for c in s if c in t and c not in later]
    rows, cols = [c for c in s if c not in t], [c for c in t if c not in s]
    a, b = _ordered(x, s, batch + rows + inner_), _ordered(y, t, batch + inner_ + cols)
    for c in batch + inner_:  # a size of 1 stretches
        a, b = _stretched(a, batch + rows + inner_, b, batch + inner_ + cols, c)
    out = batch + rows + cols
    na, nb = len(batch), len(inner_)
    shape = (*a._shape[: na + len(rows)], *b._shape[na + nb :])
    if not inner_:
        wide = a.reshape((*a._shape, *(1,) * len(cols)))
        tall = b.reshape((*b._shape[:na], *(1,) * len(rows), *b._shape[na:]))
        return wide * tall, "".join(out)
    lead = a._shape[:na]
    k = _n(a, range(na + len(rows), a.ndim))
    m, n = _n(a, range(na, na + len(rows))), _n(b, range(na + nb, b.ndim))
    y2 = _product(a.reshape((*lead, m, k)), b.reshape((*lead, k, n)))
    return y2.reshape(shape), "".join(out)


def _ordered(x: Tensor, s: str, want: list[str]) -> Tensor:
    return x.permute([s.index(c) for c in want])


def _stretched(a: Tensor, la: list[str], b: Tensor, lb: list[str], c: str) -> tuple[Tensor, Tensor]:
    i, j = la.index(c), lb.index(c)
    n, m = a._shape[i], b._shape[j]
    if n == m:
        return a, b
    if n == 1:
        return a.expand(tuple(m if k == i else v for k, v in enumerate(a._shape))), b
    return a, b.expand(tuple(n if k == j else v for k, v in enumerate(b._shape)))
