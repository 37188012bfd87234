"""RMSprop, Adagrad, Adadelta: steps scaled by past gradients."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .optimizer import (
    Group,
    Optimizer,
    State,
    ascent,
    check,
    checked,
    count,
    number,
    zeros,
)


class RMSprop(Optimizer):
    """p ← p − lr · g / (√v + eps), v the running average of g².

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        alpha: decay rate of the average.
        eps: added to the denominator.
        weight_decay: adds weight_decay · p to the gradient.
        momentum: how much of the last step is repeated.
        centered: divides by the standard deviation, the mean taken off.
        maximize: goes up instead of down.

    Examples::

        >>> w = nn.Parameter(torch.tensor([1.0]))
        >>> opt = optim.RMSprop([w], lr=0.01)
        >>> w.sum().backward()
        >>> opt.step()
        >>> w
        Parameter containing:
        tensor([0.9000], requires_grad=True)
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, checked({
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
            "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable,
        }))  # fmt: skip

    def _update(self, p: Tensor, g: Tensor, state: State, group: Group) -> None:
        count(state)
        g, alpha, lr = ascent(g, p, group), group["alpha"], number(group["lr"])
        (square,) = zeros(state, p, "square_avg")
        spread = square.mul_(alpha).addcmul_(g, g, value=1 - alpha)
        if group["momentum"]:
            (buffer,) = zeros(state, p, "momentum_buffer")
        if group["centered"]:
            (mean,) = zeros(state, p, "grad_avg")
            mean.lerp_(g, 1 - alpha)
            spread = spread.addcmul(mean, mean, value=-1)
        spread = spread.sqrt().add_(group["eps"])
        if group["momentum"]:
            p.add_(buffer.mul_(group["momentum"]).addcdiv_(g, spread), alpha=-lr)
        else:
            p.addcdiv_(g, spread, value=-lr)


class Adagrad(Optimizer):
    """p ← p − lr · g / (√Σg² + eps).

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        lr_decay: how fast it falls with the steps.
        weight_decay: adds weight_decay · p to the gradient.
        initial_accumulator_value: where Σg² starts.
        eps: added to the denominator.
        maximize: goes up instead of down.

    Examples::

        >>> w = nn.Parameter(torch.tensor([1.0]))
        >>> opt = optim.Adagrad([w], lr=0.1)
        >>> w.sum().backward()
        >>> opt.step()
        >>> w
        Parameter containing:
        tensor([0.9000], requires_grad=True)
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        start = initial_accumulator_value
        super().__init__(params, checked({
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": start, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable, "fused": fused,
        }))  # fmt: skip
        for group in self.param_groups:
            for p in group["params"]:
                self._begin(p, self.state[p], group)

    def _begin(self, p: Tensor, state: State, group: Group) -> None:
        state["step"] = 0.0
        state["sum"] = p.detach().clone().fill_(group["initial_accumulator_value"])

    def _update(self, p: Tensor, g: Tensor, state: State, group: Group) -> None:
        if not state:
            self._begin(p, state, group)
        step = count(state)
        g = ascent(g, p, group)
        lr = number(group["lr"]) / (1 + (step - 1) * group["lr_decay"])
        spread = state["sum"].addcmul_(g, g, value=1).sqrt().add_(group["eps"])
        p.addcdiv_(g, spread, value=-lr)


class Adadelta(Optimizer):
    """p ← p − lr · g · √(u + eps) / √(v + eps), u and v averages of squared steps and gradients.

    Args:
        params: parameters or groups of them.
        lr: factor of the step.
        rho: decay rate of the averages.
        eps: added to both averages.
        weight_decay: adds weight_decay · p to the gradient.
        maximize: goes up instead of down.

    Examples::

        >>> w = nn.Parameter(torch.tensor([1.0]))
        >>> opt = optim.Adadelta([w])
        >>> w.sum().backward()
        >>> opt.step()
        >>> w.item() < 1
        True
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check(0.0 <= rho <= 1.0, "rho value", rho)
        super().__init__(params, checked({
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "capturable": capturable, "foreach": foreach, "differentiable": differentiable,
        }))  # fmt: skip

    def _update(self, p: Tensor, g: Tensor, state: State, group: Group) -> None:
        count(state)
        square, steps = zeros(state, p, "square_avg", "acc_delta")
        g, rho, eps = ascent(g, p, group), group["rho"], group["eps"]
        square.mul_(rho).addcmul_(g, g, value=1 - rho)
        delta = (steps + eps).sqrt() / (square + eps).sqrt() * g
        steps.mul_(rho).addcmul_(delta, delta, value=1 - rho)
        p.add_(delta, alpha=-number(group["lr"]))
