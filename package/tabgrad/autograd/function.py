"""autograd.Function: an op whose forward and backward the user writes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any
from weakref import ref

from ..graph import const
from ..tensor import Tensor
from . import tape as autograd


class FunctionCtx:
    """What forward hands to backward."""

    def __init__(self) -> None:
        self._saved: tuple[Any, ...] = ()
        self._dirty: tuple[Tensor, ...] = ()
        self._fixed: tuple[Tensor, ...] = ()
        self._materialize = True
        self._entry: Callable[[], autograd.Entry | None] | None = None  # which holds this
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keeps tensors for backward; writing to them in between raises there."""
        self._saved = tensors

    save_for_forward = save_for_backward

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Says which inputs forward wrote to."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Says which outputs have no gradient."""
        self._fixed = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether missing output gradients come as zeros (default) or None."""
        self._materialize = value

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What ``save_for_backward`` kept."""
        if self._entry is None:
            return self._saved
        entry = self._entry()
        if entry is None or entry.saved is None:
            raise RuntimeError(autograd._FREED)
        return tuple(
            None if s is None else autograd.unpack(s, entry) for s in entry.saved["tensors"]
        )


class _CustomEntry(autograd.Entry):
    """A tape entry that calls the user's backward."""

    cls: Any
    ctx: Any
    out_metas: Any

    def name(self) -> str:
        return f"{self.cls.__name__}Backward"

    def release(self) -> None:
        if self.saved and self.saved["tensors"]:
            self.saved = None

    def backward(self, grads: list[Any]) -> list[Any]:
        ctx = self.ctx
        if self.saved is None:
            raise RuntimeError(autograd._FREED)
        if ctx._materialize:
            grads = [
                Tensor._wrap(const(0, dtype, shape), device) if g is None else g
                for g, (shape, dtype, device) in zip(grads, self.out_metas, strict=True)
            ]
        out = self.cls.backward(ctx, *grads)
        out = list(out) if isinstance(out, tuple | list) else [out]
        while len(out) > len(self.edges) and out[-1] is None:
            out.pop()
        if len(out) != len(self.edges):
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients (expected "
                f"{len(self.edges)}, got {len(out)})"
            )
        return out


class Function:
    """Base of user-defined ops: define static ``forward(ctx, …)`` and ``backward(ctx, …)``, call
    ``apply``. Source: the interface of ``torch.autograd.Function``.

    Examples:
        >>> class Double(torch.autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         return x * 2
        ...
        ...     @staticmethod
        ...     def backward(ctx, g):
        ...         return g * 2
        >>> x = torch.ones(2, requires_grad=True)
        >>> Double.apply(x).sum().backward()
        >>> x.grad
        tensor([2., 2.])
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Computes the result; the first argument is ``ctx`` unless ``setup_context`` is there."""
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """One gradient per input of forward."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom "
            "autograd.Function to use it with backward mode AD."
        )

    vjp = backward
    setup_context: Callable[..., Any] | None = None

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Runs forward and writes backward on the tape."""
        ctx = FunctionCtx()
        tensors = [a for a in args if isinstance(a, Tensor)]
        ctx.needs_input_grad = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        track = autograd.mode.grad and any(ctx.needs_input_grad)
        edges = tuple(autograd.edge(a) if isinstance(a, Tensor) and track else None for a in args)
        with autograd.no_grad():
            if cls.setup_context is None:
                out = cls.forward(ctx, *args, **kwargs)
            else:
                out = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, out)
        if not track:
            return out
        return _tracked(cls, ctx, args, edges, tensors, out)


def _tracked(
    cls: type[Function],
    ctx: FunctionCtx,
    args: tuple[Any, ...],
    edges: tuple[Any, ...],
    tensors: list[Tensor],
    out: Any,
) -> Any:
    outs = list(out) if isinstance(out, tuple | list) else [out]
    metas = tuple((a._shape, a.dtype) if isinstance(a, Tensor) else None for a in args)
    entry = _CustomEntry(None, edges, metas)
    entry.cls, entry.ctx = cls, ctx
    made = []
    nr = 0
    for y in outs:
        if (
            not isinstance(y, Tensor)
            or any(y is f for f in ctx._fixed)
            or (not y.dtype.is_floating_point)
        ):
            made.append(y)
            nr += isinstance(y, Tensor)
            continue
        if any(y is t for t in tensors) and not any(y is d for d in ctx._dirty):
            y = y._alias()
        y._grad_fn, y._requires_grad, y._output_nr = entry, True, nr
        nr += 1
        made.append(y)
    entry.n_outputs = max(nr, 1)
    entry.out_metas = [(y._shape, y.dtype, y.storage.device) for y in made if isinstance(y, Tensor)]
    entry.saved = {"tensors": [_keep(s, made) for s in ctx._saved]}
    ctx._entry, ctx._saved = ref(entry), ()  # nothing is held longer than the entry holds it
    return tuple(made) if isinstance(out, tuple | list) else made[0]


def _keep(s: Any, outs: list[Any]) -> Any:
    """A saved tensor; a result is kept without its entry, so that no circle holds it."""
    if s is None:
        return None
    return autograd.save(s, any(s is y for y in outs))


def once_differentiable(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Marks a backward that cannot be differentiated again."""

    @functools.wraps(fn)
    def wrapped(ctx: Any, *grads: Any) -> Any:
        with autograd.no_grad():
            out = fn(ctx, *grads)
        if not (autograd.mode.grad and any(g is not None and g.requires_grad for g in grads)):
            return out
        outs = out if isinstance(out, tuple) else (out,)
        marked = tuple(_Refuse.apply(g) if isinstance(g, Tensor) else g for g in _with_grad(outs))
        return marked if isinstance(out, tuple) else marked[0]

    return wrapped


def _with_grad(outs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        g.detach().requires_grad_() if isinstance(g, Tensor) and g.is_floating_point() else g
        for g in outs
    )


class _Refuse(Function):
    """Passes values on and raises when differentiated."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *g: Any) -> Any:
        raise RuntimeError(
            "trying to differentiate twice a function that was marked with @once_differentiable"
        )
