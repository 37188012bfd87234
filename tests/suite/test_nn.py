"""nn on every device: against closed forms and against a plain reading in numpy."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import tabgrad as torch
from tabgrad import nn
from tabgrad.nn import functional as F


def rand(rng: Any, *shape: int, grad: bool = False) -> Any:
    return torch.tensor(rng.standard_normal(shape).astype("float32").tolist(), requires_grad=grad)


def array(x: Any) -> Any:
    return np.array(x.detach().tolist(), dtype="float64")


def close(got: Any, want: Any, tol: float = 1e-4) -> None:
    got = array(got)
    assert got.shape == np.shape(want)
    np.testing.assert_allclose(got, want, rtol=tol, atol=tol)


def test_linear(rng: Any) -> None:
    layer = nn.Linear(4, 3)
    x = rand(rng, 2, 5, 4, grad=True)
    out = layer(x)
    close(out, array(x) @ array(layer.weight).T + array(layer.bias))
    out.sum().backward()
    close(layer.bias.grad, np.full(3, 10.0))
    close(layer.weight.grad, np.tile(array(x).sum((0, 1)), (3, 1)))
    close(x.grad, np.broadcast_to(array(layer.weight).sum(0), (2, 5, 4)))


def conv_by_loops(x: Any, w: Any, stride: int, pad: int, dilation: int, groups: int) -> Any:
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    n, _, h, width = x.shape
    o, per, kh, kw = w.shape
    oh = (h - dilation * (kh - 1) - 1) // stride + 1
    ow = (width - dilation * (kw - 1) - 1) // stride + 1
    out = np.zeros((n, o, oh, ow))
    for oc in range(o):
        first = oc // (o // groups) * per
        for i in range(oh):
            for j in range(ow):
                rows = slice(i * stride, i * stride + dilation * (kh - 1) + 1, dilation)
                columns = slice(j * stride, j * stride + dilation * (kw - 1) + 1, dilation)
                part = x[:, first : first + per, rows, columns]
                out[:, oc, i, j] = (part * w[oc]).sum((1, 2, 3))
    return out


@pytest.mark.parametrize("options", [(1, 0, 1, 1), (2, 1, 1, 2), (1, 2, 2, 1), (2, 1, 1, 4)])
def test_conv2d(rng: Any, options: Any) -> None:
    stride, pad, dilation, groups = options
    layer = nn.Conv2d(4, 8, 3, stride, pad, dilation, groups)
    x = rand(rng, 2, 4, 7, 6)
    want = conv_by_loops(array(x), array(layer.weight), *options)
    close(layer(x), want + array(layer.bias)[:, None, None])


def test_conv_transpose_is_the_gradient_of_conv(rng: Any) -> None:
    w, x = rand(rng, 4, 3, 3, 3), rand(rng, 2, 3, 9, 9, grad=True)
    g = rand(rng, 2, 4, 5, 5)
    (F.conv2d(x, w, stride=2, padding=1) * g).sum().backward()
    close(F.conv_transpose2d(g, w, stride=2, padding=1), array(x.grad))


def test_conv1d_and_conv3d_agree_with_conv2d(rng: Any) -> None:
    x, w = rand(rng, 2, 3, 8), rand(rng, 4, 3, 3)
    want = F.conv2d(x.unsqueeze(2), w.unsqueeze(2), padding=(0, 1)).squeeze(2)
    close(F.conv1d(x, w, padding=1), array(want))
    x, w = rand(rng, 1, 2, 1, 5, 6), rand(rng, 3, 2, 1, 2, 2)
    close(F.conv3d(x, w).squeeze(2), array(F.conv2d(x.squeeze(2), w.squeeze(2))))


def test_max_pool(rng: Any) -> None:
    x = torch.tensor([[[[1.0, 5.0, 5.0], [2.0, 5.0, 0.0], [7.0, 1.0, 9.0]]]], requires_grad=True)
    out, index = F.max_pool2d(x, 2, 1, return_indices=True)
    assert out.tolist() == [[[[5.0, 5.0], [7.0, 9.0]]]]
    assert index.tolist() == [[[[1, 1], [6, 8]]]]  # the first of equal ones
    out.sum().backward()
    assert x.grad.tolist() == [[[[0.0, 2.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]]]]


def test_max_pool_of_nothing_but_minus_infinity_and_nan() -> None:
    x = torch.tensor([[[-math.inf, -math.inf], [1.0, math.nan]]])
    got = F.max_pool2d(x, (1, 2)).flatten().tolist()
    assert got[0] == -math.inf
    assert math.isnan(got[1])


def test_average_pools(rng: Any) -> None:
    x = rand(rng, 2, 3, 6, 4)
    blocks = array(x).reshape(2, 3, 3, 2, 2, 2).mean((3, 5))
    close(F.avg_pool2d(x, 2), blocks)
    close(F.adaptive_avg_pool2d(x, (3, 2)), blocks)
    close(F.adaptive_avg_pool2d(x, 1), array(x).mean((2, 3), keepdims=True))
    uneven = F.adaptive_avg_pool2d(x, (4, 4))  # rows 0-2, 1-3, 3-5, 4-6
    close(uneven[:, :, 1], array(x)[:, :, 1:3].mean(2))


def test_batch_norm(rng: Any) -> None:
    layer = nn.BatchNorm2d(3)
    x = rand(rng, 4, 3, 2, 5)
    mean, var = array(x).mean((0, 2, 3)), array(x).var((0, 2, 3))
    want = (array(x) - mean[:, None, None]) / np.sqrt(var + 1e-5)[:, None, None]
    close(layer(x), want)
    close(layer.running_mean, 0.1 * mean)
    close(layer.running_var, 0.9 + 0.1 * var * 40 / 39)
    assert layer.num_batches_tracked.item() == 1
    layer.eval()
    scale = 1 / np.sqrt(0.9 + 0.1 * var * 40 / 39 + 1e-5)
    close(layer(x), (array(x) - 0.1 * mean[:, None, None]) * scale[:, None, None])


def test_batch_norm_with_a_cumulative_average(rng: Any) -> None:
    layer = nn.BatchNorm1d(2, momentum=None)
    xs = [rand(rng, 5, 2) for _ in range(3)]
    for x in xs:
        layer(x)
    close(layer.running_mean, np.mean([array(x).mean(0) for x in xs], 0))


def test_norms(rng: Any) -> None:
    x = rand(rng, 2, 4, 6)
    a = array(x)
    standard = (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + 1e-5)
    close(nn.LayerNorm(6)(x), standard)
    close(nn.InstanceNorm1d(4)(x), standard)
    close(nn.RMSNorm(6, eps=1e-5)(x), a / np.sqrt((a * a).mean(-1, keepdims=True) + 1e-5))
    groups = a.reshape(2, 2, 12)
    want = (groups - groups.mean(-1, keepdims=True)) / np.sqrt(groups.var(-1, keepdims=True) + 1e-5)
    close(nn.GroupNorm(2, 4)(x), want.reshape(2, 4, 6))


def test_embedding() -> None:
    layer = nn.Embedding(5, 2, padding_idx=1)
    out = layer(torch.tensor([[1, 3], [3, 0]]))
    assert out[0, 0].tolist() == [0.0, 0.0]
    assert out[0, 1].tolist() == layer.weight[3].tolist()
    out.sum().backward()
    assert layer.weight.grad[:, 0].tolist() == [1.0, 0.0, 0.0, 2.0, 0.0]


ACTIVATIONS = [
    (F.relu, lambda x: np.maximum(x, 0)),
    (F.relu6, lambda x: np.clip(x, 0, 6)),
    (F.leaky_relu, lambda x: np.where(x > 0, x, 0.01 * x)),
    (F.elu, lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
    (F.celu, lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
    (F.selu, lambda x: 1.0507009873554805 * np.where(
        x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0)))),
    (F.gelu, lambda x: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))),
    (F.silu, lambda x: x / (1 + np.exp(-x))),
    (F.mish, lambda x: x * np.tanh(np.log1p(np.exp(np.minimum(x, 20))))),
    (F.softplus, lambda x: np.where(x > 20, x, np.log1p(np.exp(np.minimum(x, 20))))),
    (F.logsigmoid, lambda x: np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))),
    (F.softsign, lambda x: x / (1 + np.abs(x))),
    (F.tanhshrink, lambda x: x - np.tanh(x)),
    (F.hardtanh, lambda x: np.clip(x, -1, 1)),
    (F.hardsigmoid, lambda x: np.clip(x + 3, 0, 6) / 6),
    (F.hardswish, lambda x: x * np.clip(x + 3, 0, 6) / 6),
    (F.hardshrink, lambda x: np.where(np.abs(x) > 0.5, x, 0)),
    (F.softshrink, lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0)),
]  # fmt: skip


@pytest.mark.parametrize("i", range(len(ACTIVATIONS)))
def test_activation(i: int, rng: Any) -> None:
    f, reference = ACTIVATIONS[i]
    points = np.array([-90.0, -7.0, -2.2, -0.7, -0.1, 0.1, 0.6, 1.7, 5.0, 90.0])
    x = torch.tensor(points.tolist(), requires_grad=True)
    out = f(x)
    close(out, reference(points), 2e-5)
    out.sum().backward()
    step = 1e-6
    slope = (reference(points + step) - reference(points - step)) / (2 * step)
    close(x.grad, slope, 1e-4)


def test_softmax_of_large_numbers() -> None:
    x = torch.tensor([[1000.0, 1000.0], [-1000.0, 0.0]])
    assert F.softmax(x, 1).tolist() == [[0.5, 0.5], [0.0, 1.0]]
    close(F.log_softmax(x, 1), [[-math.log(2)] * 2, [-1000.0, 0.0]])


def test_cross_entropy(rng: Any) -> None:
    x = rand(rng, 4, 3, grad=True)
    target = torch.tensor([0, 2, -100, 1])
    a = array(x)
    logp = a - np.log(np.exp(a).sum(1, keepdims=True))
    want = -(logp[0, 0] + logp[1, 2] + logp[3, 1]) / 3
    loss = F.cross_entropy(x, target)
    close(loss, want)
    loss.backward()
    grad = np.exp(logp)
    for row, column in ((0, 0), (1, 2), (3, 1)):
        grad[row, column] -= 1
    grad[2] = 0
    close(x.grad, grad / 3)
    smooth = F.cross_entropy(x, target, label_smoothing=0.3)
    close(smooth, 0.7 * want + 0.3 * -logp[[0, 1, 3]].mean())
    assert loss.grad_fn.name() == "NllLossBackward0"


@pytest.mark.parametrize("wrong", [3, -1])
def test_a_target_out_of_range(rng: Any, wrong: int) -> None:
    """Told at the read; no counting from the end."""
    loss = F.cross_entropy(rand(rng, 2, 3), torch.tensor([0, wrong]))
    with pytest.raises(IndexError):
        loss.item()


def test_losses(rng: Any) -> None:
    x, y = rand(rng, 3, 4), rand(rng, 3, 4)
    a, b = array(x), array(y)
    close(F.mse_loss(x, y), ((a - b) ** 2).mean())
    close(F.l1_loss(x, y, reduction="sum"), np.abs(a - b).sum())
    d = np.abs(a - b)
    close(F.smooth_l1_loss(x, y, reduction="none"), np.where(d < 1, d * d / 2, d - 0.5))
    p = 1 / (1 + np.exp(-a))
    t = torch.tensor((b > 0).astype("float32").tolist())
    want = -np.where(b > 0, np.log(p), np.log(1 - p))
    close(F.binary_cross_entropy_with_logits(x, t), want.mean())
    close(F.binary_cross_entropy(x.sigmoid(), t), want.mean())
    assert F.binary_cross_entropy(torch.zeros(1), torch.ones(1)).item() == 100.0


def test_dropout() -> None:
    x = torch.ones(2000)
    out = F.dropout(x, 0.25)
    values = out.tolist()
    assert set(values) == {0.0, torch.tensor(4 / 3).item()}
    assert 400 < values.count(0.0) < 600
    assert F.dropout(x, 0.25, training=False) is x
    channels = F.dropout2d(torch.ones(8, 16, 2, 2), 0.5).mean((2, 3)).flatten().tolist()
    assert set(channels) == {0.0, 2.0}


def test_padding_and_interpolation() -> None:
    x = torch.tensor([[[1.0, 2.0, 3.0]]])
    assert F.pad(x, (1, 2), mode="circular").tolist() == [[[3.0, 1.0, 2.0, 3.0, 1.0, 2.0]]]
    assert F.pad(x, (-1, 1), value=9.0).tolist() == [[[2.0, 3.0, 9.0]]]
    assert F.interpolate(x, size=5).tolist() == [[[1.0, 1.0, 2.0, 2.0, 3.0]]]
    line = F.interpolate(x, size=5, mode="linear", align_corners=True)
    assert line.tolist() == [[[1.0, 1.5, 2.0, 2.5, 3.0]]]


def test_attention(rng: Any) -> None:
    q, k, v = (rand(rng, 2, 4, 8) for _ in range(3))
    scores = array(q) @ array(k).transpose(0, 2, 1) / math.sqrt(8)
    scores[:, np.triu_indices(4, 1)[0], np.triu_indices(4, 1)[1]] = -np.inf
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    want = weights / weights.sum(-1, keepdims=True) @ array(v)
    close(F.scaled_dot_product_attention(q, k, v, is_causal=True), want)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=1, padding=2), nn.MaxPool2d(2), nn.ReLU(),
            nn.Conv2d(16, 32, 5, stride=1, padding=2), nn.MaxPool2d(2), nn.ReLU(),
        )  # fmt: skip
        self.mlp = nn.Linear(32, 10)

    def forward(self, x: Any) -> Any:
        x = self.convs(x)
        x = x.view([x.size(0), -1])
        return self.mlp(x)


def test_net_of_the_readme_learns() -> None:
    model = Net()
    x, y = torch.randn(8, 3, 4, 4), torch.arange(8) % 10
    opt = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(12):
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_state_dict_round_trip() -> None:
    a, b = Net(), Net()
    state = a.state_dict()
    assert list(state) == [
        "convs.0.weight", "convs.0.bias", "convs.3.weight", "convs.3.bias", "mlp.weight",
        "mlp.bias",
    ]  # fmt: skip
    weight = b.mlp.weight
    assert str(b.load_state_dict(state)) == "<All keys matched successfully>"
    assert b.mlp.weight is weight
    assert torch.equal(a.mlp.weight, b.mlp.weight)
    state.pop("mlp.bias")
    state["more"] = torch.ones(1)
    result = b.load_state_dict(state, strict=False)
    assert result == (["mlp.bias"], ["more"])
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "mlp.bias"'):
        b.load_state_dict(state)


def test_copy_apply_to_and_modes() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout())
    twin = copy.deepcopy(net)
    assert twin[0].weight is not net[0].weight
    assert torch.equal(twin[0].weight, net[0].weight)
    net.apply(lambda m: nn.init.ones_(m.weight) if isinstance(m, nn.Linear) else None)
    assert net[0].weight.tolist() == [[1.0, 1.0]] * 3
    weight = net[0].weight
    net.to(torch.float16)
    assert net[0].weight is weight
    assert weight.dtype is torch.float16
    assert net[1].num_batches_tracked.dtype is torch.int64
    assert not any(m.training for m in net.eval().modules())
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())


def test_hooks_see_values_and_gradients() -> None:
    layer = nn.Linear(2, 2, bias=False)
    seen: list[Any] = []
    handles = [
        layer.register_forward_hook(lambda m, args, out: seen.append(tuple(out.shape))),
        layer.register_full_backward_hook(lambda m, gi, go: seen.append(go[0].tolist())),
    ]
    x = torch.ones(1, 2, requires_grad=True)
    layer(x).sum().backward()
    for handle in handles:
        handle.remove()
    layer(x)
    assert seen == [(1, 2), [[1.0, 1.0]]]


def test_clipping() -> None:
    p = nn.Parameter(torch.zeros(2))
    p.grad = torch.tensor([3.0, 4.0])
    assert nn.utils.clip_grad_norm_([p], 1.0).item() == 5.0
    close(p.grad, [0.6, 0.8])
    nn.utils.clip_grad_value_([p], 0.7)
    close(p.grad, [0.6, 0.7])


def test_initialisation_draws_in_pytorch_order() -> None:
    torch.manual_seed(0)
    first = nn.Linear(3, 2)
    torch.manual_seed(0)
    bound = 1 / math.sqrt(3)
    weight = torch.empty(2, 3).uniform_(-bound, bound)
    bias = torch.empty(2).uniform_(-bound, bound)
    assert torch.equal(first.weight, weight)
    assert torch.equal(first.bias, bias)


def test_init_functions() -> None:
    w = nn.init.orthogonal_(torch.empty(3, 5))
    close(w @ w.t(), np.eye(3))
    w = nn.init.trunc_normal_(torch.empty(500), std=1.0, a=-0.5, b=0.5)
    assert -0.5 <= w.min().item() <= w.max().item() <= 0.5
    x = torch.randn(1, 2, 5)
    assert torch.equal(F.conv1d(x, nn.init.dirac_(torch.empty(2, 2, 3)), padding=1), x)
