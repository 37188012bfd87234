"""The functions of the ``torch`` namespace, with ``out=`` where PyTorch has it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from . import dtypes as dt
from . import indexing, methods
from .amp import autocast
from .creation import LegacyType
from .functions import elementwise, gathering, linalg, movement, reduction, sorting
from .tensor import LEGACY_TYPES, Tensor

__all__ = [
    "autocast", "compile", "finfo", "get_float32_matmul_precision", "iinfo", "is_floating_point",
    "is_tensor", "numel", "set_float32_matmul_precision",
]  # fmt: skip


def with_out(f: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``out=``: the result is written into a given tensor, which is returned."""

    @functools.wraps(f)
    def g(*args: Any, out: Any = None, **kw: Any) -> Any:
        if out is None:
            return f(*args, **kw)
        y = f(*args, **kw)
        if isinstance(y, tuple):
            return type(y)(_into(f.__name__, o, v) for o, v in zip(out, y, strict=True))
        for x in args:
            if isinstance(x, Tensor):
                out._check_overlap(x)
        return _into(f.__name__, out, y)

    return g


def _into(name: str, out: Tensor, y: Tensor) -> Tensor:
    from .autograd import mode
    from .promotion import check_cast

    if mode.grad and (out.requires_grad or y.requires_grad):
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, "
            "but "
            "one of the arguments requires grad."
        )
    if y.dtype is not out.dtype:
        check_cast(y.dtype, out.dtype)
    out._resized(y._shape)
    return out._write(y)


_NO_OUT = set(
    """view reshape_as view_as expand expand_as view contiguous unbind split chunk squeeze unsqueeze
    permute transpose t movedim narrow select diagonal unfold as_strided flatten where_ equal
    allclose detach broadcast_to
    """.split()
)
_MORE = {
    elementwise: "where softplus polygamma",
    movement: "cat concat concatenate stack hstack vstack dstack atleast_1d atleast_2d atleast_3d "
    "broadcast_tensors broadcast_shapes tril_indices triu_indices cartesian_prod combinations "
    "detach",
    reduction: "var_mean std_mean vector_norm",
    linalg: "tensordot multi_dot chain_matmul cdist einsum",
    sorting: "searchsorted bucketize",
    gathering: "",
}
_NAMES = {
    elementwise: methods._ELEMENTWISE, movement: methods._MOVEMENT,
    reduction: methods._REDUCTION, linalg: methods._LINALG, gathering: methods._GATHERING,
    sorting: methods._SORTING,
}  # fmt: skip


def _export() -> None:
    for module, names in _NAMES.items():
        for name in (names + " " + _MORE[module]).split():
            if name in ("view_as", "reshape_as", "expand_as", "sum_to_size", "where_"):
                continue
            f = getattr(module, name)
            globals()[name] = f if name in _NO_OUT else with_out(f)
            __all__.append(name)
    for name in methods._INPLACE.split():  # torch.relu_(x) and its kin
        globals()[name + "_"] = getattr(Tensor, name + "_")
        __all__.append(name + "_")
    for name in LEGACY_TYPES:
        globals()[name] = LegacyType(name)
        __all__.append(name)
    for name, f in {"take": movement.take_flat, "index_put": indexing.index_put}.items():
        globals()[name] = f
        __all__.append(name)


_export()


def is_tensor(obj: Any) -> bool:
    """True for a Tensor."""
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> bool:
    """True for a tensor of floats."""
    return input.dtype.is_floating_point


def numel(input: Tensor) -> int:
    """Number of elements."""
    return input.numel()


def compile(model: Any = None, **options: Any) -> Any:
    """A function or module recorded once and replayed, see ``torch.compiler.compile``."""
    from . import compiler

    return compiler.compile(model, **options)


_precision = "highest"


def set_float32_matmul_precision(precision: str) -> None:
    """Accepted as in PyTorch; products are always computed in float32."""
    global _precision
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(
            f"Float32 matmul precision must be one of highest, high or medium, got {precision}"
        )
    _precision = precision


def get_float32_matmul_precision() -> str:
    """What ``set_float32_matmul_precision`` was given."""
    return _precision


class finfo:
    """Limits of a floating dtype, as ``torch.finfo``."""

    _BITS = {
        "float16": (16, 10, 15), "bfloat16": (16, 7, 127), "float32": (32, 23, 127),
        "float64": (64, 52, 1023),
    }  # fmt: skip

    def __init__(self, type: dt.DType | None = None) -> None:
        d = type or dt.get_default_dtype()
        if not d.is_floating_point:
            raise TypeError(
                f"torch.finfo() requires a floating point input type. Use torch.iinfo to handle "
                f"'{d.name}'"
            )
        self.bits, mantissa, top = self._BITS[d.name]
        self.dtype = d.name
        self.eps = 2.0**-mantissa
        self.max = (2.0 - self.eps) * 2.0**top
        self.min = -self.max
        self.tiny = self.smallest_normal = 2.0 ** (1 - top)
        self.resolution = {"float16": 1e-3, "bfloat16": 1e-2, "float32": 1e-6, "float64": 1e-15}[
            d.name
        ]

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, "
            f"eps={self.eps:g}, smallest_normal={self.tiny:g}, tiny={self.tiny:g}, "
            f"dtype={self.dtype})"
        )


class iinfo:
    """Limits of an integer dtype, as ``torch.iinfo``."""

    def __init__(self, type: dt.DType) -> None:
        if type.is_floating_point or type is dt.bool_:
            raise TypeError(
                "torch.iinfo() requires an integer input type. Use torch.finfo to handle "
                f"'{type.name}'"
            )
        self.bits = 8 * type.itemsize
        self.dtype = type.name
        self.min = -(1 << (self.bits - 1)) if type.is_signed else 0
        self.max = (1 << (self.bits - type.is_signed)) - 1

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"
