"""What runs around a module's forward and backward: the hooks and how a call goes through them."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from ..graph import capture
from ..tensor import Tensor

if TYPE_CHECKING:
    from .module import Module

_ids = itertools.count()


class RemovableHandle:
    """Takes a hook off again; also a context manager."""

    def __init__(self, hooks: OrderedDict[int, Any]) -> None:
        self.hooks = hooks
        self.id = next(_ids)

    def remove(self) -> None:
        """Takes the hook off; a second call does nothing."""
        capture.changes += 1
        self.hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *_: Any) -> None:
        self.remove()


class Hook(NamedTuple):
    """A registered function and how it wants to be called."""

    fn: Callable[..., Any]
    with_kwargs: bool = False
    always_call: bool = False


def add(hooks: OrderedDict[int, Any], hook: Any, prepend: bool = False) -> RemovableHandle:
    """Registers a hook, last or first."""
    capture.changes += 1
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


def call(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``module(*args, **kwargs)`` for a module with hooks."""
    done: set[int] = set()
    result = None
    try:
        args, kwargs = _before(module, args, kwargs)
        backward = _Backward(module) if module._has_backward_hooks() else None
        if backward:
            args = backward.watch_inputs(args)
        result = module.forward(*args, **kwargs)
        for key, hook in list(module._forward_hooks.items()):
            done.add(key)
            result = _after(module, hook, args, kwargs, result)
    except Exception:
        for key, hook in module._forward_hooks.items():
            if hook.always_call and key not in done:
                _after(module, hook, args, kwargs, result)
        raise
    return backward.watch_outputs(result) if backward else result


def _before(
    module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    for hook in list(module._forward_pre_hooks.values()):
        if not hook.with_kwargs:
            got = hook.fn(module, args)
            if got is not None:
                args = got if isinstance(got, tuple) else (got,)
            continue
        got = hook.fn(module, args, kwargs)
        if got is None:
            continue
        if not (isinstance(got, tuple) and len(got) == 2):
            raise RuntimeError(
                f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), "
                f"but got {got}."
            )
        args, kwargs = got
    return args, kwargs


def _after(
    module: Module, hook: Hook, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> Any:
    given = (module, args, kwargs, result) if hook.with_kwargs else (module, args, result)
    new = hook.fn(*given)
    return result if new is None else new


class _Backward:
    """Calls a module's full backward hooks with the gradients at its inputs and outputs.

    Inputs and outputs pass through views of themselves, so that a tensor used elsewhere too
    shows only the gradient that goes through this module.
    """

    def __init__(self, module: Module) -> None:
        self.module = module
        self.grad_inputs: list[Any] = []
        self.grad_outputs: list[Any] = []
        self.wanted = 0  # inputs whose gradient will arrive
        self.arrived = 0
        self.started = False

    def watch_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        self.grad_inputs = [None] * len(args)
        return tuple(self._watch_input(i, x) for i, x in enumerate(args))

    def _watch_input(self, i: int, x: Any) -> Any:
        if not (isinstance(x, Tensor) and x.requires_grad):
            return x
        x = x.view_as(x)
        x.register_hook(lambda g: self._input_arrived(i, g))
        self.wanted += 1
        return x

    def watch_outputs(self, result: Any) -> Any:
        outs = result if isinstance(result, tuple) else (result,)
        self.grad_outputs = [None] * len(outs)
        watched = tuple(self._watch_output(i, x) for i, x in enumerate(outs))
        return watched if isinstance(result, tuple) else watched[0]

    def _watch_output(self, i: int, x: Any) -> Any:
        if not (isinstance(x, Tensor) and x.requires_grad):
            return x
        x = x.view_as(x)
        x.register_hook(lambda g: self._output_arrived(i, g))
        return x

    def _output_arrived(self, i: int, grad: Tensor) -> Tensor | None:
        self.grad_outputs[i] = grad
        if not self.started:
            self.started = True
            self._call_pre_hooks()
            if not self.wanted:
                self._call_hooks()
        new = self.grad_outputs[i]
        return None if new is grad else new

    def _call_pre_hooks(self) -> None:
        for fn in list(self.module._backward_pre_hooks.values()):
            new = fn(self.module, tuple(self.grad_outputs))
            if new is not None:
                self.grad_outputs = list(new) if isinstance(new, tuple) else [new]

    def _input_arrived(self, i: int, grad: Tensor) -> Tensor | None:
        self.grad_inputs[i] = grad
        self.arrived += 1
        if self.arrived < self.wanted:
            return None
        self._call_hooks()
        new = self.grad_inputs[i]
        return None if new is grad else new

    def _call_hooks(self) -> None:
        for fn in list(self.module._backward_hooks.values()):
            new = fn(self.module, tuple(self.grad_inputs), tuple(self.grad_outputs))
            if new is None:
                continue
            if self.wanted > 1:
                raise RuntimeError(
                    "a full backward hook can replace grad_input only where one input of the "
                    "module requires grad; use Tensor.register_hook on the inputs instead"
                )
            self.grad_inputs = list(new) if isinstance(new, tuple) else [new]
