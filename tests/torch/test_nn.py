"""nn against real PyTorch: keys, reprs, initial numbers, results, gradients, errors.

Every case is a line of code that is evaluated once with each library.
"""

from __future__ import annotations

import copy
import itertools
import math
import warnings
from typing import Any

import numpy as np
import pytest
import tabgrad

torch = pytest.importorskip("torch")

CASES = [
    # layer, shapes of its inputs
    ("nn.Linear(5, 3)", (4, 5)),
    ("nn.Linear(5, 3, bias=False)", (2, 4, 5)),
    ("nn.Linear(5, 3)", (5,)),
    ("nn.Bilinear(3, 4, 2)", (5, 3), (5, 4)),
    ("nn.Identity()", (2, 3)),
    ("nn.Conv1d(4, 6, 3, stride=2, padding=1)", (2, 4, 9)),
    ("nn.Conv1d(4, 6, 4, padding='same', groups=2)", (2, 4, 9)),
    ("nn.Conv1d(4, 6, 3, padding=2, padding_mode='circular')", (4, 9)),
    ("nn.Conv2d(4, 6, 3)", (2, 4, 7, 8)),
    ("nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2))", (2, 4, 7, 8)),
    ("nn.Conv2d(4, 6, 3, groups=2, bias=False)", (4, 7, 8)),
    ("nn.Conv2d(4, 4, 3, groups=4, padding='same')", (2, 4, 7, 8)),
    ("nn.Conv2d(4, 4, (2, 4), padding='same', dilation=2)", (2, 4, 7, 8)),
    ("nn.Conv2d(4, 4, 3, padding='valid')", (2, 4, 7, 8)),
    ("nn.Conv2d(4, 4, 3, padding=1, padding_mode='reflect')", (2, 4, 7, 8)),
    ("nn.Conv2d(4, 4, 3, padding=(1, 2), padding_mode='replicate')", (2, 4, 7, 8)),
    ("nn.Conv2d(4, 4, (2, 3), padding='same', padding_mode='circular')", (2, 4, 7, 8)),
    ("nn.Conv3d(2, 4, (2, 3, 2), stride=(2, 1, 1), padding=1)", (2, 2, 4, 5, 6)),
    ("nn.Conv3d(2, 4, 2, dilation=2, groups=2)", (2, 2, 4, 5, 6)),
    ("nn.ConvTranspose1d(4, 6, 3, stride=2, output_padding=1)", (2, 4, 5)),
    ("nn.ConvTranspose2d(4, 6, 3)", (2, 4, 5, 6)),
    ("nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1)", (2, 4, 5, 6)),
    ("nn.ConvTranspose2d(4, 6, (2, 3), dilation=2, groups=2, bias=False)", (4, 5, 6)),
    ("nn.MaxPool1d(3, stride=2, padding=1)", (2, 3, 9)),
    ("nn.MaxPool2d(2)", (2, 3, 8, 7)),
    ("nn.MaxPool2d(3, 2, 1)", (2, 3, 8, 7)),
    ("nn.MaxPool2d((3, 2), stride=(2, 1), dilation=2, ceil_mode=True)", (2, 3, 9, 8)),
    ("nn.MaxPool2d(3, 2, 1, ceil_mode=True, return_indices=True)", (2, 3, 8, 7)),
    ("nn.MaxPool3d(2)", (1, 2, 4, 5, 6)),
    ("nn.AvgPool1d(3, 2, 1)", (2, 3, 9)),
    ("nn.AvgPool2d(2)", (2, 3, 8, 7)),
    ("nn.AvgPool2d(3, 2, 1, ceil_mode=True)", (2, 3, 8, 7)),
    ("nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False)", (2, 3, 8, 7)),
    ("nn.AvgPool2d(3, 2, 1, divisor_override=5)", (2, 3, 8, 7)),
    ("nn.AvgPool3d(2)", (1, 2, 4, 5, 6)),
    ("nn.AdaptiveAvgPool1d(4)", (2, 3, 9)),
    ("nn.AdaptiveAvgPool2d(1)", (2, 3, 8, 7)),
    ("nn.AdaptiveAvgPool2d((4, None))", (2, 3, 8, 7)),
    ("nn.AdaptiveAvgPool2d((3, 5))", (3, 8, 7)),
    ("nn.AdaptiveMaxPool1d(4)", (2, 3, 9)),
    ("nn.AdaptiveMaxPool2d((4, 3))", (2, 3, 8, 7)),
    ("nn.AdaptiveMaxPool2d(3, return_indices=True)", (2, 3, 8, 7)),
    ("nn.LPPool2d(2, 3, stride=2)", (2, 3, 8, 7)),
    ("nn.BatchNorm1d(4)", (5, 4)),
    ("nn.BatchNorm1d(4, momentum=None)", (5, 4, 3)),
    ("nn.BatchNorm2d(4)", (3, 4, 2, 3)),
    ("nn.BatchNorm2d(4, affine=False, track_running_stats=False)", (3, 4, 2, 3)),
    ("nn.BatchNorm2d(4).eval()", (3, 4, 2, 3)),
    ("nn.BatchNorm3d(2)", (3, 2, 2, 2, 3)),
    ("nn.LayerNorm(6)", (4, 5, 6)),
    ("nn.LayerNorm((5, 6), bias=False)", (4, 5, 6)),
    ("nn.LayerNorm(6, elementwise_affine=False)", (4, 6)),
    ("nn.RMSNorm(6)", (4, 5, 6)),
    ("nn.RMSNorm((5, 6), eps=1e-3, elementwise_affine=False)", (4, 5, 6)),
    ("nn.GroupNorm(2, 4)", (3, 4, 5)),
    ("nn.GroupNorm(4, 4, affine=False)", (3, 4, 5, 2)),
    ("nn.GroupNorm(4, 4, bias=False)", (3, 4, 5, 2)),
    ("nn.BatchNorm2d(4, bias=False)", (3, 4, 2, 3)),
    ("nn.InstanceNorm1d(4)", (3, 4, 5)),
    ("nn.InstanceNorm2d(4, affine=True, track_running_stats=True)", (3, 4, 5, 2)),
    ("nn.LocalResponseNorm(3)", (2, 5, 4)),
    ("nn.Dropout(0.3)", (40,)),
    ("nn.Dropout1d(0.5)", (3, 8, 4)),
    ("nn.Dropout2d(0.5)", (3, 8, 4, 2)),
    ("nn.Dropout3d(0.5)", (8, 4, 2, 2)),
    ("nn.AlphaDropout(0.3)", (40,)),
    ("nn.Dropout(0.3).eval()", (4,)),
    ("nn.Flatten()", (2, 3, 4)),
    ("nn.Flatten(0, 1)", (2, 3, 4)),
    ("nn.Unflatten(1, (2, 3))", (4, 6)),
    *[(f"nn.{name}()", (3, 4)) for name in (
        "ReLU", "ReLU6", "LeakyReLU", "PReLU", "ELU", "SELU", "CELU", "GELU", "SiLU", "Mish",
        "Sigmoid", "LogSigmoid", "Tanh", "Tanhshrink", "Softplus", "Softsign", "Hardtanh",
        "Hardswish", "Hardsigmoid", "Hardshrink", "Softshrink",
    )],
    ("nn.ReLU6(inplace=True)", (3, 4)),
    ("nn.LeakyReLU(0.2)", (3, 4)),
    ("nn.PReLU(4)", (3, 4, 2)),
    ("nn.ELU(0.5)", (3, 4)),
    ("nn.CELU(0.5)", (3, 4)),
    ("nn.RReLU(0.1, 0.2).eval()", (3, 4)),
    ("nn.GELU('tanh')", (3, 4)),
    ("nn.Softplus(2.0, 3.0)", (3, 4)),
    ("nn.Hardtanh(-0.3, 0.4)", (3, 4)),
    ("nn.Threshold(0.1, 2.0)", (3, 4)),
    ("nn.GLU(1)", (3, 4)),
    ("nn.Softmax(1)", (3, 4)),
    ("nn.Softmax2d()", (2, 3, 4, 2)),
    ("nn.LogSoftmax(-1)", (3, 4)),
    ("nn.Softmin(0)", (3, 4)),
    ("nn.ZeroPad2d((1, 2, 0, 3))", (2, 3, 4, 5)),
    ("nn.ConstantPad1d((2, 1), 3.5)", (2, 3, 4)),
    ("nn.ConstantPad2d(-1, 3.5)", (2, 3, 4, 5)),
    ("nn.ReflectionPad1d(2)", (2, 3, 4)),
    ("nn.ReflectionPad2d((1, 2, 3, 0))", (2, 3, 4, 5)),
    ("nn.ReplicationPad1d((3, 1))", (2, 3, 4)),
    ("nn.ReplicationPad2d(2)", (2, 3, 4, 5)),
    ("nn.CircularPad2d((1, 2, 3, 0))", (2, 3, 4, 5)),
    ("nn.Upsample(scale_factor=2)", (2, 3, 4, 5)),
    ("nn.Upsample(size=(7, 3))", (2, 3, 4, 5)),
    ("nn.Upsample(scale_factor=1.7, mode='bilinear')", (2, 3, 4, 5)),
    ("nn.Upsample(size=(7, 9), mode='bilinear', align_corners=True)", (2, 3, 4, 5)),
    ("nn.Upsample(scale_factor=2, mode='bicubic')", (2, 3, 4, 5)),
    ("nn.Upsample(size=7, mode='linear')", (2, 3, 5)),
    ("nn.PixelShuffle(2)", (2, 8, 3, 4)),
    ("nn.PixelUnshuffle(2)", (2, 3, 4, 6)),
    ("nn.ChannelShuffle(2)", (2, 6, 3, 2)),
    ("nn.Unfold((2, 3), dilation=(1, 2), padding=1, stride=(2, 1))", (2, 3, 5, 7)),
    ("nn.Fold((5, 6), (2, 3), padding=1, stride=(2, 1))", (2, 12, 18)),
    ("nn.CosineSimilarity()", (3, 4), (3, 4)),
    ("nn.PairwiseDistance()", (3, 4), (3, 4)),
    ("nn.MSELoss()", (3, 4), (3, 4)),
    ("nn.MSELoss(reduction='sum')", (3, 4), (3, 4)),
    ("nn.L1Loss(reduction='none')", (3, 4), (3, 4)),
    ("nn.SmoothL1Loss(beta=0.5)", (3, 4), (3, 4)),
    ("nn.HuberLoss(delta=0.7)", (3, 4), (3, 4)),
    ("nn.PoissonNLLLoss()", (3, 4), (3, 4)),
    ("nn.TripletMarginLoss(swap=True)", (3, 4), (3, 4), (3, 4)),
    ("nn.RNN(3, 4)", (5, 2, 3)),
    ("nn.RNN(3, 4, 2, 'relu', batch_first=True)", (2, 5, 3)),
    ("nn.LSTM(3, 4)", (5, 2, 3)),
    ("nn.LSTM(3, 4, 2, bidirectional=True, batch_first=True)", (2, 5, 3)),
    ("nn.LSTM(3, 4, bias=False)", (5, 3)),
    ("nn.GRU(3, 4)", (5, 2, 3), (1, 2, 4)),
    ("nn.GRU(3, 4, num_layers=2, bidirectional=True)", (5, 2, 3)),
    ("nn.RNNCell(3, 4, nonlinearity='relu')", (2, 3), (2, 4)),
    ("nn.LSTMCell(3, 4)", (2, 3)),
    ("nn.GRUCell(3, 4, bias=False)", (3,)),
    ("nn.MultiheadAttention(8, 2)", (5, 3, 8), (6, 3, 8), (6, 3, 8)),
    ("nn.MultiheadAttention(8, 4, batch_first=True, bias=False)",
     (3, 5, 8), (3, 6, 8), (3, 6, 8)),
    ("nn.MultiheadAttention(8, 2, add_bias_kv=True, add_zero_attn=True)",
     (5, 3, 8), (6, 3, 8), (6, 3, 8)),
    ("nn.MultiheadAttention(8, 2, kdim=4, vdim=6)", (5, 8), (6, 4), (6, 6)),
    ("nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 2)))", (5, 3)),
]  # fmt: skip


def both(code: str, **names: Any) -> list[Any]:
    """The code's value in each library, from the same seed."""
    out = []
    for lib in (tabgrad, torch):
        lib.manual_seed(3)
        space = {"torch": lib, "nn": lib.nn, "F": lib.nn.functional, "optim": lib.optim}
        out.append(eval(code, {**space, **names.get(lib.__name__, {})}))
    return out


def inputs(shapes: Any, seed: int = 0, grad: bool = True) -> tuple[list[Any], list[Any]]:
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(shape).astype("float32") for shape in shapes]
    return tuple(
        [lib.tensor(a.tolist(), requires_grad=grad) for a in arrays] for lib in (tabgrad, torch)
    )


def array(x: Any) -> Any:
    return np.array(x.detach().tolist())


def same(got: Any, want: Any, tol: float = 2e-5) -> None:
    if isinstance(want, tuple | list):
        assert len(got) == len(want)
        for a, b in zip(got, want, strict=True):
            same(a, b, tol)
        return
    assert tuple(got.shape) == tuple(want.shape)
    assert str(got.dtype) == str(want.dtype)
    np.testing.assert_allclose(array(got), array(want), rtol=tol, atol=tol)


def backward(out: Any, lib: Any) -> None:
    """From a weighted sum, so that the gradients of all elements differ."""
    out = out[0] if isinstance(out, tuple) else out
    weights = np.cos(np.arange(out.numel())).reshape(tuple(out.shape))
    (out * lib.tensor(weights.tolist(), dtype=lib.float32)).sum().backward()


@pytest.mark.parametrize("shape", [(5, 4), (4,), (3, 4, 2), (2, 4, 3, 2), (0, 4)])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_cross_entropy(shape: Any, reduction: str, smoothing: float) -> None:
    """Values and gradients, with and without weights and ignored targets."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype("float32")
    dim = 1 if len(shape) > 1 else 0
    y = rng.integers(0, 4, np.delete(shape, dim))
    for weight, ignored in itertools.product((None, [0.5, 2.0, 1.0, 0.0]), (-100, 2)):
        results = []
        for lib in (tabgrad, torch):
            scores = lib.tensor(x.tolist()).reshape(shape).requires_grad_()
            loss = lib.nn.functional.cross_entropy(
                scores,
                lib.tensor(y.tolist(), dtype=lib.int64),
                None if weight is None else lib.tensor(weight),
                ignore_index=ignored,
                reduction=reduction,
                label_smoothing=smoothing,
            )
            backward(loss, lib)
            results.append((loss, scores.grad))
        same(*results)


@pytest.mark.parametrize(("code", *[("shapes")]), [(c[0], c[1:]) for c in CASES])
def test_layer(code: str, shapes: Any) -> None:
    ours, theirs = both(code)
    assert repr(ours) == repr(theirs)
    state, wanted = ours.state_dict(), theirs.state_dict()
    assert list(state) == list(wanted)
    assert dict(state._metadata) == dict(wanted._metadata)
    for key in wanted:
        same(state[key], wanted[key], 1e-6)
    xs, ts = inputs(shapes)
    if "inplace" in code:
        results = ours(*[x * 1 for x in xs]), theirs(*[t * 1 for t in ts])
    else:
        tabgrad.manual_seed(5)
        torch.manual_seed(5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = ours(*xs), theirs(*ts)
    same(*results)
    backward(results[0], tabgrad)
    backward(results[1], torch)
    for x, t in zip([*xs, *ours.parameters()], [*ts, *theirs.parameters()], strict=True):
        same(x.grad, t.grad, 1e-4)
    for key in wanted:  # running statistics
        same(ours.state_dict()[key], theirs.state_dict()[key])


LOSSES = [
    # loss, shape of the scores, target as code
    ("nn.CrossEntropyLoss()", (4, 3), "torch.tensor([0, 2, 1, 1])"),
    ("nn.CrossEntropyLoss()", (3,), "torch.tensor(1)"),
    ("nn.CrossEntropyLoss(ignore_index=1)", (4, 3), "torch.tensor([0, 2, 1, 1])"),
    ("nn.CrossEntropyLoss(reduction='none')", (4, 3), "torch.tensor([0, -100, 1, 1])"),
    ("nn.CrossEntropyLoss(reduction='sum', label_smoothing=0.2)", (4, 3),
     "torch.tensor([0, -100, 1, 1])"),
    ("nn.CrossEntropyLoss(label_smoothing=0.2)", (4, 3), "torch.tensor([0, -100, 1, 1])"),
    ("nn.CrossEntropyLoss(torch.tensor([0.2, 1.0, 3.0]))", (4, 3), "torch.tensor([0, 2, 1, 1])"),
    ("nn.CrossEntropyLoss(torch.tensor([0.2, 1.0, 3.0]), label_smoothing=0.1, ignore_index=2)",
     (4, 3), "torch.tensor([0, 2, 1, 1])"),
    ("nn.CrossEntropyLoss()", (2, 3, 2), "torch.tensor([[0, 2], [1, 1]])"),
    ("nn.CrossEntropyLoss()", (2, 3), "torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])"),
    ("nn.CrossEntropyLoss(torch.tensor([0.2, 1.0, 3.0]), label_smoothing=0.1)", (2, 3),
     "torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])"),
    ("nn.NLLLoss()", (4, 3), "torch.tensor([0, 2, 1, 1])"),
    ("nn.NLLLoss(torch.tensor([0.2, 1.0, 3.0]), reduction='none')", (4, 3),
     "torch.tensor([0, 2, 1, -100])"),
    ("nn.BCEWithLogitsLoss()", (3, 2), "torch.tensor([[0.0, 1.0], [0.5, 1.0], [0.0, 0.0]])"),
    ("nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0, 3.0]))", (3, 2),
     "torch.tensor([[0.0, 1.0], [0.5, 1.0], [0.0, 0.0]])"),
    ("nn.BCEWithLogitsLoss(torch.tensor([2.0, 3.0]), reduction='sum')", (3, 2),
     "torch.tensor([[0.0, 1.0], [0.5, 1.0], [0.0, 0.0]])"),
    ("nn.Sequential(nn.Sigmoid())", (3, 2), None),
    ("nn.KLDivLoss(reduction='batchmean')", (3, 2), "torch.tensor([[0.2, 0.8]]).expand(3, 2)"),
    ("nn.KLDivLoss(reduction='sum', log_target=True)", (3, 2), "torch.zeros(3, 2)"),
    ("nn.SoftMarginLoss()", (4,), "torch.tensor([1.0, -1.0, -1.0, 1.0])"),
    ("nn.HingeEmbeddingLoss()", (4,), "torch.tensor([1.0, -1.0, -1.0, 1.0])"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "shape", "target"), LOSSES)
def test_loss(code: str, shape: Any, target: str | None) -> None:
    ours, theirs = both(code)
    assert repr(ours) == repr(theirs)
    (x,), (t,) = inputs([shape])
    targets = both(target) if target else [None, None]
    got = ours(x, targets[0]) if target else ours(x)
    want = theirs(t, targets[1]) if target else theirs(t)
    same(got, want)
    backward(got, tabgrad)
    backward(want, torch)
    same(x.grad, t.grad)


def test_bce_at_its_limits() -> None:
    results = []
    for lib in (tabgrad, torch):
        x = lib.tensor([0.0, 1.0, 0.3, 0.0, 1.0], requires_grad=True)
        y = lib.tensor([1.0, 0.0, 0.4, 0.2, 0.7])
        loss = lib.nn.BCELoss(reduction="none")(x, y)
        loss.sum().backward()
        results.append((loss, x.grad))
    same(*results, 1e-4)


def test_max_pool_gives_ties_to_the_first() -> None:
    grads = []
    for lib in (tabgrad, torch):
        x = lib.tensor(np.zeros((1, 1, 5, 5)).tolist(), requires_grad=True)
        out, index = lib.nn.functional.max_pool2d(x, 3, 1, 1, return_indices=True)
        out.sum().backward()
        grads.append((x.grad, index))
    same(*grads)


@pytest.mark.parametrize("code", [
    "nn.Embedding(7, 3)", "nn.Embedding(7, 3, padding_idx=2)", "nn.Embedding(7, 3, -1, 0.5)",
    "nn.Embedding(7, 3, scale_grad_by_freq=True)",
    "nn.Embedding.from_pretrained(torch.ones(7, 3), freeze=False)",
])  # fmt: skip
def test_embedding(code: str) -> None:
    ours, theirs = both(code)
    assert repr(ours) == repr(theirs)
    same(ours.weight, theirs.weight)
    outs = []
    for lib, layer in ((tabgrad, ours), (torch, theirs)):
        out = layer(lib.tensor([[1, 2, 2], [6, 0, 1]]))
        backward(out, lib)
        outs.append((out, layer.weight.grad, layer.weight))
    same(*outs)


INITS = [
    "uniform_(x, -1, 2)", "normal_(x, 1, 2)", "trunc_normal_(x, std=0.02)",
    "trunc_normal_(x, 0.0, 1.0, 1.0, 3.0)", "trunc_normal_(x)", "constant_(x, 3)", "ones_(x)",
    "zeros_(x)", "eye_(x)", "xavier_uniform_(x, 2.0)", "xavier_normal_(x)", "kaiming_uniform_(x)",
    "kaiming_normal_(x, mode='fan_out', nonlinearity='relu')", "orthogonal_(x, 1.5)",
    "orthogonal_(x.t())", "sparse_(x, 0.3)", "dirac_(x.reshape(4, 3, 2))",
    "dirac_(x.reshape(4, 3, 2), 2)",
]  # fmt: skip


@pytest.mark.parametrize("code", INITS)
def test_init(code: str) -> None:
    same(
        *both(f"nn.init.{code}", tabgrad={"x": tabgrad.zeros(4, 6)}, torch={"x": torch.zeros(4, 6)})
    )


NET = "type('Net', (nn.Module,), {'forward': lambda self, x: x})()"
ERRORS = [
    "nn.Linear(2, 3)(torch.ones(4, 5))",
    "nn.Linear(2, 3)(torch.ones(5))",
    "nn.Linear(2, 3).load_state_dict({})",
    "nn.Linear(2, 3).load_state_dict({'weight': torch.ones(1), 'bias': torch.ones(3)})",
    "nn.Linear(2, 3).load_state_dict({'weight': torch.ones(3, 2), 'bias': torch.ones(3), 'x': 1})",
    "nn.Linear(2, 3).load_state_dict({'weight': 1, 'bias': torch.ones(3)})",
    "nn.Linear(2, 3).load_state_dict([])",
    "nn.Sequential(nn.Linear(2, 3)).load_state_dict({'1.a': 1, '0.weight': torch.ones(3, 2)})",
    "nn.Module()(1)",
    "nn.Module(1)",
    "nn.Module(a=1)",
    "nn.Linear(2, 3).nothing",
    "setattr(nn.Linear(2, 3), 'weight', 3)",
    "setattr(nn.Linear(2, 3), 'weight', torch.ones(3, 2))",
    "setattr(nn.Sequential(nn.ReLU()), '0', 3)",
    "setattr(nn.BatchNorm1d(2), 'running_mean', 'x')",
    "nn.Linear(2, 3).register_parameter('weight.x', None)",
    "nn.Linear(2, 3).register_parameter('', None)",
    "nn.Linear(2, 3).register_parameter('extra_repr', None)",
    "nn.Linear(2, 3).register_parameter(3, None)",
    "nn.Linear(2, 3).register_parameter('x', torch.ones(2))",
    "nn.Linear(2, 3).register_buffer('weight', torch.ones(2))",
    "nn.Linear(2, 3).register_buffer('x', 3)",
    "nn.Linear(2, 3).add_module('weight', nn.ReLU())",
    "nn.Linear(2, 3).add_module('x', 3)",
    "nn.Linear(2, 3).get_submodule('weight')",
    "nn.Linear(2, 3).get_submodule('nothing.x')",
    "nn.Linear(2, 3).get_parameter('nothing')",
    "nn.Linear(2, 3).get_parameter('training')",
    "nn.Linear(2, 3).get_buffer('weight')",
    "nn.Linear(2, 3).to(torch.int64)",
    "nn.Linear(2, 3).train(1)",
    "nn.Sequential(nn.ReLU())[3]",
    "nn.Sequential(3)",
    "nn.Conv2d(3, 4, 3)(torch.ones(1, 2, 5, 5))",
    "nn.Conv2d(3, 4, 3)(torch.ones(1, 3, 2, 2))",
    "nn.Conv2d(3, 4, 3)(torch.ones(3, 5))",
    "nn.Conv2d(3, 4, 3, groups=2)",
    "nn.Conv2d(4, 3, 3, groups=2)",
    "nn.Conv2d(4, 4, 3, stride=2, padding='same')",
    "nn.ConvTranspose2d(3, 4, 3)(torch.ones(1, 2, 5, 5))",
    "nn.ConvTranspose2d(3, 4, 3, output_padding=1)(torch.ones(1, 3, 5, 5))",
    "nn.MaxPool2d(2, padding=2)(torch.ones(1, 2, 5, 5))",
    "nn.MaxPool2d(2)(torch.ones(1, 2, 1, 1))",
    "nn.AvgPool2d(2, padding=2)(torch.ones(1, 2, 5, 5))",
    "nn.BatchNorm1d(3)(torch.ones(1, 3))",
    "nn.BatchNorm2d(3)(torch.ones(2, 3))",
    "nn.InstanceNorm1d(3)(torch.ones(1, 3, 1))",
    "nn.LayerNorm(3)(torch.ones(2, 4))",
    "nn.GroupNorm(2, 3)",
    "F.group_norm(torch.ones(2, 3), 2)",
    "nn.Embedding(3, 2, padding_idx=5)",
    "nn.Dropout(1.5)",
    "F.dropout(torch.ones(2), -1)",
    "F.gelu(torch.ones(2), approximate='x')",
    "F.glu(torch.ones(3))",
    "F.softshrink(torch.ones(3), -1)",
    "nn.PReLU(3)(torch.ones(2, 2))",
    "nn.CrossEntropyLoss()(torch.ones(2, 3), torch.tensor([1]))",
    "nn.CrossEntropyLoss()(torch.ones(2, 3), torch.tensor([[1], [2]]))",
    "nn.CrossEntropyLoss(label_smoothing=2)(torch.ones(2, 3), torch.tensor([1, 1]))",
    "nn.CrossEntropyLoss()(torch.ones(2, 3), torch.ones(2, 3, dtype=torch.int64))",
    "nn.CrossEntropyLoss()(torch.ones(2, 3), torch.ones(2))",
    "F.mse_loss(torch.ones(2), torch.ones(2), reduction='x')",
    "F.binary_cross_entropy(torch.ones(2), torch.ones(3))",
    "F.binary_cross_entropy_with_logits(torch.ones(2), torch.ones(3))",
    "F.interpolate(torch.ones(1, 1, 2))",
    "F.interpolate(torch.ones(1, 1, 2), size=2, scale_factor=2)",
    "F.interpolate(torch.ones(1, 1, 2), size=(2, 2))",
    "F.interpolate(torch.ones(1, 1, 2), size=2, align_corners=True)",
    "F.pad(torch.ones(2), (1,))",
    "F.pad(torch.ones(1, 2), (2, 0), mode='reflect')",
    "nn.init.xavier_uniform_(torch.ones(2))",
    "nn.init.calculate_gain('x')",
    "nn.init.kaiming_uniform_(torch.ones(2, 2), mode='x')",
    "nn.utils.vector_to_parameters([1], [])",
    "nn.ModuleList(3)",
    "nn.ModuleDict(3)",
    "F.cross_entropy(torch.ones(2, 3, 4), torch.ones(2, 5, dtype=torch.int64))",
    "F.cross_entropy(torch.ones(2, 3, 4), torch.ones(2, dtype=torch.int64))",
    "F.cross_entropy(torch.ones(2, 3, 4), torch.ones(2, 4))",
    "F.cross_entropy(torch.ones(2, 3), torch.ones(2, dtype=torch.int32))",
    "F.cross_entropy(torch.ones(2, 3), torch.tensor([0, 1]), weight=torch.ones(2))",
    "F.cross_entropy(torch.ones(2, 3, dtype=torch.int64), torch.tensor([0, 1]))",
    "F.nll_loss(torch.ones(2, 3), torch.tensor([1]))",
    "F.interpolate(torch.ones(1, 1, 2), scale_factor=(2, 2))",
    "F.interpolate(torch.ones(1, 1, 2), size=2, mode='bilinear')",
    "F.interpolate(torch.ones(2), size=2)",
    "F.conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 2, 2, dtype=torch.float64))",
    "F.conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 2, 2), torch.ones(1, dtype=torch.float64))",
    "F.embedding(torch.ones(3), torch.ones(4, 2))",
    "F.max_pool2d(torch.ones(3, 4), 2)",
    "F.max_pool1d(torch.ones(3), 2)",
    "F.adaptive_avg_pool2d(torch.ones(3, 4), 2)",
    "F.adaptive_max_pool2d(torch.ones(3, 4), 2)",
    "F.batch_norm(torch.ones(2, 3), None, None)",
    "nn.BatchNorm2d(3)(torch.ones(2, 4, 2, 2))",
    "F.rms_norm(torch.ones(2, 3), (4,))",
    "F.pixel_shuffle(torch.ones(1, 3, 2, 2), 2)",
    "F.pixel_unshuffle(torch.ones(1, 3, 3, 2), 2)",
    "F.celu(torch.ones(2), alpha=0)",
    "F.hardtanh(torch.ones(2), 3, 1)",
    "nn.Hardtanh(3, 1)",
    "F.kl_div(torch.ones(2), torch.ones(2), reduction='x')",
    "F.smooth_l1_loss(torch.ones(2), torch.ones(2), beta=-1)",
    "F.huber_loss(torch.ones(2), torch.ones(2), delta=-1)",
]  # fmt: skip


@pytest.mark.parametrize("code", ERRORS)
def test_error(code: str) -> None:
    with pytest.raises(Exception) as want:
        eval(code, {"torch": torch, "nn": torch.nn, "F": torch.nn.functional})
    space = {"torch": tabgrad, "nn": tabgrad.nn, "F": tabgrad.nn.functional}
    with pytest.raises(Exception) as got:
        repr(eval(code, space))
    assert got.type is want.type
    text = str(want.value).replace("torch.nn.modules.module.Module", "tabgrad.nn.module.Module")
    assert str(got.value).replace("'torch.", "'").strip() == text.replace("'torch.", "'").strip()


class Built:
    """The same small network in both libraries."""

    def __init__(self, lib: Any) -> None:
        nn = lib.nn

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a = nn.Linear(3, 4)
                self.norm = nn.BatchNorm1d(4)
                self.b = nn.ModuleList([nn.Linear(4, 4), self.a])
                self.c = nn.ModuleDict({"x": nn.Linear(4, 2), "y": nn.ReLU()})
                self.scale = nn.Parameter(lib.ones(2))
                self.register_buffer("seen", lib.zeros(1), persistent=False)
                self.register_parameter("none", None)
                self.plist = nn.ParameterList([lib.ones(1), lib.zeros(2)])
                self.pdict = nn.ParameterDict({"u": lib.ones(1)})

            def forward(self, x: Any) -> Any:
                x = self.norm(self.a(x))
                return self.c["x"](self.c["y"](self.b[0](x))) * self.scale

        lib.manual_seed(0)
        self.net = Net()


def test_module_tree() -> None:
    ours, theirs = Built(tabgrad).net, Built(torch).net
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert list(ours.state_dict()._metadata) == list(theirs.state_dict()._metadata)
    for kwargs in ({}, {"prefix": "p"}, {"recurse": False}, {"remove_duplicate": False}):
        for name in ("named_parameters", "named_buffers"):
            got = [key for key, _ in getattr(ours, name)(**kwargs)]
            assert got == [key for key, _ in getattr(theirs, name)(**kwargs)]
    assert [n for n, _ in ours.named_modules()] == [n for n, _ in theirs.named_modules()]
    assert [n for n, _ in ours.named_children()] == [n for n, _ in theirs.named_children()]
    same(list(ours.parameters()), list(theirs.parameters()))


def test_deepcopy_and_training() -> None:
    (x,), (t,) = inputs([(5, 3)], grad=False)
    outs = []
    for lib, data in ((tabgrad, x), (torch, t)):
        net = copy.deepcopy(Built(lib).net)
        opt = lib.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        for _ in range(3):
            opt.zero_grad()
            (net(data) ** 2).mean().backward()
            opt.step()
        outs.append(list(net.state_dict().values()))
    same(*outs, 1e-4)


def test_hooks_are_called_alike() -> None:
    logs = []
    for lib in (tabgrad, torch):
        log: list[Any] = []
        lib.manual_seed(0)
        layer = lib.nn.Linear(2, 2)
        layer.register_forward_pre_hook(lambda m, a: (a[0] * 2,))
        layer.register_forward_hook(lambda m, a, o, log=log: log.append((len(a), o.tolist())))
        layer.register_forward_hook(lambda m, a, k, o: o + 1, with_kwargs=True, prepend=True)
        layer.register_full_backward_pre_hook(lambda m, g: (g[0] * 3,))
        layer.register_full_backward_hook(
            lambda m, gi, go, log=log: log.append((gi[0].tolist(), go[0].tolist()))
        )
        x = lib.ones(1, 2, requires_grad=True)
        (layer(x) * x).sum().backward()
        log.append(x.grad.tolist())
        logs.append(log)
    assert len(logs[0]) == len(logs[1])
    for a, b in zip(*logs, strict=True):
        for u, v in zip(a, b, strict=True):
            np.testing.assert_allclose(u, v, rtol=1e-5)


@pytest.mark.parametrize("norm_type", [2.0, 1.0, float("inf"), 3.0])
def test_clip_grad_norm(norm_type: float) -> None:
    outs = []
    for lib in (tabgrad, torch):
        ps = [lib.nn.Parameter(lib.zeros(3)), lib.nn.Parameter(lib.zeros(2, 2))]
        for i, p in enumerate(ps):
            p.grad = lib.ones(p.shape) * (i + 2)
        total = lib.nn.utils.clip_grad_norm_(ps, 1.5, norm_type)
        outs.append([total, *(p.grad for p in ps)])
    same(*outs)


def test_multihead_attention_masks() -> None:
    ours, theirs = both("nn.MultiheadAttention(8, 2, batch_first=True)")
    (x,), (t,) = inputs([(3, 5, 8)])
    masks = (
        "{'attn_mask': torch.ones(5, 5).triu(1) > 0}",
        "{'attn_mask': torch.arange(25.0).reshape(5, 5) / 9}",
        "{'attn_mask': torch.arange(150.0).reshape(6, 5, 5) / 90}",
        "{'key_padding_mask': torch.arange(5).expand(3, 5) > 3}",
        "{'key_padding_mask': torch.arange(5).expand(3, 5) > 3, "
        "'attn_mask': torch.ones(5, 5).triu(1) > 0, 'average_attn_weights': False}",
    )
    for mask in masks:
        mine, other = both(mask)
        same(ours(x, x, x, **mine), theirs(t, t, t, **other))
        mine["need_weights"] = other["need_weights"] = False
        same(ours(x, x, x, **mine)[0], theirs(t, t, t, **other)[0])
        with tabgrad.no_grad(), torch.no_grad():
            same(ours(x, x, x, **mine)[0], theirs(t, t, t, **other)[0])


@pytest.mark.parametrize("grad", [True, False])
def test_attention(grad: bool) -> None:
    (q, k, v), (tq, tk, tv) = inputs([(2, 4, 5, 8), (2, 4, 6, 8), (2, 4, 6, 8)], grad=grad)
    (mask,), (tmask,) = inputs([(5, 6)], seed=1, grad=False)
    mask[2], tmask[2] = -math.inf, -math.inf  # a query that sees nothing
    for kw, tkw in (
        ({}, {}), ({"attn_mask": mask}, {"attn_mask": tmask}),
        ({"attn_mask": mask > 0}, {"attn_mask": tmask > 0}), ({"scale": 0.3}, {"scale": 0.3}),
        ({"is_causal": True}, {"is_causal": True}),
    ):  # fmt: skip
        same(
            tabgrad.nn.functional.scaled_dot_product_attention(q, k, v, **kw),
            torch.nn.functional.scaled_dot_product_attention(tq, tk, tv, **tkw),
        )
    same(
        tabgrad.nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True),
        torch.nn.functional.scaled_dot_product_attention(tq, tq, tq, is_causal=True),
    )
