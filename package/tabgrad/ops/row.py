"""What a row of the op table is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Row:
    """An op: its inputs, what it makes of them, its gradients.

    ``grads`` has one function per differentiable input; the names of its parameters say what it
    needs: ``g`` (the gradient of the result), the row's inputs, ``out`` (the result), or a keyword
    of the op. Only what is named is saved for backward.
    """

    __slots__ = ("grads", "inputs", "name", "node", "saves")

    def __init__(
        self,
        name: str,
        inputs: str,
        node: Callable[..., Any],
        grads: dict[str, Callable[..., Any]] | None = None,
    ) -> None:
        self.name = name
        self.inputs = tuple(inputs.split())
        self.node = node
        self.grads = tuple((grads or {}).get(i) for i in self.inputs)
        self.saves = tuple(
            None if f is None else f.__code__.co_varnames[: f.__code__.co_argcount]
            for f in self.grads
        )


class Elementwise(Row):
    """A row that is an expression, one per executor, over scalars ``a``, ``b``, ``c``.

    ``types`` are the compute types it is defined for (see docs/architecture.md); ``{t}`` in an
    expression is the compute type's letter. ``result`` is ``"same"`` or ``"bool"``.
    ``wgsl_l`` replaces ``wgsl`` for int64, which a GPU keeps in 32 bits and checks for overflow.
    """

    __slots__ = ("c", "np", "result", "types", "wgsl", "wgsl_l")

    def __init__(
        self,
        name: str,
        inputs: str,
        types: str,
        np: str,
        wgsl: str,
        c: str,
        result: str = "same",
        /,  # an input may be called c, too
        wgsl_l: str = "",
        **grads: Callable[..., Any],
    ) -> None:
        super().__init__(name, inputs, _elementwise_node, grads)
        self.types = types
        self.np = np
        self.wgsl = wgsl
        self.wgsl_l = wgsl_l or wgsl
        self.c = c
        self.result = result


def _elementwise_node(*_: Any) -> Any:
    raise TypeError("elementwise rows are built by ops.apply")
