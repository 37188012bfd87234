"""Reductions over dimensions, and running ones."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from .. import autograd
from .. import dtypes as dt
from ..autograd.tape import broadcast_dims
from ..dtypes import DType
from ..graph import Node, cast, compare, const, elementwise, iota
from ..ops import functional as ops
from ..ops.row import Row
from ..promotion import title
from ..shape import Shape, numel, wrap_dim, wrap_dims
from ..tensor import Tensor
from .movement import _ints


def label(y: Tensor, name: str) -> Tensor:
    """Names the last tape entry as PyTorch does."""
    if y._grad_fn is not None:
        y._grad_fn.label = name
    return y


def _summable(x: Tensor, dtype: DType | None) -> tuple[Tensor, DType]:
    """Input in the dtype it is summed in, and the result's: integers in int64, halves in
    float32."""
    out = dtype or (x.dtype if x.dtype.is_floating_point else dt.int64)
    work = dt.float32 if out in (dt.float16, dt.bfloat16) else out
    return x if x.dtype is work else x.to(work), out


def sum(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """Sum of elements; integers and bools are summed in int64."""
    x, out = _summable(input, dtype)
    y = ops.reduce(x, "sum", wrap_dims(dim, input.ndim), keepdim)
    if input.requires_grad and y._grad_fn is not None:
        label(y, "SumBackward0" if dim is None else "SumBackward1")
    return y if y.dtype is out else y.to(out)


def sum_to_size(input: Tensor, *size: Any) -> Tensor:
    """Summed down to a shape that expands to this one's, as the gradient of an expanded tensor is;
    the tensor itself if it has that shape."""
    if not size:
        raise TypeError('sum_to_size() missing 1 required positional arguments: "size"')
    want, shape = _ints(size), input._shape
    pad = len(shape) - len(want)
    if pad < 0 or {*zip(want, shape[pad:], strict=True)} - {(n, m) for m in shape for n in (1, m)}:
        raise RuntimeError(f"size {{{list(want)}}} is not expandable to size {{{list(shape)}}}.")
    dims = broadcast_dims(shape, want)
    if not dims:
        return input
    y = sum(input, dims, True) if want else sum(input)
    return y.view(want) if pad and want else y


def nansum(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """Sum where nan counts as 0."""
    return sum(input.nan_to_num(0.0, math.inf, -math.inf), dim, keepdim, dtype=dtype)


def prod(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """Product of elements."""
    x, out = _summable(input, dtype)
    dims = wrap_dims(dim, input.ndim)
    return label(ops.reduce(x, "prod", dims, keepdim).to(out), "ProdBackward0")


def _float_only(name: str, x: Tensor, dtype: DType | None) -> Tensor:
    got = dtype or x.dtype
    if not got.is_floating_point:
        raise RuntimeError(
            f"{name}(): could not infer output dtype. Input dtype must be either a floating point "
            f"or complex dtype. Got: {title(got)}"
        )
    return x.to(got)


def mean(
    input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """Average of elements."""
    x = _float_only("mean", input, dtype)
    dims = wrap_dims(dim, x.ndim)
    n = numel(tuple(x._shape[d] for d in dims))
    work, out = _summable(x, x.dtype)
    total = ops.reduce(work, "sum", dims, keepdim)
    y = (total / n if n else total + math.nan).to(out)
    return label(y, "MeanBackward0" if dim is None else "MeanBackward1")


def nanmean(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Average of what is not nan."""
    count = (~input.isnan()).sum(dim, keepdim)
    return nansum(input, dim, keepdim) / count


def var(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: int | None = None,
) -> Tensor:
    """Variance, divided by ``n - correction`` (default 1)."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if correction is None:
        correction = 0 if unbiased is False else 1
    return _spread("var", input, dim, keepdim, correction)


def _spread(name: str, input: Tensor, dim: Any, keepdim: bool, correction: int) -> Tensor:
    """Variance or its root, with the gradient of both in closed form."""
    x = _float_only(name, input, None)
    dims = wrap_dims(dim, x.ndim)
    dof = numel(tuple(x._shape[d] for d in dims)) - correction
    with autograd.no_grad():
        centred = x - mean(x, dims or None, keepdim=True)
        y = sum(centred * centred, dims or None, keepdim) / max_(dof, 0)
        y = y.sqrt() if name == "std" else y
    if autograd.mode.grad and x.requires_grad:
        whole = dim is None or not x._shape
        kw = {"dims": dims, "keepdim": keepdim, "dof": dof, "whole": whole}
        autograd.record(VAR if name == "var" else STD, (x,), y, kw)
    return y


def _grad_var(g: Tensor, x: Tensor, dims: Shape, keepdim: bool, dof: int, whole: bool) -> Tensor:
    g = ops._spread(g, x._shape, dims, keepdim)
    centred = x - mean(x, dims or None, keepdim=True)
    if dof <= 0 and whole:
        return g * (centred == 0).where_(x.new_full((), math.nan), x.new_full((), math.inf))
    return g * centred * (2 / dof if dof else math.inf)


def _grad_std(
    g: Tensor, x: Tensor, out: Tensor, dims: Shape, keepdim: bool, dof: int, whole: bool
) -> Tensor:
    return _grad_var((g / (out * 2)).masked_fill(out == 0, 0.0), x, dims, keepdim, dof, whole)


def max_(a: Any, b: Any) -> Any:
    """Python's own max, shadowed here."""
    return a if a > b else b


def std(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: int | None = None,
) -> Tensor:
    """Standard deviation, by ``n - correction``."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if correction is None:
        correction = 0 if unbiased is False else 1
    return _spread("std", input, dim, keepdim, correction)


def var_mean(input: Tensor, dim: Any = None, **kw: Any) -> tuple[Tensor, Tensor]:
    """Variance and mean."""
    return var(input, dim, **kw), mean(input, dim, kw.get("keepdim", False))


def std_mean(input: Tensor, dim: Any = None, **kw: Any) -> tuple[Tensor, Tensor]:
    """Standard deviation and mean."""
    return std(input, dim, **kw), mean(input, dim, kw.get("keepdim", False))


# --- extremes -----------------------------------------------------------------------------------


def _check_nonempty(name: str, x: Tensor, dims: Shape, given: Any) -> None:
    for d in dims:
        if x._shape and x._shape[d] == 0:
            if given is None:
                raise RuntimeError(
                    f"{name}(): Expected reduction dim to be specified for input.numel() == 0. "
                    "Specify the reduction dim with the 'dim' argument."
                )
            raise IndexError(f"{name}(): Expected reduction dim {d} to have non-zero size.")


def amax(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """Maximum; the gradient is shared among equal maxima."""
    dims = wrap_dims(dim, input.ndim)
    _check_nonempty("amax", input, dims, None if dim in ((), None) else dim)
    return label(_amax(input, "max", dims, keepdim), "AmaxBackward0")


def amin(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """Minimum; the gradient is shared among equal minima."""
    dims = wrap_dims(dim, input.ndim)
    _check_nonempty("amin", input, dims, None if dim in ((), None) else dim)
    return label(_amax(input, "min", dims, keepdim), "AminBackward0")


def _amax(x: Tensor, kind: str, dims: Shape, keepdim: bool) -> Tensor:
    if x.dtype is dt.bool_:
        return _amax(x.to(dt.int32), kind, dims, keepdim).to(dt.bool_)
    if x.dtype.code < dt.int32.code:
        return ops.reduce(x.to(dt.int32), kind, dims, keepdim).to(x.dtype)
    return ops.reduce(x, kind, dims, keepdim)


def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """Minimum and maximum."""
    return MinMax(amin(input, dim, keepdim), amax(input, dim, keepdim))


class MinMax(NamedTuple):
    """Result of ``aminmax``."""

    min: Tensor
    max: Tensor


class Pair(tuple[Any, ...]):
    """Values and indices, printed as PyTorch's ``torch.return_types``."""

    name = "torch.return_types.max"

    @property
    def values(self) -> Tensor:
        """The values."""
        return self[0]

    @property
    def indices(self) -> Tensor:
        """Where they are, int64."""
        return self[1]

    def __repr__(self) -> str:
        return f"{self.name}(\nvalues={self[0]!r},\nindices={self[1]!r})"


def pair(name: str, values: Tensor, indices: Tensor) -> Pair:
    """A named (values, indices)."""
    kind = type(name, (Pair,), {"name": f"torch.return_types.{name}"})
    return kind((values, indices))


def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index of the first maximum (nan counts as the largest)."""
    return _arg(input, "max", dim, keepdim)


def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index of the first minimum (nan counts as the smallest)."""
    return _arg(input, "min", dim, keepdim)


def _arg(input: Tensor, kind: str, dim: int | None, keepdim: bool) -> Tensor:
    if input.dtype is dt.bool_:
        raise NotImplementedError(f"\"arg{kind}_cpu\" not implemented for 'Bool'")
    x = input.detach()
    if not x.numel():
        _check_arg(f"arg{kind}", x, dim)
    if dim is None:
        out = _arg_last(x.reshape(-1), kind)
        return out.reshape((1,) * input.ndim) if keepdim else out
    if not x._shape:
        return x.new_zeros((), dtype=dt.int64)
    d = wrap_dim(dim, x.ndim)
    out = _arg_last(x.movedim(d, -1), kind)
    return out.unsqueeze(d) if keepdim else out


def _check_arg(name: str, x: Tensor, dim: int | None) -> None:
    if dim is None:
        raise IndexError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0."
        )
    d = wrap_dim(dim, x.ndim)
    if not x._shape[d]:
        raise IndexError(f"{name}(): Expected reduction dim {d} to have non-zero size.")


def _arg_last(x: Tensor, kind: str) -> Tensor:
    """The first place of the extreme along the last dimension: one fused kernel of two loops."""
    if x.dtype.code < dt.int32.code:
        x = x.to(dt.int32)
    n = x._shape[-1]
    node = x.node()
    best = ops.reduce(x, kind, (x.ndim - 1,), True).node()
    hit = compare("eq", node, best)
    if x.dtype.is_floating_point:
        nan = elementwise("isnan", (node,), dt.bool_)
        hit = elementwise("or", (hit, nan), dt.bool_)
    place = iota(x._shape, (0,) * (x.ndim - 1) + (1,), 0, dt.int32)
    where = elementwise("where", (hit, place, const(n, dt.int32)), dt.int32)
    first = Node("reduce", (where,), x._shape[:-1], dt.int32, ("min", 1))
    return Tensor._wrap(cast(first, dt.int64), x.storage.device)


def _extreme(input: Tensor, kind: str, dim: Any, keepdim: bool, other: Any = None) -> Any:
    from .elementwise import maximum, minimum

    if isinstance(dim, Tensor):
        return (maximum if kind == "max" else minimum)(input, dim)
    if other is not None:
        return (maximum if kind == "max" else minimum)(input, other)
    if dim is None:
        _check_nonempty(kind, input, wrap_dims(None, input.ndim), None)
        return label(
            _amax(input, kind, wrap_dims(None, input.ndim), False), f"{kind.title()}Backward1"
        )
    if not input._shape:
        wrap_dim(dim, 0)
        return pair(kind, input.clone(), input.new_zeros((), dtype=dt.int64))
    d = wrap_dim(dim, input.ndim)
    _check_nonempty(kind, input, (d,), d)
    index = _arg(input if input.dtype is not dt.bool_ else input.to(dt.int32), kind, d, True)
    with autograd.no_grad():
        values = _amax(input, kind, (d,), True)
    if input.requires_grad and autograd.mode.grad:
        autograd.record(_Picked(d), (input,), values, {"index": index, "d": d})  # type: ignore[arg-type]
        label(values, f"{kind.title()}Backward0")
    if not keepdim:
        values, index = values.squeeze(d), index.squeeze(d)
        label(values, f"{kind.title()}Backward0")
    return pair(kind, values, index)


class _Picked:
    """Gradient of values picked along a dimension: goes to the place picked."""

    name = "picked"
    inputs = ("x",)

    def __init__(self, d: int) -> None:
        self.grads = (_grad_picked,)
        self.saves = (("g", "x_shape", "index", "d"),)


def _grad_picked(g: Tensor, x_shape: Shape, index: Tensor, d: int) -> Tensor:
    dims = range(len(x_shape))
    place = iota(
        tuple(x_shape[d] if k == d else 1 for k in dims),
        tuple(int(k == d) for k in dims),
        0,
        dt.int64,
    )
    here = Tensor._wrap(place, g.storage.device) == index
    return here.where_(g)


def max(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The maximum; with ``dim``, values and indices; with a tensor, ``maximum``."""
    return _extreme(input, "max", dim, keepdim, other)


def min(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The minimum; with ``dim``, values and indices; with a tensor, ``minimum``."""
    return _extreme(input, "min", dim, keepdim, other)


def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower median."""
    x = input.reshape(-1) if dim is None else input
    d = wrap_dim(-1 if dim is None else dim, x.ndim)
    s = x.sort(d)
    k = (x._shape[d] - 1) // 2
    values, indices = s[0].select(d, k), s[1].select(d, k)
    if dim is None:
        return values
    if keepdim:
        values, indices = values.unsqueeze(d), indices.unsqueeze(d)
    return pair("median", values, indices)


# --- truth --------------------------------------------------------------------------------------


def _truth(input: Tensor, dim: Any, keepdim: bool, kind: str) -> Tensor:
    flags = input if input.dtype is dt.bool_ else input != 0
    y = ops.reduce(flags.to(dt.int32), kind, wrap_dims(dim, input.ndim), keepdim)
    return y.to(dt.uint8 if input.dtype is dt.uint8 else dt.bool_)


def any(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """True if any element is."""
    if not input.numel():
        dims = wrap_dims(dim, input.ndim)
        return ops.reduce(input.to(dt.int32), "sum", dims, keepdim).to(dt.bool_)
    return _truth(input, dim, keepdim, "max")


def all(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """True if all elements are."""
    if not input.numel():
        dims = wrap_dims(dim, input.ndim)
        return ops.reduce(input.to(dt.int32), "sum", dims, keepdim) == 0
    return _truth(input, dim, keepdim, "min")


def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    """How many elements are not 0."""
    return sum(input != 0, dim)


def equal(input: Tensor, other: Tensor) -> bool:
    """True if shapes and all elements are equal."""
    return input._shape == other._shape and bool((input == other).all())


def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> bool:
    """True if all elements are close."""
    return bool(input.isclose(other, rtol, atol, equal_nan).all())


# --- logs and norms -----------------------------------------------------------------------------


def logsumexp(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """``log Σ exp`` without overflow."""
    dims = wrap_dims(dim, input.ndim)
    x = input if input.dtype.is_floating_point else input.to(dt.get_default_dtype())
    if not numel(tuple(x._shape[d] for d in dims)):
        return ops.reduce(x.exp(), "sum", dims, keepdim).log()
    top = ops.reduce(x.detach(), "max", dims, True)
    from .elementwise import where

    top = where(top.isinf(), top.new_zeros(()), top)
    y = sum((x - top).exp(), dims, keepdim).log()
    shift = top if keepdim else top.squeeze(dims)
    return label(y + shift, "LogsumexpBackward0")


def softmax(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """``exp(x - max) / Σ exp(x - max)`` along a dimension."""
    x = input if dtype is None else input.to(dtype)
    x = _soft_input("softmax", x)
    d = wrap_dim(dim, x.ndim)
    if not x.numel():
        return x.clone()
    dims = (d,) if x._shape else ()
    e = elementwise("exp", (_centred(x.node(), dims),), x.dtype)
    share = elementwise("reciprocal", (_total(e, dims),), x.dtype)
    y = Tensor._wrap(elementwise("mul", (e, share), x.dtype), x.storage.device)
    if autograd.mode.grad and x.requires_grad:
        autograd.record(SOFTMAX, (x,), y, {"d": d})
        label(y, "SoftmaxBackward0")
    return y


def _centred(x: Node, dims: Shape) -> Node:
    """``x - max``, so that no exponential overflows."""
    return elementwise("sub", (x, ops.reduce_node(x, "max", dims, True)), x.dtype)


def _total(x: Node, dims: Shape) -> Node:
    """Sum over dimensions that stay; halves are summed in float32."""
    work = dt.float32 if x.dtype in (dt.float16, dt.bfloat16) else x.dtype
    return cast(ops.reduce_node(cast(x, work), "sum", dims, True), x.dtype)


def _soft_input(name: str, x: Tensor) -> Tensor:
    if not x.dtype.is_floating_point:
        raise NotImplementedError(
            f"\"{name}_lastdim_kernel_impl\" not implemented for '{title(x.dtype)}'"
        )
    return x


def _grad_softmax(g: Tensor, out: Tensor, d: int) -> Tensor:
    weighted = g * out
    return weighted - out * (weighted.sum(d, keepdim=True) if out._shape else weighted)


def log_softmax(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """Logarithm of ``softmax`` without loss of precision."""
    x = input if dtype is None else input.to(dtype)
    x = _soft_input("log_softmax", x)
    d = wrap_dim(dim, x.ndim)
    if not x.numel():
        return x.clone()
    if not x._shape:
        return x - x
    centred = _centred(x.node(), (d,))
    total = _total(elementwise("exp", (centred,), x.dtype), (d,))
    logarithm = elementwise("log", (total,), x.dtype)
    y = Tensor._wrap(elementwise("sub", (centred, logarithm), x.dtype), x.storage.device)
    if autograd.mode.grad and x.requires_grad:
        autograd.record(LOG_SOFTMAX, (x,), y, {"d": d})
        label(y, "LogSoftmaxBackward0")
    return y


def _no_node(*_: Any) -> Node:
    raise TypeError("a composition makes no node of its own")


VAR = Row("var", "x", _no_node, {"x": _grad_var})
STD = Row("std", "x", _no_node, {"x": _grad_std})
# compositions whose own rule needs only the result
SOFTMAX = Row("softmax", "x", _no_node, {"x": _grad_softmax})
LOG_SOFTMAX = Row("log_softmax", "x", _no_node, {
    "x": lambda g, out, d: g - out.exp() * g.sum(d, keepdim=True),
})  # fmt: skip


def norm(
    input: Tensor,
    p: Any = "fro",
    dim: Any = None,
    keepdim: bool = False,
    dtype: DType | None = None,
) -> Tensor:
    """The p-norm of vectors (or the Frobenius norm)."""
    x = _float_only("linalg.vector_norm", input, dtype)
    if p is None or p == "fro":
        p = 2
    if p == "nuc":
        raise NotImplementedError("norm(p='nuc'): the singular value decomposition is not there")
    return label(vector_norm(x, float(p), dim, keepdim), "LinalgVectorNormBackward0")


def vector_norm(
    x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """``(Σ |x|^ord)^(1/ord)``, with the limits at 0 and ±inf."""
    x = _float_only("linalg.vector_norm", x, dtype)
    dims = wrap_dims(dim, x.ndim)
    size = x.abs() if ord != 2 else x
    if ord == math.inf:
        return amax(size, dims, keepdim) if x.numel() else sum(size, dims, keepdim)
    if ord == -math.inf:
        return amin(size, dims, keepdim)
    if ord == 0:
        return sum((x != 0).to(x.dtype), dims, keepdim)
    if ord == 1:
        return sum(size, dims, keepdim)
    if ord == 2:
        with autograd.no_grad():
            y = sum(x * x, dims, keepdim).sqrt()
        if autograd.mode.grad and x.requires_grad:
            y = y.detach()
            autograd.record(NORM2, (x,), y, {"dims": dims, "keepdim": keepdim})
        return y
    return sum(size**ord, dims, keepdim) ** (1 / ord)


def _grad_norm2(g: Tensor, x: Tensor, out: Tensor, dims: Shape, keepdim: bool) -> Tensor:
    """x / |x|, and 0 where the norm is 0."""
    g, out = (ops._spread(t, x._shape, dims, keepdim) for t in (g, out))
    return (g * x / out).masked_fill(out == 0, 0.0)


NORM2 = Row("linalg_vector_norm", "x", _no_node, {"x": _grad_norm2})


def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of the difference."""
    return vector_norm(input - other, p)


# --- running ------------------------------------------------------------------------------------


def _running(x: Tensor, dim: int, f: Any) -> Tensor:
    if not x._shape:
        wrap_dim(dim, 0)
        return f(x.reshape(1)).reshape(())
    d = wrap_dim(dim, x.ndim)
    last = d == x.ndim - 1
    y = f(x if last else x.transpose(d, -1).contiguous())
    return y if last else y.transpose(d, -1)


def cumsum(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """Running sum."""
    x, out = _summable(input, dtype)
    return label(_running(x, dim, lambda t: ops.scan(t, "sum")).to(out), "CumsumBackward0")


def cumprod(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """Running product; its gradient is exact also where factors are 0."""
    x, out = _summable(input, dtype)
    return label(_running(x, dim, _cumprod_last).to(out), "CumprodBackward0")


def _cumprod_last(x: Tensor) -> Tensor:
    y = ops.scan(x.detach(), "prod")
    if autograd.mode.grad and x.requires_grad:
        autograd.record(CUMPROD, (x,), y, {})
    return y


def _grad_cumprod(g: Tensor, x: Tensor, out: Tensor) -> Tensor:
    """Σ_{k≥i} g_k Π_{j≤k, j≠i} x_j, as a product with one factor replaced (n² work, any zeros)."""
    n = x._shape[-1]
    eye = x.new_ones((n,)).diag_embed().to(dt.bool_)
    others = x.unsqueeze(-2).expand((*x._shape[:-1], n, n)).masked_fill(eye, 1.0)
    runs = (
        _running(others, -1, lambda t: ops.scan(t, "prod"))
        if not x.requires_grad
        else (_cumprod_last(others))
    )
    runs = runs.triu()
    return (runs * g.unsqueeze(-2)).sum(-1)


CUMPROD = Row("cumprod", "x", _no_node, {"x": _grad_cumprod})


def cummax(input: Tensor, dim: int) -> Pair:
    """Running maximum, and where it was last reached."""
    return _cum_extreme(input, dim, "max")


def cummin(input: Tensor, dim: int) -> Pair:
    """Running minimum, and where it was last reached."""
    return _cum_extreme(input, dim, "min")


def _cum_extreme(input: Tensor, dim: int, kind: str) -> Pair:
    x = input.detach()
    if not x._shape:
        wrap_dim(dim, 0)
        return pair(f"cum{kind}", input.clone(), x.new_zeros((), dtype=dt.int64))
    d = wrap_dim(dim, x.ndim)
    xt = x.transpose(d, -1).contiguous()
    best = ops.scan(xt, kind)
    place = iota(xt._shape, (0,) * (xt.ndim - 1) + (1,), 0, dt.int32)
    hit = xt == best
    if x.dtype.is_floating_point:
        hit = hit | (xt.isnan() & best.isnan())
    marks = elementwise("where", (hit.node(), place, const(0, dt.int32)), dt.int32)
    index = ops.scan(Tensor._wrap(marks, x.storage.device), "max").to(dt.int64).transpose(d, -1)
    return pair(f"cum{kind}", input.gather(d, index), index)


def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """Running ``log Σ exp``."""
    top = input.detach().amax(dim, keepdim=True) if input.numel() else input.detach()
    return (input - top).exp().cumsum(dim).log() + top


def trace(input: Tensor) -> Tensor:
    """Sum of the diagonal."""
    if input.ndim != 2:
        raise RuntimeError("trace: expected a matrix, but got tensor with dim " + str(input.ndim))
    return sum(input.diagonal())
