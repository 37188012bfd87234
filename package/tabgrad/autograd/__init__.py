"""Gradients: the tape, user-defined functions, and checks against finite differences."""

from __future__ import annotations

from typing import Any

from .tape import (
    Entry,
    Handle,
    backward,
    edge,
    enable_grad,
    grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    mode,
    no_grad,
    record,
    save,
    set_grad_enabled,
    unpack,
)

__all__ = [
    "Entry", "Function", "Handle", "backward", "edge", "enable_grad", "grad", "gradcheck",
    "gradgradcheck", "inference_mode", "is_grad_enabled", "is_inference_mode_enabled", "mode",
    "no_grad", "record", "save", "set_grad_enabled", "unpack",
]  # fmt: skip

# these need Tensor, which needs this package: imported when first named
_LATER = {
    "Function": "function", "FunctionCtx": "function", "once_differentiable": "function",
    "gradcheck": "gradcheck", "gradgradcheck": "gradcheck", "GradcheckError": "gradcheck",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _LATER:
        module = import_module(f".{_LATER[name]}", __name__)
        for other, where in _LATER.items():  # all of it: one is called as the submodule is
            if where == _LATER[name]:
                globals()[other] = getattr(module, other)
        return globals()[name]
    if name == "Variable":  # since 0.4 a tensor is one
        from ..tensor import Tensor

        return Tensor
    if name in ("function", "functional"):
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module 'tabgrad.autograd' has no attribute '{name}'")
