"""Gradients limited in norm or value, in place and without waiting for the device."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ... import creation
from ...autograd import no_grad
from ...tensor import Tensor

Tensors = Tensor | Iterable[Tensor]


def _tensors(given: Tensors) -> list[Tensor]:
    return [given] if isinstance(given, Tensor) else list(given)


def _grads(parameters: Tensors) -> list[Tensor]:
    return [p.grad for p in _tensors(parameters) if p.grad is not None]


@no_grad()
def get_total_norm(
    tensors: Tensors,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all tensors as if they were one vector."""
    tensors, p = _tensors(tensors), float(norm_type)
    if not tensors:
        return creation.tensor(0.0)
    norms = [_norm(t.detach(), p) for t in tensors]
    total = _norm(_stacked([n.to(norms[0].device) for n in norms]), p)
    if error_if_nonfinite and not total.isfinite():
        raise RuntimeError(
            f"The total norm of order {p} for gradients from `parameters` is non-finite, so it "
            "cannot be clipped. To disable this error and scale the gradients by the non-finite "
            "norm anyway, set `error_if_nonfinite=False`"
        )
    return total


def _norm(x: Tensor, p: float) -> Tensor:
    if p == math.inf:
        return x.abs().max()
    if p == 2:
        return (x * x).sum().sqrt()
    return x.abs().pow(p).sum().pow(1 / p)


def _stacked(numbers: list[Tensor]) -> Tensor:
    from ...functions.movement import stack

    return stack(numbers)


@no_grad()
def clip_grads_with_norm_(
    parameters: Tensors, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scales the gradients by max_norm / total_norm where that is below 1."""
    scale = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
    for grad in _grads(parameters):
        grad.mul_(scale.to(grad.device))


def clip_grad_norm_(
    parameters: Tensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scales all gradients so that their norm is at most ``max_norm``; gives the norm before.

    Examples::

        >>> w = nn.Parameter(torch.zeros(2))
        >>> w.grad = torch.tensor([3.0, 4.0])
        >>> nn.utils.clip_grad_norm_([w], max_norm=1.0)
        tensor(5.)
        >>> w.grad
        tensor([0.6000, 0.8000])
    """
    parameters = _tensors(parameters)
    total = get_total_norm(_grads(parameters), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(parameters, max_norm, total)
    return total


clip_grad_norm = clip_grad_norm_


@no_grad()
def clip_grad_value_(parameters: Tensors, clip_value: float, foreach: bool | None = None) -> None:
    """Limits every element of the gradients to [−clip_value, clip_value].

    Examples::

        >>> w = nn.Parameter(torch.zeros(2))
        >>> w.grad = torch.tensor([3.0, -0.5])
        >>> nn.utils.clip_grad_value_([w], 1.0)
        >>> w.grad
        tensor([ 1.0000, -0.5000])
    """
    for grad in _grads(parameters):
        grad.clamp_(-float(clip_value), float(clip_value))
