"""Parameter and Buffer: tensors that a Module takes note of when they become its attributes."""

from __future__ import annotations

from typing import Any, TypeVar

from ..tensor import Tensor

T = TypeVar("T", bound=Tensor)


def _alias_as(cls: type[T], data: Tensor | None) -> T:
    """The same storage as ``data``, without history, as an object of class ``cls``."""
    if data is None:
        from .. import creation

        data = creation.empty(0)
    if not isinstance(data, Tensor):
        raise TypeError(
            f"{cls.__name__}(): argument 'data' must be Tensor, not {type(data).__name__}"
        )
    alias = data.detach()
    alias.__class__ = cls
    return alias  # type: ignore[return-value]


class Parameter(Tensor):
    """A tensor that a :class:`Module` lists among its parameters once it is an attribute.

    Args:
        data: the values; the parameter shares their storage.
        requires_grad: whether gradients are computed for it.

    Examples::

        >>> w = nn.Parameter(torch.tensor([1.0, 2.0]))
        >>> w
        Parameter containing:
        tensor([1., 2.], requires_grad=True)
        >>> (w * w).sum().backward()
        >>> w.grad
        tensor([2., 4.])
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        out = _alias_as(cls, data)
        out.requires_grad_(requires_grad)
        return out

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        pass

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.detach().clone(), self.requires_grad)
        return memo[id(self)]

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return "Parameter containing:\n" + super().__repr__()

    __hash__ = Tensor.__hash__


class Buffer(Tensor):
    """A tensor that a :class:`Module` lists among its buffers once it is an attribute.

    Args:
        data: the values; the buffer shares their storage.
        persistent: whether the module's ``state_dict`` holds it.

    Examples::

        >>> m = nn.Module()
        >>> m.mean = nn.Buffer(torch.zeros(2))
        >>> list(m.state_dict())
        ['mean']
    """

    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Buffer:
        out = _alias_as(cls, data)
        if data is not None:
            out.requires_grad_(data.requires_grad)
        out.persistent = persistent
        return out

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True) -> None:
        pass

    __hash__ = Tensor.__hash__
