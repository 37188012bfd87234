"""Which values share a kernel, and that sharing changes no value."""

from __future__ import annotations

import pytest
import tabgrad as torch
from tabgrad.ir import Fused, Instr, Structured
from tabgrad.schedule import Schedule
from tabgrad.schedule.join import join
from test_plan import counted

F = torch.nn.functional


def test_one_kernel_reads_for_two_sums() -> None:
    x = torch.arange(12.0).reshape(3, 4)
    x.tolist()
    both = (x.sum(1), (x * x).sum(1))
    assert counted(lambda: both[0].tolist())["dispatches"] == 1
    assert both[1].tolist() == [14.0, 126.0, 366.0]


def test_row_values_stay_with_their_reduction() -> None:
    x = torch.tensor([[1.0, -2.0], [-3.0, -4.0]])
    x.tolist()
    largest = x.amax(1)
    positive = largest.relu()
    assert counted(lambda: positive.tolist())["dispatches"] == 1
    assert (largest.tolist(), positive.tolist()) == ([1.0, -3.0], [1.0, 0.0])


def test_cheap_values_are_computed_again_rather_than_stored() -> None:
    x = torch.arange(24.0).reshape(2, 3, 4)
    x.tolist()
    centred = x - x.mean((0, 2), keepdim=True)
    out = [(centred * centred).sum((0, 2)), centred.amax((0, 2)), (centred * 2).relu()]
    del centred
    assert counted(lambda: out[0].tolist())["dispatches"] <= 3
    assert out[0].tolist() == [298.0] * 3
    assert out[1].tolist() == [7.5] * 3
    assert out[2].sum().item() == 144.0


def test_kernels_do_not_wait_for_each_other() -> None:
    """A value needed by a matmul and by a kernel that reads the matmul's result."""
    x = torch.eye(3) * 2
    a = x + 1
    b = a @ a
    c = (a - b).sum(1) + a.sum(1)
    assert c.tolist() == [-15.0] * 3
    d = torch.softmax(a, 1)
    e = (d @ a).sum(1, keepdim=True) * d + d
    f = (e - d).sum(1)
    torch.testing.assert_close(f, (d @ a).sum(1))


@pytest.mark.parametrize("stored", [False, True])
def test_training_through_a_batch_norm(stored: bool) -> None:
    norm = torch.nn.BatchNorm2d(3)
    x = torch.randn(4, 3, 5, 2).requires_grad_()
    dy = torch.randn(4, 3, 5, 2)
    for t in (dy, *norm.state_dict().values()):
        t.tolist()
    out = norm(x)
    out.backward(dy)
    if not stored:
        del out
    assert x.grad is not None
    assert counted(lambda: x.grad.tolist())["dispatches"] <= 8
    xhat = (x.detach() - x.detach().mean((0, 2, 3), keepdim=True)) * (
        x.detach().var((0, 2, 3), correction=0, keepdim=True) + 1e-5
    ).rsqrt()
    mean = [t.mean((0, 2, 3), keepdim=True) for t in (dy, dy * xhat)]
    rstd = (x.detach().var((0, 2, 3), correction=0, keepdim=True) + 1e-5).rsqrt()
    torch.testing.assert_close(x.grad, (dy - mean[0] - xhat * mean[1]) * rstd)


def test_the_gradient_of_a_linear_layer_is_not_copied() -> None:
    layer = torch.nn.Linear(6, 5, bias=False)
    x, g = torch.randn(7, 6), torch.randn(7, 5)
    for t in (x, g, layer.weight):
        t.tolist()
    layer(x).backward(g)
    assert layer.weight.grad is not None
    assert counted(lambda: layer.weight.grad.tolist())["dispatches"] == 1
    torch.testing.assert_close(layer.weight.grad, g.t() @ x)


def test_max_pooling_is_two_kernels_and_its_gradient_one() -> None:
    x = torch.tensor([[[[1.0, 3.0, 2.0, 2.0], [0.0, 3.0, 5.0, 1.0]]]], requires_grad=True)
    y = F.max_pool2d(x, 2)
    y.backward(torch.tensor([[[[10.0, 20.0]]]]))
    assert y.tolist() == [[[[3.0, 5.0]]]]
    assert x.grad is not None
    assert counted(lambda: x.grad.tolist())["dispatches"] <= 2
    assert x.grad.tolist() == [[[[0.0, 10.0, 0.0, 0.0], [0.0, 0.0, 20.0, 0.0]]]]


@pytest.mark.parametrize("size", [(4, 4), (5, 7)])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_max_pooling_side_by_side_and_overlapping_agree(
    size: tuple[int, int], ceil_mode: bool
) -> None:
    x = torch.randn(2, 3, *size)
    wide = F.max_pool2d(x, (2, 2), ceil_mode=ceil_mode)
    rows, columns = wide.shape[2:]
    for i in range(rows):
        for j in range(columns):
            window = x[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            assert torch.equal(wide[:, :, i, j], window.amax((2, 3)))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("limit", ["none", "relu", "relu6"])
def test_what_follows_a_product(bias: bool, residual: bool, limit: str) -> None:
    """Bias, residual and limits, of a linear layer and of a convolution."""
    end = {"none": lambda x: x * 1.0, "relu": F.relu, "relu6": F.relu6}[limit]
    x, w = torch.randn(7, 5), torch.randn(6, 5)
    image, kernel = torch.randn(2, 4, 5, 3), torch.randn(6, 2, 3, 3)
    extra = (torch.randn(6), torch.randn(7, 6), torch.randn(2, 6, 5, 3))
    for t in (x, w, image, kernel, *extra):
        t.tolist()
    a, b = x @ w.t(), F.conv2d(image, kernel, padding=1, groups=2)
    expected = (a.clone(), b.clone())
    for t in expected:
        t.tolist()
    a, b = F.linear(x, w, extra[0] if bias else None), b - 0
    b = F.conv2d(image, kernel, extra[0] if bias else None, padding=1, groups=2)
    a, b = (a + extra[1], extra[2] + b) if residual else (a, b)
    a, b = end(a), end(b)
    want = [
        e + extra[0].reshape(s) * bias for e, s in zip(expected, ((6,), (6, 1, 1)), strict=True)
    ]
    want = [e + r * residual for e, r in zip(want, extra[1:], strict=True)]
    torch.testing.assert_close(a, end(want[0]))
    torch.testing.assert_close(b, end(want[1]))


def test_layers_with_an_activation_are_one_kernel(device: str) -> None:
    nn = torch.nn
    x, image = torch.randn(6, 8), torch.randn(2, 3, 8, 8)
    linear = nn.Sequential(nn.Linear(8, 5), nn.ReLU())
    conv = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU6())
    norm = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    for t in (x, image, *[v for net in (linear, conv, norm) for v in net.state_dict().values()]):
        t.tolist()
    # besides, a batch norm in eval makes a factor and a bias; elsewhere it scales weights too
    most = 2 if device in ("cpu", "webgpu") else 3
    with torch.no_grad():
        assert counted(lambda: linear(x).tolist())["dispatches"] == 1
        assert counted(lambda: conv(image).tolist())["dispatches"] == 1
        assert counted(lambda: norm(image).tolist())["dispatches"] <= most


def test_gradients_through_the_limits_of_a_product() -> None:
    x, w, b = torch.randn(3, 7, 5), torch.randn(6, 5), torch.randn(6)
    for t in (x, w, b):
        t.requires_grad_().tolist()
    g = torch.randn(3, 7, 6)
    F.relu(F.linear(x, w, b)).backward(g)
    with torch.no_grad():
        plain = x @ w.t()
        plain.tolist()
        g = g * (plain + b > 0)
    for got, want in ((x.grad, g @ w), (b.grad, g.sum((0, 1))),
                      (w.grad, (g.mT @ x).sum(0))):  # fmt: skip
        torch.testing.assert_close(got, want)


def test_nan_passes_the_limits_of_a_product() -> None:
    w = torch.tensor([[float("nan"), 1.0, -1.0, float("inf")]])
    out = F.relu6(torch.ones(1, 1) @ w + torch.zeros(4))
    assert out[0, 0].isnan().item()
    assert out[0, 1:].tolist() == [1.0, 0.0, 6.0]


def test_a_product_read_twice_keeps_its_value() -> None:
    x = torch.eye(2)
    y = x @ torch.tensor([[1.0, -2.0], [3.0, -4.0]])
    z = F.relu(y + torch.tensor([1.0, 1.0]))
    assert y.tolist() == [[1.0, -2.0], [3.0, -4.0]]
    assert z.tolist() == [[2.0, 0.0], [4.0, 0.0]]


def test_a_batch_norm_in_eval_is_part_of_the_convolution() -> None:
    conv, norm = torch.nn.Conv2d(2, 3, 3, padding=1), torch.nn.BatchNorm2d(3).eval()
    with torch.no_grad():
        norm.running_mean.copy_(torch.tensor([0.5, -1.0, 2.0]))
        norm.running_var.copy_(torch.tensor([1.0, 4.0, 0.25]))
        norm.weight.copy_(torch.tensor([1.0, -2.0, 0.5]))
    x = torch.randn(2, 2, 16, 16)
    for t in (x, *conv.state_dict().values(), *norm.state_dict().values()):
        t.tolist()
    with torch.no_grad():
        plain = conv(x)
        plain.tolist()
        shape = (1, 3, 1, 1)
        std = (norm.running_var + norm.eps).sqrt().reshape(shape)
        wanted = (plain - norm.running_mean.reshape(shape)) / std
        wanted = (wanted * norm.weight.reshape(shape) + norm.bias.reshape(shape)).relu()
        torch.testing.assert_close(F.relu(norm(conv(x))), wanted)


def test_scaled_columns_of_a_matmul() -> None:
    a, b, s = torch.randn(40, 3), torch.randn(3, 4), torch.tensor([1.0, -2.0, 0.0, 3.0])
    bias = torch.randn(4)
    for t in (a, b, s, bias):
        t.tolist()
    plain = a @ b
    plain.tolist()
    torch.testing.assert_close((a @ b) * s + 1.5, plain * s + 1.5)
    torch.testing.assert_close((a @ b + bias) * s, (plain + bias) * s)
    torch.testing.assert_close(F.relu(a @ b) * s, plain.clamp(min=0) * s)


def test_a_product_with_a_bias_that_is_transposed() -> None:
    for n in (4, 8):
        a, b, bias = torch.randn(8, 3), torch.randn(3, n), torch.randn(n)
        plain = a @ b
        for t in (a, b, bias, plain):
            t.tolist()
        torch.testing.assert_close((a @ b + bias).t().contiguous(), (plain + bias).t())
        torch.testing.assert_close((a @ b).relu().t() * 1, plain.clamp(min=0).t())


def test_kernels_with_several_results_do_not_wait_for_each_other() -> None:
    """Random graphs of row values, products, elementwise values: kernels stay in order."""
    for seed in range(60):
        torch.manual_seed(seed)
        choose = torch.randint(0, 1 << 30, (400,)).tolist()
        values, exact = [torch.randn(4, 4) for _ in range(3)], []
        for t in values:
            t.tolist()
        exact = [
            t.clone().to(torch.float64) if torch.runtime.default_device().caps.wide else t.clone()
            for t in values
        ]
        for t in exact:
            t.tolist()
        for k in range(24):
            op, i, j = choose[3 * k] % 6, choose[3 * k + 1], choose[3 * k + 2]
            pair = [(x[i % len(x)], x[j % len(x)]) for x in (values, exact)]
            for x, (a, b) in zip((values, exact), pair, strict=True):
                x.append(
                    a + b if op == 0
                    else a * 0.5 - b if op == 1
                    else (a @ b) * 0.25 if op == 2
                    else a - b.mean(1, keepdim=True) if op == 3
                    else (a * b).amax(0, keepdim=True).expand(4, 4) + a if op == 4
                    else b.t().relu() - a
                )  # fmt: skip
            exact[-1].tolist()  # one value at a time: nothing is shared
        keep = choose[100] % 3
        kept = values[3 :: keep + 1]
        want = exact[3 :: keep + 1]
        del values, x, a, b, pair
        for got, e in zip(kept, want, strict=True):
            torch.testing.assert_close(
                got.to(e.dtype), e, rtol=1e-3, atol=1e-3 * (1 + float(e.abs().max().item()))
            )


def test_no_kernel_has_more_buffers_than_a_device_binds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables that are windows are copied first: each is one more buffer."""
    device, plan, most = torch.runtime.default_device(), torch.runtime.schedule, []

    def watched(*args: object) -> object:
        what = plan(*args)
        most.extend(len(s.operands) for s in what.steps if hasattr(s, "instrs"))
        return what

    for made in getattr(device, "sides", (device,)):
        monkeypatch.setattr(made, "caps", made.caps._replace(max_operands=8))
    monkeypatch.setattr(torch.runtime, "schedule", watched)
    table, at = torch.arange(48.0).reshape(4, 4, 3), torch.tensor([[2, 0], [1, 3]])
    table.tolist()
    rows = [torch.nn.functional.embedding(at, table[k]) * (k + 1.0) for k in range(4)]
    assert sum(r.sum().item() for r in rows) == 3540.0
    rows = [torch.nn.functional.embedding(at, table[k]) * (k + 1.0) for k in range(4)]
    rows[0].tolist()
    assert rows[3][0, 0].tolist() == [168.0, 172.0, 176.0]
    assert most and max(most) < 8


def test_steps_that_follow_each_other_share_a_launch() -> None:
    def step(reads: int, writes: int, rows: int = 4, op: str = "neg") -> Fused:
        instrs = (Instr("load", "f", (), (0, (1,), 0), 0, 0), Instr(op, "f", (0,), None, 0, 0),
                  Instr("store", "f", (1,), (1, None, 0), 0, 0))  # fmt: skip
        return Fused(
            (rows,), (), instrs, (reads, writes), (torch.float32,) * 2, (rows,) * 2, (1,), ""
        )

    def joined(*steps: object) -> list[int]:
        what = join(Schedule(steps, (), 0, 0, ()), 4)
        order = [p for s in what.steps for p in getattr(s, "parts", (s,))]
        assert order == list(steps)
        assert all(len(s.operands) == 2 * len(getattr(s, "parts", "1")) for s in what.steps)
        return [len(getattr(s, "parts", "1")) for s in what.steps]

    assert joined(step(0, 1), step(2, 3), step(2, 4), step(5, 5)) == [4]
    assert joined(step(0, 1), step(2, 3), step(1, 4)) == [2, 1]  # read after written
    assert joined(step(0, 1), step(2, 3), step(4, 0)) == [2, 1]  # written after read
    assert joined(step(0, 1), step(2, 3), step(4, 1)) == [2, 1]  # written twice
    assert joined(step(0, 1), step(2, 3, rows=5), step(4, 5)) == [1, 1, 1]  # large
    assert joined(step(0, 1, op="reduce"), step(2, 3), step(4, 5)) == [1, 2]
    other = Structured("sort", (1, 4, 4), (6, 7), (torch.int32,) * 2, (4, 4))
    assert joined(step(0, 1), other, step(2, 3), step(4, 5)) == [1, 1, 2]


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_the_updates_of_small_parameters_are_one_step_on_a_gpu(device: str, name: str) -> None:
    params = [torch.arange(float(n)).requires_grad_() for n in (3, 4, 5, 6, 7)]
    for p in params:
        p.grad = torch.full_like(p, 0.5)
        p.tolist(), p.grad.tolist()
    optimizer = getattr(torch.optim, name)(params, lr=0.25)
    optimizer.step()
    moved = counted(lambda: (optimizer.step(), [p.tolist() for p in params]))
    if device != "auto":
        assert moved["dispatches"] == (1 if device == "webgpu" else 5)
    far = 0.25 if name == "SGD" else 0.5  # Adam's first steps are as long as its rate
    for n, p in zip((3, 4, 5, 6, 7), params, strict=True):
        torch.testing.assert_close(p.detach(), torch.arange(float(n)) - far)
