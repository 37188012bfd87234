"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .optimizer import Group, Optimizer, State, ascent, checked, number


class SGD(Optimizer):
    """p ← p − lr · g, where momentum replaces g by b ← momentum · b + (1 − dampening) · g.

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        momentum: how much of the last step's direction is kept.
        dampening: how much less of the gradient is added to it.
        weight_decay: adds weight_decay · p to the gradient.
        nesterov: looks ahead: g + momentum · b replaces g.
        maximize: goes up instead of down.
        foreach, fused: accepted; all updates of a step are fused anyway.

    Examples::

        >>> w = nn.Parameter(torch.tensor([1.0]))
        >>> opt = optim.SGD([w], lr=0.1, momentum=0.9)
        >>> for _ in range(2):
        ...     opt.zero_grad()
        ...     w.sum().backward()
        ...     opt.step()
        >>> w
        Parameter containing:
        tensor([0.7100], requires_grad=True)
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(params, checked({
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "maximize": maximize, "foreach": foreach,
            "differentiable": differentiable, "fused": fused,
        }))  # fmt: skip

    def _update(self, p: Tensor, g: Tensor, state: State, group: Group) -> None:
        g = ascent(g, p, group)
        momentum = group["momentum"]
        if momentum:
            buffer = state.get("momentum_buffer")
            if buffer is None:
                buffer = state["momentum_buffer"] = g.detach().clone()
            else:
                buffer.mul_(momentum).add_(g, alpha=1 - group["dampening"])
            g = g.add(buffer, alpha=momentum) if group["nesterov"] else buffer
        p.add_(g, alpha=-number(group["lr"]))
