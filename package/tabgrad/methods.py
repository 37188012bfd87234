"""Makes methods of the functions: ``x.f(…)``, ``x.f_(…)`` and the operators."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from . import autograd, creation, indexing, random
from .functions import (
    conversion,
    elementwise,
    gathering,
    linalg,
    movement,
    reduction,
    sorting,
)
from .graph import capture
from .live import Live
from .promotion import check_cast
from .tensor import Tensor

_ELEMENTWISE = """
neg abs sign sgn positive floor ceil trunc round frac add sub rsub mul div floor_divide remainder
fmod pow square atan2 maximum minimum fmax fmin clamp clip clamp_min clamp_max relu lerp addcmul
addcdiv logaddexp hypot xlogy logit nan_to_num eq ne lt le gt ge not_equal less less_equal greater
greater_equal isnan isinf isfinite isposinf isneginf signbit isclose logical_not logical_and
logical_or logical_xor bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift
bitwise_not masked_fill heaviside copysign absolute negative arcsin arccos arctan arctan2 arcsinh
arccosh arctanh multiply divide true_divide subtract fix deg2rad rad2deg sinc sqrt rsqrt exp exp2
expm1 log log2 log10 log1p sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh sigmoid erf
erfc erfinv lgamma digamma reciprocal
"""
_MOVEMENT = """
view reshape view_as reshape_as flatten ravel unflatten squeeze unsqueeze permute transpose swapaxes
swapdims t movedim moveaxis expand expand_as broadcast_to repeat tile repeat_interleave
narrow select unbind split split_with_sizes chunk tensor_split hsplit vsplit diagonal diag
diag_embed unfold
as_strided clone contiguous flip fliplr flipud rot90 roll tril triu
"""
_REDUCTION = """
sum sum_to_size nansum prod mean nanmean var std amax amin aminmax argmax argmin max min median
any all count_nonzero equal allclose logsumexp softmax log_softmax norm dist cumsum cumprod cummax
cummin logcumsumexp trace
"""
_LINALG = """
mm bmm matmul mv dot inner outer ger addmm addmv addr baddbmm matrix_power cross kron
"""
_GATHERING = """
gather take_along_dim index_select scatter scatter_add scatter_reduce index_add index_copy
index_fill put nonzero argwhere masked_select masked_scatter where_ bincount
"""
_SORTING = "sort argsort msort topk kthvalue unique unique_consecutive quantile histc"
_CONVERSION = "to to_async cpu type_as type copy_ fill_ zero_ fill_diagonal_ set_ resize_ _resized"

_INPLACE = """
neg abs sign sgn floor ceil trunc round frac add sub mul div floor_divide remainder fmod pow square
atan2 clamp clip clamp_min clamp_max relu lerp addcmul addcdiv hypot xlogy logit nan_to_num eq ne lt
le gt ge logical_not logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor
bitwise_left_shift bitwise_right_shift bitwise_not masked_fill heaviside copysign absolute negative
multiply divide true_divide subtract fix deg2rad rad2deg sinc sqrt rsqrt exp exp2 expm1 log log2
log10 log1p sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh sigmoid erf erfc erfinv
lgamma digamma reciprocal not_equal less less_equal greater greater_equal arcsin arccos arctan tril
triu cumsum cumprod scatter scatter_add scatter_reduce index_add index_copy index_fill
masked_scatter put addmm addmv addr baddbmm
"""
_MOVED_INPLACE = "squeeze unsqueeze transpose swapaxes swapdims t"


def inplace(name: str, f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """``x.f_(…)`` from ``f(x, …)``: computes from the old value, then writes."""

    @functools.wraps(f)
    def g(self: Tensor, *args: Any, **kw: Any) -> Tensor:
        self._check_writable()
        for x in args:
            if isinstance(x, Tensor):
                self._check_overlap(x)
        y = f(self._before_write() if autograd.mode.grad else self, *args, **kw)
        if y._shape != self._shape:
            raise RuntimeError(
                f"output with shape {list(self._shape)} doesn't match the broadcast shape "
                f"{list(y._shape)}"
            )
        if y.dtype is not self.dtype:
            check_cast(y.dtype, self.dtype)
        return self._write(y)

    g.__name__ = g.__qualname__ = name + "_"
    g.__doc__ = f"As ``{name}``, in place."
    return g


def _moved_inplace(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Changes this window itself: ``x.t_()``."""

    def g(self: Tensor, *args: Any, **kw: Any) -> Tensor:
        if autograd.mode.grad and self.requires_grad:
            self._check_history()
        y = f(self, *args, **kw)
        fn = y.grad_fn
        capture.changes += 1
        self._shape, self._strides, self._offset = y._shape, y._strides, y._offset
        self._node = self._seen = None
        (self._counter or self.storage).version += 1
        if fn is not None:
            self._grad_fn = fn
        return self

    return g


def _attach() -> None:
    for names, module in (
        (_ELEMENTWISE, elementwise), (_MOVEMENT, movement), (_REDUCTION, reduction),
        (_LINALG, linalg), (_GATHERING, gathering), (_SORTING, sorting), (_CONVERSION, conversion),
    ):  # fmt: skip
        for name in names.split():
            setattr(Tensor, name, getattr(module, name))
            if name in _INPLACE_SET:
                setattr(Tensor, name + "_", inplace(name, getattr(module, name)))
    for name in _MOVED_INPLACE.split():
        f = getattr(movement, name)
        if name == "t":
            f = functools.partial(f, name="t_")
        setattr(Tensor, name + "_", _moved_inplace(f))
    for name, f in {**conversion.METHODS, **random.METHODS}.items():
        setattr(Tensor, name, f)
    for name in ("new_zeros", "new_ones", "new_empty", "new_full", "new_tensor"):
        setattr(Tensor, name, getattr(creation, name))


_INPLACE_SET = set(_INPLACE.split())


def _reflected(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda self, other: f(other, self)


_OPERANDS = (Tensor, int, float, Live)  # a tuple: a union would be made anew at every call


def _operator(f: Callable[..., Tensor]) -> Callable[..., Any]:
    """An operator answers NotImplemented to what it does not know, as Python asks."""

    def op(self: Tensor, other: Any) -> Any:
        if isinstance(other, _OPERANDS):
            return f(self, other)
        if hasattr(other, "__array__"):
            return f(self, creation.tensor(other, device=self.storage.device))
        return NotImplemented

    return op


def _operators() -> None:
    e = elementwise
    pairs = {
        "add": e.add, "sub": e.sub, "mul": e.mul, "truediv": e.div, "floordiv": e.floor_divide,
        "mod": e.remainder, "pow": e.pow, "and": e.bitwise_and, "or": e.bitwise_or,
        "xor": e.bitwise_xor, "lshift": e.bitwise_left_shift, "rshift": e.bitwise_right_shift,
    }  # fmt: skip
    for name, f in pairs.items():
        setattr(Tensor, f"__{name}__", _operator(f))
        setattr(Tensor, f"__r{name}__", _operator(_reflected(f)))
        setattr(Tensor, f"__i{name}__", inplace(name, f))
    for name in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(Tensor, f"__{name}__", _compared(getattr(e, name), name))
    for name, g in {
        "neg": e.neg, "pos": e.positive, "abs": e.abs, "invert": e.bitwise_not,
        "matmul": linalg.matmul, "getitem": indexing.getitem, "setitem": indexing.setitem,
    }.items():  # fmt: skip
        setattr(Tensor, f"__{name}__", g)
    for name, g in {
        "rmatmul": lambda self, other: linalg.matmul(other, self),
        "imatmul": inplace("matmul", linalg.matmul),
    }.items():
        setattr(Tensor, f"__{name}__", g)


def _compared(f: Callable[..., Tensor], name: str) -> Callable[..., Any]:
    def op(self: Tensor, other: Any) -> Any:
        if isinstance(other, _OPERANDS):
            return f(self, other)
        if hasattr(other, "__array__"):
            return f(self, creation.tensor(other, device=self.storage.device))
        return NotImplemented

    return op


def _property(name: str, f: Callable[[Tensor], Any], doc: str) -> None:
    setattr(Tensor, name, property(f, doc=doc))


def _where_method(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    """This tensor where the condition holds, else ``other``."""
    if isinstance(condition, bool):
        return self if condition else self * 0
    return elementwise.where(condition, self, other)


def _window_of_all(self: Tensor) -> Tensor:
    """``x[...]``: another view of everything."""
    return movement.apply_view(ALIAS, self)


def _alias_geometry(shape: Any, strides: Any, offset: int) -> Any:
    return shape, strides, offset


ALIAS = movement.ViewRow("alias", _alias_geometry, lambda g: g)


def _grad_enabled_apply_(self: Tensor, callable: Any) -> Tensor:
    """Calls a Python function on every element, in place; slow, on the host."""
    flat = [callable(v) for v in self.reshape(-1).tolist()]
    with autograd.no_grad():
        return self._write(self.new_tensor(flat).reshape(self._shape))


_attach()
_operators()
_property(
    "T", lambda x: movement.permute(x, tuple(reversed(range(x.ndim)))), "Dimensions reversed."
)
_property("mT", movement.mT, "The last two dimensions swapped.")
_property("H", lambda x: movement.t(x), "A matrix transposed.")
_property("real", lambda x: x, "The tensor itself: complex numbers are not there.")
_property("names", lambda x: (None,) * x.ndim, "Dimensions have no names.")
for _n, _f in {
    "where": _where_method, "_window_of_all": _window_of_all, "apply_": _grad_enabled_apply_,
    "index_put_": indexing.index_put_, "index_put": indexing.index_put,
    "take": movement.take_flat, "polygamma": lambda self, n: elementwise.polygamma(n, self),
    "is_shared": lambda self: False, "pin_memory": lambda self, device=None: self,
    "is_pinned": lambda self: False, "share_memory_": lambda self: self,
    "cuda": lambda self, *a, **k: self, "is_same_size": lambda a, b: a._shape == b._shape,
    "is_nonzero": lambda self: bool(self), "conj": lambda self: self,
    "resolve_conj": lambda self: self,
    "to_dense": lambda self: self,
}.items():  # fmt: skip
    setattr(Tensor, _n, _f)
