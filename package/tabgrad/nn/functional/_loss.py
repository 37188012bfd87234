"""Losses, as compositions of Tensor methods."""

from __future__ import annotations

import math
import warnings
from typing import Any

from ...autograd import is_grad_enabled
from ...autograd.tape import record
from ...dtypes import int32, int64, uint8
from ...functions.reduction import label
from ...graph import cast, compare, const, elementwise, iota, view
from ...ops.functional import checked_node
from ...ops.row import Row
from ...shape import Shape, contiguous_strides
from ...tensor import Tensor
from ._activation import log_softmax, logsigmoid


def _reduction(reduction: str, size_average: Any = None, reduce: Any = None) -> str:
    """The name of the reduction, from PyTorch's two older arguments too."""
    if size_average is not None or reduce is not None:
        if reduce is False:
            reduction = "none"
        else:
            reduction = "sum" if size_average is False else "mean"
        warnings.warn(
            "size_average and reduce args will be deprecated, please use "
            f"reduction='{reduction}' instead.",
            stacklevel=4,
        )
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


def _reduced(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


def _warn_sizes(input: Tensor, target: Tensor) -> None:
    if target.shape != input.shape:
        warnings.warn(
            f"Using a target size ({target.size()}) that is different to the input size "
            f"({input.size()}). This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.",
            stacklevel=3,
        )


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(x − y)²

    Examples::

        >>> F.mse_loss(torch.tensor([1.0, 3.0]), torch.zeros(2))
        tensor(5.)
    """
    _warn_sizes(input, target)
    reduction = _reduction(reduction, size_average, reduce)
    d = input - target
    loss = _weighted(d * d, weight, reduction)
    return loss if weight is not None else label(loss, "MseLossBackward0")


def _weighted(loss: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """A reduction in which an element counts as its weight says."""
    if weight is None:
        return _reduced(loss, reduction)
    if weight.shape != loss.shape:
        raise ValueError("Weights and input must have the same size.")
    loss = loss * weight
    return loss.sum() / weight.sum() if reduction == "mean" else _reduced(loss, reduction)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """\\|x − y\\|"""
    _warn_sizes(input, target)
    reduction = _reduction(reduction, size_average, reduce)
    return _weighted((input - target).abs(), weight, reduction)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """(x − y)² / 2β where \\|x − y\\| < β, \\|x − y\\| − β/2 elsewhere"""
    _warn_sizes(input, target)
    reduction = _reduction(reduction, size_average, reduce)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    d = (input - target).abs()
    if beta:
        d = (d * d * (0.5 / beta)).where(d < beta, d - 0.5 * beta)
    return _reduced(d, reduction)


def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """(x − y)² / 2 where \\|x − y\\| ≤ δ, δ · (\\|x − y\\| − δ/2) elsewhere"""
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    _warn_sizes(input, target)
    d = (input - target).abs()
    loss = (d * d * 0.5).where(d <= delta, (d - 0.5 * delta) * delta)
    return _weighted(loss, weight, _reduction(reduction))


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """y · (log y − x): x holds log-probabilities, y probabilities (or their logarithms)"""
    if log_target:
        loss = target.exp() * (target - input)
    else:
        loss = _xlogy(target) - target * input
    if reduction == "batchmean":
        return loss.sum() / input.shape[0] if input.ndim else loss
    reduction = _reduction(reduction, size_average, reduce)
    if reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size. "
            "'batchmean' divides only by the batch size, and aligns with the KL div math "
            "definition. 'mean' will be changed to behave the same as 'batchmean' in the next "
            "major release.",
            stacklevel=2,
        )
    return _reduced(loss, reduction)


def _xlogy(y: Tensor) -> Tensor:
    """y · log y, 0 at 0."""
    zero = y == 0
    return (y * y.masked_fill(zero, 1.0).log()).masked_fill(zero, 0.0)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """−y · log x − (1 − y) · log(1 − x), logarithms not below −100"""
    reduction = _reduction(reduction, size_average, reduce)
    if target.shape != input.shape:
        raise ValueError(
            f"Using a target size ({target.size()}) that is different to the input size "
            f"({input.size()}) is deprecated. Please ensure they have the same size."
        )
    log_x, log_1_x = _limited_log(input), _limited_log(1 - input)
    loss = (target - 1) * log_1_x - target * log_x
    return _reduced(loss if weight is None else loss * weight, reduction)


def _limited_log(x: Tensor) -> Tensor:
    """log x not below −100; the gradient as if x were not below 1e-12."""
    safe = x + (x.clamp(min=1e-12) - x).detach()
    y = safe.log()
    return y + (x.log().clamp(min=-100) - y).detach()


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy of sigmoid(x), computed without overflow

    Examples::

        >>> F.binary_cross_entropy_with_logits(torch.zeros(3), torch.ones(3))
        tensor(0.6931)
    """
    reduction = _reduction(reduction, size_average, reduce)
    if target.shape != input.shape:
        raise ValueError(
            f"Target size ({target.size()}) must be the same as input size ({input.size()})"
        )
    log_p = logsigmoid(input)
    if pos_weight is not None:
        log_p = log_p * ((pos_weight - 1) * target + 1)
    loss = (1 - target) * input - log_p
    return _reduced(loss if weight is None else loss * weight, reduction)


# --- classes -------------------------------------------------------------------------------------


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """−weight[y] · x[y]: x holds log-probabilities (N, C, …), y the class of each (N, …)"""
    reduction = _reduction(reduction, size_average, reduce)
    _check_classes(input, target)
    return _nll(input, target, weight, ignore_index, reduction)


def _check_classes(input: Tensor, target: Tensor) -> None:
    shape, given = input._shape, target._shape
    if not shape:
        raise ValueError(f"Expected 1 or more dimensions (got {input.ndim})")
    if len(shape) > 1 and shape[0] != (given[0] if given else 1):
        raise ValueError(
            f"Expected input batch_size ({shape[0]}) to match target batch_size "
            f"({given[0] if given else 1})."
        )
    if target.dtype not in (int64, uint8):
        raise RuntimeError(f"expected target dtype to be Long or Byte, but got {_title(target)}")
    if len(shape) < 3 and len(given) > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    want = shape[:1] + shape[2:] if len(shape) > 1 else given
    if given != want:
        raise RuntimeError(f"Expected target size {list(want)}, got {list(given)}")


def _check_weight(weight: Tensor | None, classes: int) -> None:
    if weight is not None and (weight.ndim != 1 or weight.numel() != classes):
        raise RuntimeError(
            f"weight tensor should be defined either for all {classes} classes or no classes but "
            f"got weight tensor of shape: {list(weight.shape)}"
        )


def _title(x: Tensor) -> str:
    """``Long`` of a LongTensor."""
    return str(x.type()).split(".")[-1].removesuffix("Tensor")


def _nll(
    logp: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    smoothing: float = 0.0,
) -> Tensor:
    dim = 1 if logp.ndim > 1 else 0
    _check_weight(weight, logp.shape[dim])
    if logp.ndim == 1 and target.ndim == 1:  # one sample without a batch
        target = target.squeeze(0)
    at = _positions(target, logp.shape[dim], dim, ignore_index)
    share = None if weight is None else _class_shape(weight, logp, dim)
    each = -logp if share is None else -logp * share
    loss = _pick(each, at, dim)
    if smoothing:
        spread = each.sum(dim).masked_fill(at < 0, 0.0)
        loss = loss * (1 - smoothing) + spread * (smoothing / logp.shape[dim])
    if reduction != "mean":
        out = _reduced(loss, reduction)
    elif share is None:
        out = loss.sum() / (at >= 0).to(logp.dtype).sum()
    else:
        out = loss.sum() / share.where(_one_hot(at, logp._shape, dim), 0.0).sum()
    return out if smoothing else label(out, f"NllLoss{'2D' * (logp.ndim > 2)}Backward0")


def _positions(target: Tensor, classes: int, dim: int, ignore_index: int) -> Tensor:
    """The targets as int32, −1 for what is ignored; others out of range raise at the next read."""
    at = cast(target.node(), int64)
    ignored = compare("eq", at, const(ignore_index, int64))
    at = elementwise("where", (ignored, const(0, int64), at), int64)
    at = checked_node(at, classes, dim)
    at = elementwise("where", (ignored, const(-1, int32), at), int32)
    return Tensor._wrap(at, target.storage.device)


def _pick(x: Tensor, at: Tensor, dim: int) -> Tensor:
    """The element at each position along ``dim``, 0 at −1.

    A comparison rather than a gather: it joins the kernels around it, and its gradient, which
    compares anew, is no scatter.
    """
    out = x.detach().where(_one_hot(at, x._shape, dim), 0.0).sum(dim)
    if x.requires_grad and is_grad_enabled():
        record(_PICK, (x,), out, {"at": at, "dim": dim})
    return out


def _grad_pick(g: Tensor, x_shape: Shape, at: Tensor, dim: int) -> Tensor:
    return g.unsqueeze(dim).where(_one_hot(at, x_shape, dim), 0.0)


def _no_node(*_: Any) -> Any:
    raise TypeError("a composition makes no node of its own")


_PICK = Row("pick", "x", _no_node, {"x": _grad_pick})


def _one_hot(at: Tensor, shape: Shape, dim: int) -> Tensor:
    """Which elements of a tensor of that shape lie at the positions along ``dim``."""
    column = (*shape[:dim], 1, *shape[dim + 1 :])
    line = (shape[dim], *(1,) * (len(shape) - dim - 1))
    classes = iota(line, contiguous_strides(line), 0, int32)
    seen = view(at.node(), column, contiguous_strides(column), 0)
    return Tensor._wrap(compare("eq", seen, classes), at.storage.device)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """−log softmax(x)[y]

    Args:
        input: scores (N, C, …) or (C,).
        target: the class of each, (N, …); or a probability for each class, shaped like the input.
        weight: how much each class counts, (C,).
        ignore_index: targets of this class do not count.
        label_smoothing: the share of probability that is spread over all classes.

    Examples::

        >>> scores = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
        >>> F.cross_entropy(scores, torch.tensor([0, 1]))
        tensor(0.6931)
    """
    reduction = _reduction(reduction, size_average, reduce)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing:g}")
    dim = 1 if input.ndim > 1 else 0
    if target.shape == input.shape:
        if not target.is_floating_point():
            raise RuntimeError(
                "Expected floating point type for target with class probabilities, got "
                f"{_title(target)}"
            )
        logp = log_softmax(input, dim)
        return _soft_targets(logp, target, dim, weight, reduction, label_smoothing)
    _check_classes(input, target)
    return _nll(log_softmax(input, dim), target, weight, ignore_index, reduction, label_smoothing)


def _class_shape(weight: Tensor, logp: Tensor, dim: int) -> Tensor:
    """Class weights along the class dimension."""
    return weight.reshape([-1 if d == dim else 1 for d in range(logp.ndim)])


def _soft_targets(
    logp: Tensor, target: Tensor, dim: int, weight: Tensor | None, reduction: str, smoothing: float
) -> Tensor:
    if smoothing:
        target = target * (1 - smoothing) + smoothing / logp.shape[dim]
    loss = logp * target
    if weight is not None:
        loss = loss * _class_shape(weight, logp, dim)
    loss = -loss.sum(dim)
    if reduction == "mean":
        return loss.sum() / (math.prod(logp.shape) // max(logp.shape[dim], 1))
    return _reduced(loss, reduction)


# --- pairs and margins ---------------------------------------------------------------------------


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, −y · (x1 − x2) + margin)"""
    reduction = _reduction(reduction, size_average, reduce)
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.size()}, input2: {input2.size()}, target: {target.size()} "
        )
    return _reduced((-target * (input1 - input2) + margin).clamp(min=0), reduction)


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """x where y = 1, max(0, margin − x) where y = −1"""
    reduction = _reduction(reduction, size_average, reduce)
    apart = (margin - input).clamp(min=0).masked_fill(target == 1, 0.0)
    return _reduced(apart + input.masked_fill(target == -1, 0.0), reduction)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 · x2 / (‖x1‖ · ‖x2‖), each norm at least eps

    Examples::

        >>> F.cosine_similarity(torch.tensor([3.0, 4.0]), torch.tensor([4.0, 3.0]), dim=0)
        tensor(0.9600)
    """
    n1, n2 = ((x * x).sum(dim, keepdim=True).sqrt().clamp(min=eps) for x in (x1, x2))
    return ((x1 / n1) * (x2 / n2)).sum(dim)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 − cos(x1, x2) where y = 1, max(0, cos(x1, x2) − margin) where y = −1"""
    reduction = _reduction(reduction, size_average, reduce)
    eps = 1e-12
    dot = (input1 * input2).sum(-1)
    norms = ((input1 * input1).sum(-1) + eps) * ((input2 * input2).sum(-1) + eps)
    cos = dot / norms.sqrt()
    loss = (1 - cos).masked_fill(target != 1, 0.0)
    loss = loss + (cos - margin).clamp(min=0).masked_fill(target != -1, 0.0)
    return _reduced(loss, reduction)


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """‖x1 − x2 + eps‖ₚ along the last dimension"""
    d = x1 - x2 + eps
    if p == 2:
        return (d * d).sum(-1, keepdim=keepdim).sqrt()
    return d.abs().pow(p).sum(-1, keepdim=keepdim).pow(1 / p)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(a, p) − d(a, n) + margin)"""
    reduction = _reduction(reduction, size_average, reduce)
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = far.minimum(pairwise_distance(positive, negative, p, eps))
    return _reduced((near - far + margin).clamp(min=0), reduction)


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + exp(−y · x))"""
    reduction = _reduction(reduction, size_average, reduce)
    return _reduced((-target * input).exp().log1p(), reduction)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """exp(x) − y · x (or x − y · log x), with Stirling's term for y! if ``full``"""
    reduction = _reduction(reduction, size_average, reduce)
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        big = target > 1
        y = target.masked_fill(~big, 1.0)
        stirling = y * y.log() - y + (y * (2 * math.pi)).log() * 0.5
        loss = loss + stirling.masked_fill(~big, 0.0)
    return _reduced(loss, reduction)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """(log var + (x − y)² / var) / 2"""
    if not isinstance(var, Tensor):
        var = input.new_full(input.shape, var)
    if var.ndim == input.ndim - 1:
        var = var.unsqueeze(-1)
    if (var < 0).any():
        raise ValueError("var has negative entry/entries")
    var = var + (var.detach().clamp(min=eps) - var.detach())
    d = input - target
    loss = (var.log() + d * d / var) * 0.5
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return _reduced(loss, _reduction(reduction))
