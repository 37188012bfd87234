"""Changing a whole tree of modules: device, dtype, mode, gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ..autograd import no_grad
from ..graph import capture
from ..tensor import Tensor
from ._tree import Tree

if TYPE_CHECKING:
    from .module import Module

M = TypeVar("M", bound="Changing")


class Changing(Tree):
    """A module whose parameters and buffers are changed together."""

    training: bool

    def _apply(self: M, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> M:
        """Replaces the values of every parameter, gradient and buffer; the objects stay."""
        for module in self.children() if recurse else ():
            module._apply(fn)
        for param in self._parameters.values():
            if param is not None:
                with no_grad():
                    param.data = fn(param)
                    if param.grad is not None:
                        param.grad.data = fn(param.grad)
        capture.changes += 1
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def apply(self: M, fn: Callable[[Module], None]) -> M:
        """Calls ``fn`` on every submodule and then on this module; used to initialise."""
        for module in self.children():
            module.apply(fn)
        fn(cast("Module", self))
        return self

    def to(self: M, *args: Any, **kwargs: Any) -> M:
        """Moves and converts in place: ``to(device)``, ``to(dtype)``, ``to(device, dtype)``,
        ``to(tensor)``. Only floating-point entries change their dtype.

        Examples::

            >>> nn.Linear(2, 2).to(torch.float16).weight.dtype
            torch.float16
        """
        device, dtype = _parse_to(*args, **kwargs)
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, but got desired "
                f"dtype={dtype}"
            )
        moved = {} if device is None else {"device": device}
        both = moved if dtype is None else {**moved, "dtype": dtype}
        return self._apply(lambda t: t.to(**(both if t.is_floating_point() else moved)))

    def _to_float(self: M, dtype: Any) -> M:
        return self._apply(lambda t: t.to(dtype) if t.is_floating_point() else t)

    def float(self: M) -> M:
        """Floating-point entries become float32."""
        return self._to_float(_dtype("float32"))

    def double(self: M) -> M:
        """Floating-point entries become float64."""
        return self._to_float(_dtype("float64"))

    def half(self: M) -> M:
        """Floating-point entries become float16."""
        return self._to_float(_dtype("float16"))

    def bfloat16(self: M) -> M:
        """Floating-point entries become bfloat16."""
        return self._to_float(_dtype("bfloat16"))

    def type(self: M, dst_type: Any) -> M:
        """Every parameter and buffer becomes ``dst_type``."""
        return self._apply(lambda t: t.type(dst_type))

    def cpu(self: M) -> M:
        """Moves everything to the host's executor."""
        return self._apply(lambda t: t.cpu())

    def cuda(self: M, device: Any = None) -> M:
        """Moves everything to ``"cuda"``, where the library maps that name to a device."""
        return self.to("cuda" if device is None else device)

    def to_empty(self: M, *, device: Any, recurse: bool = True) -> M:
        """Moves everything without copying values."""
        from .. import creation

        return self._apply(lambda t: creation.empty_like(t, device=device), recurse)

    def share_memory(self: M) -> M:
        """Nothing to do: there is one process."""
        return self

    def train(self: M, mode: bool = True) -> M:
        """Sets training mode here and below: dropout drops, batch norm uses the batch."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self: M) -> M:
        """Sets evaluation mode: the same as ``train(False)``."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Sets ``requires_grad`` of every parameter."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops the gradients of all parameters, or fills them with zeros."""
        for param in self.parameters():
            if set_to_none:
                param.grad = None
            elif param.grad is not None:
                param.grad = param.grad.detach().zero_()


def _dtype(name: str) -> Any:
    from .. import dtypes

    return getattr(dtypes, name)


def _parse_to(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """Device and dtype of ``to``'s arguments."""
    from ..dtypes import DType

    device, dtype = kwargs.get("device"), kwargs.get("dtype")
    args = (*args, kwargs["tensor"]) if "tensor" in kwargs else args
    for arg in args:
        if isinstance(arg, Tensor):
            device, dtype = arg.device, arg.dtype
        elif isinstance(arg, DType):
            dtype = arg
        elif arg is not None and not isinstance(arg, bool):
            device = arg
    return device, dtype
