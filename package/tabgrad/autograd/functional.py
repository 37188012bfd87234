"""Jacobians, Hessians and products with them, as ``torch.autograd.functional``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from . import tape


def _inputs(inputs: Any, create_graph: bool) -> tuple[bool, tuple[Tensor, ...]]:
    """Whether a tuple was given, and inputs of which the gradient can be asked for."""
    many = isinstance(inputs, tuple)
    xs = inputs if many else (inputs,)
    for k, x in enumerate(xs):
        if not isinstance(x, Tensor):
            raise TypeError(
                "The inputs given to the function must be either a Tensor or a tuple of Tensors "
                f"but the value at index {k} has type {type(x)}."
            )
    with tape.enable_grad():
        return many, tuple(
            x.view_as(x) if create_graph and x.requires_grad else x.detach().requires_grad_()
            for x in xs
        )


def _outputs(func: Callable[..., Any], xs: tuple[Tensor, ...]) -> tuple[bool, tuple[Tensor, ...]]:
    with tape.enable_grad():
        out = func(*xs)
    many = isinstance(out, tuple)
    ys = out if many else (out,)
    for k, y in enumerate(ys):
        if not isinstance(y, Tensor):
            raise TypeError(
                "The outputs of the user-provided function must be either a Tensor or a tuple of "
                f"Tensors but the value at index {k} has type {type(y)}."
            )
    return many, ys


def _grad(
    ys: Any, xs: Any, gs: Any, create_graph: bool, strict: bool = False, keep: bool = True
) -> tuple[Tensor, ...]:
    """Gradients, zeros where an input was not used (an error if ``strict``)."""
    pairs = [(y, g) for y, g in zip(ys, gs, strict=True) if y.requires_grad]
    with tape.enable_grad():
        got: Any = [None] * len(xs)
        if pairs:
            used, seeds = zip(*pairs, strict=True)
            got = tape.grad(used, xs, seeds, keep, create_graph, allow_unused=True)
    for k, g in enumerate(got):
        if g is None and strict:
            raise RuntimeError(
                f"The output of the user-provided function is independent of input {k}. This is "
                "not allowed in strict mode."
            )
    return tuple(x.new_zeros(x._shape) if g is None else g for g, x in zip(got, xs, strict=True))


def _vectors(v: Any, like: tuple[Tensor, ...], what: str) -> tuple[Tensor, ...]:
    """The vector of a product, checked against what it is multiplied with."""
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise RuntimeError(
                f"The vector v can only be None if {what} returns a single Tensor with a single "
                "element."
            )
        return (like[0].new_ones(like[0]._shape),)
    vs = v if isinstance(v, tuple) else (v,)
    if len(vs) != len(like):
        raise RuntimeError(
            f"v is a tuple of invalid length: should be {len(like)} but got {len(vs)}."
        )
    for k, (a, b) in enumerate(zip(vs, like, strict=True)):
        if a._shape != b._shape:
            at = f"Entry {k} in v" if len(vs) > 1 else "v"
            raise RuntimeError(f"{at} has invalid size: should be {b.shape} but got {a.shape}.")
    return vs


def _given(many: bool, values: tuple[Tensor, ...], create_graph: bool) -> Any:
    out = values if create_graph else tuple(v.detach() for v in values)
    return out if many else out[0]


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """Derivatives of every output element with respect to every input element.

    Examples:
        >>> jacobian(lambda x: x * x.sum(), torch.tensor([1.0, 2.0]))
        tensor([[4., 1.],
                [2., 5.]])
    """
    many_in, xs = _inputs(inputs, create_graph)
    many_out, ys = _outputs(func, xs)
    rows = tuple(_rows(y, xs, create_graph, strict) for y in ys)
    out = tuple(_given(many_in, row, create_graph) for row in rows)
    return out if many_out else out[0]


def _rows(y: Tensor, xs: Any, create_graph: bool, strict: bool) -> tuple[Tensor, ...]:
    """Per input, the gradients of all elements of one output, stacked in its shape."""
    from ..functions.movement import stack

    elements = [_grad((e,), xs, (e.new_ones(()),), create_graph, strict) for e in _elements(y)]
    if not elements:
        return tuple(x.new_zeros((*y._shape, *x._shape)) for x in xs)
    return tuple(
        stack([g[k] for g in elements]).reshape((*y._shape, *x._shape)) for k, x in enumerate(xs)
    )


def _elements(y: Tensor) -> tuple[Tensor, ...]:
    with tape.enable_grad():
        return y.reshape(-1).unbind(0)


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """Second derivatives of a function that returns one number.

    Examples:
        >>> hessian(lambda x: (x**3).sum(), torch.tensor([1.0, 2.0]))
        tensor([[ 6.,  0.],
                [ 0., 12.]])
    """

    def first(*xs: Tensor) -> Any:
        return jacobian(_scalar(func, "hessian"), xs, create_graph=True)

    many, xs = _inputs(inputs, create_graph)
    out = jacobian(first, xs, create_graph, strict)
    return out if many else out[0][0]


def _scalar(func: Callable[..., Any], name: str) -> Callable[..., Any]:
    def checked(*xs: Tensor) -> Any:
        y = func(*xs)
        if not isinstance(y, Tensor):
            raise RuntimeError(f"The function given to {name} should return a single Tensor")
        if y.numel() != 1:
            raise RuntimeError(
                "The Tensor returned by the function given to "
                f"{name} should contain a single element"
            )
        return y.reshape(())

    return checked


def vjp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """The outputs, and the product of a vector with the Jacobian."""
    many_in, xs = _inputs(inputs, create_graph)
    many_out, ys = _outputs(func, xs)
    got = _grad(ys, xs, _vectors(v, ys, "the user-provided function"), create_graph, strict)
    return _given(many_out, ys, create_graph), _given(many_in, got, create_graph)


def jvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """The outputs, and the product of the Jacobian with a vector: backward of backward."""
    _, xs = _inputs(inputs, create_graph)
    vs = _vectors(v, xs, "the input of the function")
    many_out, ys = _outputs(func, xs)
    seeds = tuple(y.new_zeros(y._shape).requires_grad_() for y in ys)
    first = _grad(ys, xs, seeds, True, strict)
    got = _grad(first, seeds, vs, create_graph)
    return _given(many_out, ys, create_graph), _given(many_out, got, create_graph)


def vhp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """The output, and the product of a vector with the Hessian."""
    many, xs = _inputs(inputs, create_graph)
    vs = _vectors(v, xs, "the input of the function")
    _, ys = _outputs(_scalar(func, "vhp"), xs)
    first = _grad(ys, xs, (ys[0].new_ones(()),), True, strict)
    got = _grad(first, xs, vs, create_graph)
    return _given(False, ys, create_graph), _given(many, got, create_graph)


hvp = vhp  # the Hessian is symmetric

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]
