"""Adam and its relatives: running averages of the gradient and of its square."""

from __future__ import annotations

from typing import Any

from ..live import sqrt
from ..tensor import Tensor
from .optimizer import Group, Optimizer, State, ascent, checked, count, number, zeros


def _decouple(p: Tensor, group: Group) -> None:
    """Weight decay that shrinks the parameter itself."""
    decay = number(group["weight_decay"])
    if decay and group["decoupled_weight_decay"]:
        p.mul_(1 - number(group["lr"]) * decay)


def _averages(g: Tensor, p: Tensor, state: State, group: Group) -> tuple[Tensor, Tensor]:
    """The running averages of g and g², with this gradient in them."""
    mean, square = zeros(state, p, "exp_avg", "exp_avg_sq")
    beta1, beta2 = map(number, group["betas"])
    return mean.lerp_(g, 1 - beta1), square.mul_(beta2).addcmul_(g, g, value=1 - beta2)


def _corrections(step: float, group: Group) -> tuple[float, float]:
    """What the averages fall short of for having started at zero."""
    beta1, beta2 = map(number, group["betas"])
    return 1 - beta1**step, 1 - beta2**step


class Adam(Optimizer):
    """p ← p − lr · m̂ / (√v̂ + eps), m and v the running averages of g and g².

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        betas: decay rates of the two averages.
        eps: added to the denominator.
        weight_decay: adds weight_decay · p to the gradient.
        amsgrad: uses the largest v so far.
        maximize: goes up instead of down.
        decoupled_weight_decay: shrinks p by lr · weight_decay instead, as AdamW.
        foreach, capturable, fused: accepted; all updates of a step are fused anyway.

    Examples::

        >>> w = nn.Parameter(torch.tensor([1.0]))
        >>> opt = optim.Adam([w], lr=0.1)
        >>> w.sum().backward()
        >>> opt.step()
        >>> w
        Parameter containing:
        tensor([0.9000], requires_grad=True)
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        super().__init__(params, checked({
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "amsgrad": amsgrad, "maximize": maximize, "foreach": foreach,
            "capturable": capturable, "differentiable": differentiable, "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }))  # fmt: skip

    def _update(self, p: Tensor, g: Tensor, state: State, group: Group) -> None:
        step = count(state)
        _decouple(p, group)
        mean, square = _averages(ascent(g, p, group), p, state, group)
        short1, short2 = _corrections(step, group)
        if group["amsgrad"]:
            largest = state.get("max_exp_avg_sq")
            square = square.clone() if largest is None else largest.maximum(square)
            state["max_exp_avg_sq"] = square
        spread = (square.sqrt() / sqrt(short2)).add_(group["eps"])
        p.addcdiv_(mean, spread, value=-number(group["lr"]) / short1)


class AdamW(Adam):
    """Adam that shrinks p by lr · weight_decay rather than adding weight decay to the gradient;
    arguments as of :class:`Adam`.

    Examples::

        >>> w = nn.Parameter(torch.tensor([1.0]))
        >>> opt = optim.AdamW([w], lr=0.1)
        >>> w.sum().backward()
        >>> opt.step()
        >>> w
        Parameter containing:
        tensor([0.8990], requires_grad=True)
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize,
            capturable=capturable, differentiable=differentiable, fused=fused,
            decoupled_weight_decay=True,
        )  # fmt: skip


class Adamax(Optimizer):
    """Adam with the largest recent |g| + eps in the denominator; arguments as of :class:`Adam`.

    Examples::

        >>> w = nn.Parameter(torch.tensor([1.0]))
        >>> opt = optim.Adamax([w], lr=0.1)
        >>> w.sum().backward()
        >>> opt.step()
        >>> w
        Parameter containing:
        tensor([0.9000], requires_grad=True)
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        super().__init__(params, checked({
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
            "capturable": capturable,
        }))  # fmt: skip

    def _update(self, p: Tensor, g: Tensor, state: State, group: Group) -> None:
        step = count(state)
        g = ascent(g, p, group)
        mean, largest = zeros(state, p, "exp_avg", "exp_inf")
        beta1, beta2 = group["betas"]
        mean.lerp_(g, 1 - beta1)
        largest.copy_((largest * beta2).maximum(g.abs() + group["eps"]))
        short, _ = _corrections(step, group)
        p.addcdiv_(mean, largest, value=-number(group["lr"]) / short)


class NAdam(Optimizer):
    """Adam with Nesterov's look ahead, whose momentum grows with the steps.

    Args:
        momentum_decay: how fast the momentum grows; the others as of :class:`Adam`.

    Examples::

        >>> w = nn.Parameter(torch.tensor([1.0]))
        >>> opt = optim.NAdam([w], lr=0.1)
        >>> w.sum().backward()
        >>> opt.step()
        >>> w.item() < 1
        True
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, checked({
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize, "foreach": foreach, "capturable": capturable,
            "differentiable": differentiable,
        }))  # fmt: skip

    def _update(self, p: Tensor, g: Tensor, state: State, group: Group) -> None:
        step = count(state)
        _decouple(p, group)
        state.setdefault("mu_product", 1.0)
        g = ascent(g, p, group)
        mean, square = _averages(g, p, state, group)
        _, short = _corrections(step, group)
        beta1, decay, lr = group["betas"][0], group["momentum_decay"], number(group["lr"])
        now = beta1 * (1.0 - 0.5 * 0.96 ** (step * decay))
        ahead = beta1 * (1.0 - 0.5 * 0.96 ** ((step + 1) * decay))
        product = state["mu_product"] = state["mu_product"] * now
        spread = (square / short).sqrt().add_(group["eps"])
        p.addcdiv_(g, spread, value=-lr * (1.0 - now) / (1.0 - product))
        p.addcdiv_(mean, spread, value=-lr * ahead / (1.0 - product * ahead))


class RAdam(Optimizer):
    """Adam that waits with its denominator until the variance of v is known well enough;
    arguments as of :class:`Adam`.

    Examples::

        >>> w = nn.Parameter(torch.tensor([1.0]))
        >>> opt = optim.RAdam([w], lr=0.1)
        >>> w.sum().backward()
        >>> opt.step()
        >>> w
        Parameter containing:
        tensor([0.9000], requires_grad=True)
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        super().__init__(params, checked({
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "maximize": maximize, "foreach": foreach, "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay, "differentiable": differentiable,
        }))  # fmt: skip

    def _update(self, p: Tensor, g: Tensor, state: State, group: Group) -> None:
        step = count(state)
        _decouple(p, group)
        mean, square = _averages(ascent(g, p, group), p, state, group)
        short1, short2 = _corrections(step, group)
        beta2 = group["betas"][1]
        most = 2 / (1 - beta2) - 1
        known = most - 2 * step * beta2**step / short2
        size = -number(group["lr"]) / short1
        if known <= 5.0:
            p.add_(mean, alpha=size)
            return
        trust = (known - 4) * (known - 2) * most / ((most - 4) * (most - 2) * known)
        size *= sqrt(trust) * sqrt(short2)
        p.addcdiv_(mean, square.sqrt().add_(group["eps"]), value=size)
