"""torch.compile: replays do what ordinary calls do, and know when they must not."""

import random
import sys
import time
import warnings
from collections import namedtuple
from dataclasses import dataclass

import pytest
import tabgrad as torch
from tabgrad import nn, optim, runtime
from tabgrad.nn import functional as F


def recordings(f) -> int:
    return sum(len(case.recordings) for case in inner(f).cases)


def inner(f):
    return (f.__dict__["forward"] if isinstance(f, nn.Module) else f)._compiled


def replays(f, *args, calls=4, **kwargs):
    """Calls until a recording is there; then one call must be a replay."""
    for _ in range(calls):
        out = f(*args, **kwargs)
    assert inner(f).off == "" and recordings(f) >= 1
    return out


# --- what a replay computes -----------------------------------------------------------------------


def test_a_replay_is_one_run_and_no_python():
    ran = []

    @torch.compile
    def f(x, y):
        ran.append  # noqa: B018
        return (x * 2 + y).relu().sum()

    y = torch.randn(5)
    for k in range(6):
        x = torch.randn(4, 5)
        want = (x * 2 + y).relu().sum().item()
        before = dict(runtime.counters)
        got = f(x, y)
        after = runtime.counters
        assert got.item() == want
        if k > 2:
            assert after["flushes"] - before["flushes"] == 1
            assert after["plans_built"] == before["plans_built"]
    assert recordings(f) == 1


def test_nested_results_and_arguments():
    Pair = namedtuple("Pair", "a b")

    @dataclass
    class Box:
        x: torch.Tensor
        k: int

    @torch.compile
    def f(pair, *, table, box):
        y = pair.a + table["w"][0]
        return Pair(y, [y * box.k, {"same": y, "n": 3}]), box, None, (pair.b, "text")

    for k in range(5):
        a, b, w = torch.full((2,), float(k)), torch.ones(2), torch.arange(2.0)
        box = Box(a, 3)
        pair, again, nothing, (same, text) = f(Pair(a, b), table={"w": [w]}, box=box)
        assert isinstance(pair, Pair) and isinstance(again, Box) and nothing is None
        assert text == "text" and same is b and again.x is a
        assert pair.b[1]["same"] is pair.a and pair.b[1]["n"] == 3
        assert pair.b[0].tolist() == [3.0 * k, 3.0 * (k + 1)]
    assert recordings(f) == 1


def test_views_that_are_returned_share_memory():
    @torch.compile
    def f(x):
        y = x * 2
        return y, y[1:], x.t()

    for _ in range(4):
        x = torch.arange(6.0).reshape(2, 3)
        y, part, turned = f(x)
        part.fill_(-1)
        turned[0, 0] = 7
        assert y.tolist() == [[0, 2, 4], [-1, -1, -1]] and x[0, 0].item() == 7
        assert x._version == 1 and y._version == 1
    assert recordings(f) == 1


def test_writes_to_arguments_and_captured_tensors():
    total = torch.zeros(3)
    view = total[1:]

    @torch.compile
    def f(x):
        x.mul_(2)
        total.add_(x)
        view[0] = 5
        return total.sum()

    plain, x = torch.zeros(3), torch.ones(3)
    for k in range(6):
        expected = x * 2
        got = f(x)
        plain = plain + expected
        plain[1] = 5
        assert x.tolist() == expected.tolist() and total.tolist() == plain.tolist()
        assert got.item() == plain.sum().item()
        assert x._version == k + 1 and total._version == 2 * (k + 1)
    assert recordings(f) == 1


def test_random_numbers_go_on_as_in_ordinary_code():
    drop = nn.Dropout(0.5)

    def f(x):
        y = drop(x) + torch.rand(3) + torch.randn_like(x)
        return (
            y,
            torch.randperm(4),
            torch.randint(0, 9, (2,)),
            torch.bernoulli(torch.full((3,), 0.5)),
        )

    x = torch.ones(3)
    compiled = torch.compile(f)
    torch.manual_seed(3)
    want = [[t.tolist() for t in f(x)] for _ in range(6)]
    torch.manual_seed(3)
    assert [[t.tolist() for t in compiled(x)] for _ in range(6)] == want
    assert recordings(compiled) == 1
    torch.manual_seed(3)
    assert [t.tolist() for t in compiled(x)] == want[0]


def test_a_seed_set_within():
    @torch.compile
    def f(x):
        torch.manual_seed(5)
        return x + torch.rand(2)

    got = [f(torch.zeros(2)).tolist() for _ in range(5)]
    assert got == got[:1] * 5 and recordings(f) == 1


def test_a_generator_of_its_own():
    g = torch.Generator().manual_seed(1)

    @torch.compile
    def f():
        return torch.rand(2, generator=g)

    got = [f().tolist() for _ in range(6)]
    g.manual_seed(1)
    assert got == [torch.rand(2, generator=g).tolist() for _ in range(6)]
    assert recordings(f) == 1


# --- folding --------------------------------------------------------------------------------------


def folds(f) -> int:
    """Values that the recordings of a function keep."""
    found = [r.folded for case in inner(f).cases for r in case.recordings]
    return sum(len(folded.buffers) for folded in found if folded)


def dispatches(f, *args) -> int:
    before = runtime.counters["dispatches"]
    f(*args).tolist()
    return runtime.counters["dispatches"] - before


def test_a_batch_norm_in_eval_is_folded():
    conv, norm = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)
    norm.running_mean.normal_(), norm.running_var.uniform_(0.5, 2)
    model = nn.Sequential(conv, norm, nn.ReLU()).eval()
    f = torch.compile(torch.no_grad()(lambda x: model(x)))
    x = torch.randn(3, 2, 6, 6)
    with torch.no_grad():
        want = model(x)
        plain = dispatches(model, x)
    torch.testing.assert_close(replays(f, x), want)
    assert folds(f) == 2
    assert dispatches(f, x) < plain
    norm.running_var.mul_(4)
    with torch.no_grad():
        want = model(x)
    for _ in range(2):
        torch.testing.assert_close(f(x), want)
    assert dispatches(f, x) < plain
    assert recordings(f) == 1


def test_low_rank_updates_are_folded():
    weight, up, down = torch.randn(6, 5), torch.randn(6, 2), torch.randn(2, 5)
    f = torch.compile(lambda x: x @ (weight + up @ down).T)
    x = torch.randn(3, 5)
    replays(f, x)
    assert folds(f) == 1
    down[1] = 0.5
    torch.testing.assert_close(f(x), x @ (weight + up @ down).T)


def test_what_folding_would_make_larger_is_computed_by_each_replay():
    q, scale = torch.randint(-9, 9, (6, 8), dtype=torch.int8), torch.rand(6, 1)
    packed = torch.randint(0, 255, (6, 4), dtype=torch.uint8)
    f = torch.compile(lambda x: x @ (q.float() * scale).T)
    g = torch.compile(lambda x: x @ torch.cat([packed & 15, packed >> 4], 1).float().T)
    x = torch.randn(3, 8)
    replays(f, x), replays(g, x)
    assert folds(f) == folds(g) == 0


def test_what_may_be_written_or_given_is_not_folded():
    state, w = torch.zeros(4), torch.randn(4, 4)

    @torch.compile
    def counting(x):
        state.add_(1)
        return x + state.sum()

    f = torch.compile(lambda x, w: x @ (w.sum(0) + state.sum()))
    x = torch.ones(4)
    for k in range(1, 7):
        assert counting(x).tolist() == [1.0 + 4 * k] * 4
    for k in range(5):
        v = w + k
        torch.testing.assert_close(f(x, v), (v.sum(0) + state.sum()).sum())
    assert folds(counting) == 0 and folds(f) == 1  # the sum of state
    counting(x)
    torch.testing.assert_close(f(x, w), (w.sum(0) + state.sum()).sum())


def test_a_result_that_is_frozen_itself_belongs_to_the_caller():
    w = torch.randn(4, 4)
    f = torch.compile(lambda x: (w.sum(0), x * w.sum(0)))
    x = torch.ones(4)
    for _ in range(6):
        total, product = f(x)
        assert torch.equal(total, product)
        total.add_(1)
        assert not torch.equal(f(x)[0], total)


# --- training -------------------------------------------------------------------------------------


def net(*shape):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)
    )


def history(model, optimizer, losses):
    state = optimizer.state_dict()["state"]
    return (
        losses,
        [p.tolist() for p in model.parameters()],
        [b.tolist() for b in model.buffers()],
        [None if p.grad is None else p.grad.tolist() for p in model.parameters()],
        [p._version for p in [*model.parameters(), *model.buffers()]],
        {k: {n: v.tolist() for n, v in s.items() if v is not None} for k, s in state.items()},
        [g["lr"] for g in optimizer.param_groups],
        torch.rand(1).item(),
    )


OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.01),
    "amsgrad": lambda p: optim.Adam(p, lr=0.01, amsgrad=True, weight_decay=0.1),
    "adamw": lambda p: optim.AdamW(p, lr=0.01),
    "adamax": lambda p: optim.Adamax(p, lr=0.01),
    "nadam": lambda p: optim.NAdam(p, lr=0.01),
    "radam": lambda p: optim.RAdam(p, lr=0.01),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.1, lr_decay=0.1),
    "adadelta": lambda p: optim.Adadelta(p),
}


def train(make, compiled, steps=10, schedule=None, zero=None, clip=False):
    model = net()
    optimizer = make(model.parameters())
    scheduler = schedule(optimizer) if schedule else None
    torch.manual_seed(1)
    x, y = torch.randn(64, 4), torch.randint(0, 3, (64,))

    def step(x, y):
        optimizer.zero_grad(**(zero or {}))
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        if scheduler:
            scheduler.step()
        return loss

    run = torch.compile(step) if compiled else step
    losses = []
    for k in range(steps):
        i = k * 8 % 64
        losses.append(run(x[i : i + 8], y[i : i + 8]).item())
        if k == 6:
            optimizer.param_groups[0]["lr"] *= 0.5
    if compiled:
        assert inner(run).off == "" and 1 <= recordings(run) <= 2
    return history(model, optimizer, losses)


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_training_steps(name):
    make = OPTIMIZERS[name]
    same(train(make, False), train(make, True))


def same(want, got):
    if torch.get_default_device().type in ("cpu", "numpy"):
        assert got == want
    else:
        close(want, got)


def close(want, got):
    if isinstance(want, dict):
        assert want.keys() == got.keys()
        want, got = list(want.values()), list(got.values())
    if isinstance(want, list | tuple):
        assert len(want) == len(got)
        for a, b in zip(want, got, strict=True):
            close(a, b)
    elif isinstance(want, float):
        assert got == pytest.approx(want, rel=1e-3, abs=1e-4)
    else:
        assert got == want


@pytest.mark.parametrize(
    "schedule",
    [
        lambda o: optim.lr_scheduler.StepLR(o, 2, 0.5),
        lambda o: optim.lr_scheduler.CosineAnnealingLR(o, 5),
        lambda o: optim.lr_scheduler.LambdaLR(o, lambda k: 0.9**k),
        lambda o: optim.lr_scheduler.OneCycleLR(o, 0.2, total_steps=20),
        lambda o: optim.lr_scheduler.SequentialLR(
            o, [optim.lr_scheduler.ConstantLR(o), optim.lr_scheduler.ExponentialLR(o, 0.9)], [4]
        ),
    ],
    ids=["step", "cosine", "lambda", "onecycle", "sequential"],
)
def test_schedulers(schedule):
    for make in (OPTIMIZERS["momentum"], OPTIMIZERS["adamw"]):
        same(train(make, False, schedule=schedule), train(make, True, schedule=schedule))


def test_gradients_set_to_zero_and_clipped():
    make = OPTIMIZERS["momentum"]
    for more in ({"zero": {"set_to_none": False}}, {"clip": True}):
        same(train(make, False, **more), train(make, True, **more))


def test_gradients_that_add_up():
    def run(compiled):
        model = nn.Linear(3, 1)
        with torch.no_grad():
            model.weight.fill_(0.5), model.bias.zero_()

        def add(x):
            loss = model(x).square().sum()
            loss.backward()
            return loss.detach()

        f = torch.compile(add) if compiled else add
        seen = []
        for k in range(10):
            f(torch.full((2, 3), float(k)))
            held = model.weight.grad
            seen.append(held.tolist())
            if k == 6:
                model.zero_grad()
        if compiled:
            assert recordings(f) >= 1
        return seen

    same(run(False), run(True))


def test_only_the_optimizers_step_compiled():
    def run(compiled):
        torch.manual_seed(0)
        w = nn.Parameter(torch.randn(4))
        o = optim.Adam([w], lr=0.1)
        step = torch.compile(lambda: o.step()) if compiled else o.step
        for _ in range(8):
            o.zero_grad()
            (w * w).sum().backward()
            step()
        if compiled:
            assert recordings(step) == 1
        return w.tolist(), o.state_dict()["state"][0]["step"].item()

    same(run(False), run(True))


def test_a_compiled_model_and_ordinary_training():
    def run(compiled):
        model = net()
        run_model = torch.compile(model) if compiled else model
        o = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        torch.manual_seed(1)
        losses = []
        for _ in range(8):
            x, y = torch.randn(16, 4), torch.randint(0, 3, (16,))
            o.zero_grad()
            loss = F.cross_entropy(run_model(x), y)
            loss.backward()
            o.step()
            losses.append(loss.item())
        if compiled:
            assert recordings(run_model) == 1 and inner(run_model).off == ""
        return history(model, o, losses)

    same(run(False), run(True))


def test_gradients_of_arguments_and_through_them():
    @torch.compile
    def f(x, w):
        return (x * w).tanh(), w.square()

    for _ in range(5):
        x = torch.arange(3.0, requires_grad=True)
        w = torch.full((3,), 0.5, requires_grad=True)
        h = x * 3
        a, b = f(h, w)
        (a.sum() + b.sum()).backward()
        x2 = x.detach().requires_grad_()
        w2 = w.detach().requires_grad_()
        ((x2 * 3 * w2).tanh().sum() + w2.square().sum()).backward()
        assert torch.allclose(x.grad, x2.grad) and torch.allclose(w.grad, w2.grad)
    assert recordings(f) == 1
    only, _ = f(x, w)
    x.grad = w.grad = None
    only.sum().backward()
    assert torch.allclose(w.grad, (1 - (x * w).tanh().square()) * x)


def test_errors_of_a_second_backward():
    w = torch.ones(2, requires_grad=True)
    f = torch.compile(lambda: (w * w).sum())
    replays(f)
    y = f()
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()
    with pytest.raises(RuntimeError, match="double backward"):
        torch.autograd.grad(f(), w, create_graph=True)
    y = f()
    with torch.no_grad():
        w.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        y.backward()


def test_a_loss_that_was_differentiated_within():
    w = nn.Parameter(torch.ones(2))

    @torch.compile
    def step():
        w.grad = None
        loss = (w * w).sum()
        loss.backward()
        return loss

    for _ in range(5):
        loss = step()
        assert loss.requires_grad and w.grad.tolist() == [2.0, 2.0]
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()
    assert recordings(step) == 1


def test_held_gradients_are_not_overwritten():
    w = nn.Parameter(torch.ones(2))

    @torch.compile
    def step(x):
        w.grad = None
        (w * x).sum().backward()

    held = []
    for k in range(6):
        step(torch.full((2,), float(k)))
        held.append(w.grad)
    assert [g[0].item() for g in held] == [0, 1, 2, 3, 4, 5]
    assert recordings(step) == 1


SHOWN = {
    "gradient": lambda w: w.grad,
    "gradient, detached": lambda w: w.grad.detach(),
    "part of the gradient": lambda w: w.grad[1:],
    "copy of the gradient": lambda w: w.grad.clone(),
    "sum of the gradient": lambda w: w.grad.sum(),
    "parameter": lambda w: w.detach(),
    "copy of the parameter": lambda w: w.detach().clone(),
    "part of a copy of the parameter": lambda w: w.detach().clone()[1:3],
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", SHOWN)
def test_what_a_step_returns_of_its_state_stays(name, when):
    """Replays that find nobody holding the last one's objects write over them, not over results."""

    def run(compiled):
        w = nn.Parameter(torch.arange(4.0))
        optimizer = optim.SGD([w], lr=0.1)
        (w * w).sum().backward()

        def step():
            before = SHOWN[name](w)
            optimizer.zero_grad()
            loss = (w * w * w).sum()
            loss.backward()
            optimizer.step()
            return loss.detach(), before if when == "before" else SHOWN[name](w)

        f = torch.compile(step) if compiled else step
        seen = [f() for _ in range(8)]
        assert not compiled or recordings(f) == 1
        values = [x.flatten() for pair in seen for x in pair]
        return torch.cat([*values, w.detach(), w.grad]).tolist()

    assert run(True) == pytest.approx(run(False), rel=1e-5)


@pytest.mark.parametrize("steps", [3, 4, 6])  # before the first replay, the second, a later one
def test_a_run_that_fails(steps, monkeypatch):
    """As in ordinary code the parameters are what they were, and the old gradients are gone."""
    device = runtime.default_device()

    def run(fails):
        w = nn.Parameter(torch.arange(1000.0))
        optimizer = optim.SGD([w], lr=0.1)

        @torch.compile
        def step():
            optimizer.zero_grad()
            loss = (w / 1000).square().sum()
            loss.backward()
            optimizer.step()
            return loss.detach()

        for _ in range(steps):
            step()
        if fails:
            assert recordings(step) == 1
            values, version = w.tolist(), w._version
            with monkeypatch.context() as patch:
                patch.setattr(device, "start", no_memory)
                with pytest.raises(MemoryError):
                    step()
            assert w.grad is None and w.tolist() == values and w._version == version
            device.flush()
            optimizer.zero_grad()
        else:
            w.grad = None
        kept = []
        for _ in range(4):
            kept.append((step().item(), w.grad, w.detach().clone()))
        return [(loss, g.tolist(), x.tolist()) for loss, g, x in kept], w.tolist()

    def no_memory(*_):
        raise MemoryError

    start = device.allocated
    assert run(True) == run(False)
    (torch.ones(1) + 1).tolist()
    assert device.allocated <= start + 64


def test_the_old_gradient_makes_room_for_the_new_one():
    """In calls that are recorded as in replays, whether or not somebody reads the gradients in
    between; and the new parameter goes over the old one."""
    w = nn.Parameter(torch.ones(200, 200))
    optimizer = optim.SGD([w], lr=0.1)
    x = torch.ones(1, 200)

    @torch.compile
    def step():
        optimizer.zero_grad()
        loss = (x @ w).sum()
        loss.backward()
        optimizer.step()
        return loss.detach()

    step().item()
    peaks = []
    for k in range(8):
        (torch.ones(1) + 1).tolist()  # what nobody holds goes with a run
        torch.reset_peak_memory_stats()
        before = torch.max_memory_allocated()
        step().item()
        peaks.append(torch.max_memory_allocated() - before)
        assert k % 2 or w.grad.tolist()[0] == [1.0] * 200
    assert recordings(step) == 1
    assert max(peaks) <= w.nbytes / 8, peaks


# --- guards ---------------------------------------------------------------------------------------

SCALE = 2.0
TABLE = {"k": 3}


def test_a_global_that_changes():
    global SCALE
    f = torch.compile(lambda x: x * SCALE * TABLE["k"])
    x = torch.ones(1)
    for SCALE in (2.0, 2.0, 2.0, 5.0, 5.0, 5.0, 2.0):
        assert f(x).item() == SCALE * 3
    for TABLE["k"] in (4, 4, 4, 3):
        assert f(x).item() == SCALE * TABLE["k"]
    SCALE = 2.0


def test_closures_defaults_and_attributes_that_change():
    class Config:
        bias = 1.0

        def __init__(self):
            self.sizes = [1.0, 2.0]

    class Slotted:
        __slots__ = ("v",)

    config, slotted, k = Config(), Slotted(), 1.0
    slotted.v = 1.0

    def helper(x, add=1.0):
        return x * k + config.sizes[0] + add + config.bias + slotted.v

    f = torch.compile(lambda x: helper(x))
    x = torch.ones(1)

    def check():
        for _ in range(4):
            assert f(x).item() == helper(x).item()

    check()
    k = 2.0
    check()
    config.sizes[0] = 7.0
    check()
    config.bias = 3.0
    check()
    Config.bias = 9.0
    check()
    slotted.v = 4.0
    check()
    helper.__defaults__ = (5.0,)
    check()
    config.sizes = [11.0]
    check()
    torch.compiler.reset()
    del config.bias
    check()


def test_attributes_looked_up_by_computed_names():
    class Box:
        pass

    box = Box()
    box.w0, box.w1 = 1.0, 2.0

    def f(x):
        for k in range(2):
            x = x * getattr(box, f"w{k}")
        return x

    g = torch.compile(f)
    for box.w1 in (2.0, 2.0, 2.0, 3.0, 3.0, 3.0):
        assert g(torch.ones(1)).item() == box.w1


def test_shapes_dtypes_and_values_of_arguments():
    f = torch.compile(lambda x, k=1, flag=True: x * k if flag else x - k)
    for shape in ((2,), (3,), (2, 2), (2,), (0,)):
        for dtype in (torch.float32, torch.int64):
            for k in (1, 2, 1.0, True):
                x = torch.ones(shape, dtype=dtype)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # there are more than 8
                    for _ in range(3):
                        y = f(x, k)
                want = x * k
                assert y.shape == want.shape and y.dtype == want.dtype
                assert y.tolist() == want.tolist()
    assert f(torch.ones(1), 3, flag=False).item() == -2
    assert f(torch.ones(1), 3).item() == 3


def test_strides_and_offsets_of_arguments():
    f = torch.compile(lambda x: (x.reshape(-1) * torch.arange(6.0)).sum())
    data = torch.arange(60.0)
    for _ in range(3):
        for i in (0, 6, 12, 50):
            x = data[i : i + 6].reshape(2, 3)
            assert f(x).item() == (x.reshape(-1) * torch.arange(6.0)).sum().item()
            y = data[i : i + 6].reshape(3, 2).t()
            assert f(y).item() == (y.reshape(-1) * torch.arange(6.0)).sum().item()
    assert recordings(f) == 2


def test_mini_batches_of_one_tensor_share_a_recording():
    data = torch.arange(40.0).reshape(20, 2)
    f = torch.compile(lambda x: x.flatten() * 2)
    for i in range(0, 20, 4):
        assert f(data[i : i + 4]).tolist() == (data[i : i + 4].flatten() * 2).tolist()
    assert recordings(f) == 1


def test_writing_to_a_part_of_a_tensor():
    data = torch.zeros(12)

    @torch.compile
    def f(x):
        x.add_(1)
        return x[1:]

    for k in range(12):
        i = k % 3 * 4
        y = f(data[i : i + 4])
        y.add_(1)
        assert data[i].item() == k // 3 + 1 and data[i + 1].item() == 2 * (k // 3 + 1)


def test_arguments_that_share_memory():
    def f(x, y):
        x.add_(y)
        return x * y

    g = torch.compile(f)

    def check(make):
        for _ in range(4):
            a, b = make(), make()
            assert g(*a).tolist() == f(*b).tolist() and a[0].tolist() == b[0].tolist()

    def apart():
        return torch.arange(4.0), torch.ones(4)

    def together():
        x = torch.arange(4.0)
        return x, x

    def overlapping():
        x = torch.arange(8.0)
        return x[:4], x[4:]

    def copies():
        x = torch.arange(4.0)
        return x, x.clone()

    def twins():
        x = torch.arange(4.0)
        return x, x.detach()

    for make in (apart, twins, together, apart, overlapping, copies, twins, overlapping):
        check(make)
    torch.compiler.reset()
    for make in (copies, apart, twins):
        check(make)


def _frozen(w):
    w.requires_grad_(False)


def _other_storage(w):
    w.data = torch.arange(4.0) + 7


def _written(w):
    with torch.no_grad():
        w.mul_(3)


def _part_written(w):
    w.detach()[1:3] = 9


def _turned(w):
    with torch.no_grad():
        w.t_()


def _replaced_by_a_replay(w):
    @torch.compile
    def step():  # what it returns shows the old value: the new one is another buffer
        with torch.no_grad():
            old = w.clone()
            w.sub_(1)
            return old

    for _ in range(3):
        step()
    yield
    step()


@pytest.mark.parametrize(
    "change",
    [_frozen, _other_storage, _written, _part_written, _turned, _replaced_by_a_replay],
)
@pytest.mark.parametrize("argument", [False, True])
def test_what_is_written_between_calls_is_seen(change, argument):
    """A replay that only computes looks at nothing anew while nothing is written anywhere."""
    w = torch.ones(2, 2) if change is _turned else torch.ones(4)
    w.requires_grad_()

    def plain(x):
        return w * x + w

    f = torch.compile(plain)
    other = torch.randn(w.shape)
    replays(f, other, calls=6)
    for _ in change(w) or [None]:
        for x in (other, w if argument else other, other + 1, other):
            got, want = f(x), plain(x)
            assert got.tolist() == want.tolist()
            assert got.requires_grad == want.requires_grad
    for x in (w if argument else other, other):
        assert f(x).tolist() == plain(x).tolist()


def test_history_given_between_calls_is_seen():
    w, v = torch.ones(3), torch.ones(3, requires_grad=True)
    f = torch.compile(lambda x: x + w)
    replays(f, torch.ones(3))
    w.mul_(v)
    got = f(torch.ones(3))
    assert got.requires_grad
    got.sum().backward()
    assert v.grad.tolist() == [1, 1, 1]


def test_history_given_to_the_base_of_a_view_is_seen():
    base, v = torch.ones(3), torch.ones(3, requires_grad=True)
    w = base[:2]
    f = torch.compile(lambda x: x + w)
    replays(f, torch.ones(2))
    base.mul_(v)
    assert f(torch.ones(2)).requires_grad
    assert w.requires_grad
    assert f(torch.ones(2)).requires_grad


def test_history_taken_between_calls_is_seen():
    w = torch.ones(3, requires_grad=True) * 2
    f = torch.compile(lambda x: x + w)
    assert replays(f, torch.ones(3)).requires_grad
    w.detach_()
    assert not f(torch.ones(3)).requires_grad


def test_a_copy_that_shares_its_buffers_at_first():
    import copy

    def run(compiled):
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
        target = copy.deepcopy(model)
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        def step(x):
            optimizer.zero_grad()
            with torch.no_grad():
                wanted = target(x) + 1
            (model(x) - wanted).square().mean().backward()
            optimizer.step()
            with torch.no_grad():
                for p, q in zip(model.parameters(), target.parameters(), strict=True):
                    q.lerp_(p, 0.1)

        f = torch.compile(step) if compiled else step
        x = torch.randn(8, 3)
        for _ in range(8):
            f(x)
        return [p.tolist() for m in (model, target) for p in m.parameters()]

    same(run(False), run(True))


def test_a_gradient_that_is_there_or_not():
    w = nn.Parameter(torch.ones(2))
    f = torch.compile(lambda x: (w * x).sum().backward())
    for _ in range(4):
        w.grad = None
        f(torch.ones(2))
        assert w.grad.tolist() == [1, 1]
    for k in range(2, 6):
        f(torch.ones(2))
        assert w.grad.tolist() == [k, k]
    assert recordings(f) == 2


def test_gradients_of_another_form():
    w = nn.Parameter(torch.zeros(2, 3))
    optimizer = optim.SGD([w], lr=1.0)
    f = torch.compile(lambda: optimizer.step())
    g = torch.arange(6.0)
    whole = torch.arange(12.0)
    for make in (
        lambda: g.clone().reshape(2, 3), lambda: g.reshape(3, 2).t(), lambda: whole[6:].view(2, 3),
        lambda: torch.ones(1, 3).expand(2, 3), lambda: w.detach(), lambda: None,
    ):  # fmt: skip
        for _ in range(4):
            w.grad = make()
            before, change = w.detach().clone(), 0 if w.grad is None else w.grad.clone()
            f()
            assert torch.equal(w.detach(), before - change)
    torch.compiler.reset()


def test_training_mode_and_hyperparameters_of_modules():
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 2))
    f = torch.compile(model)
    x = torch.ones(64, 2)
    for training in (True, False, True, False):
        model.train(training)
        for _ in range(4):
            torch.manual_seed(0)
            want = model(x).tolist()
            torch.manual_seed(0)
            assert f(x).tolist() == want
    model[0].p = 0.9
    model.train()
    for _ in range(4):
        torch.manual_seed(0)
        want = model(x).tolist()
        torch.manual_seed(0)
        assert f(x).tolist() == want
    assert recordings(f) == 3


def test_parameters_that_are_swapped_frozen_or_given_other_data():
    model = nn.Linear(2, 2)
    f = torch.compile(model)
    x = torch.ones(1, 2)

    def check():
        for _ in range(4):
            y, want = f(x), model(x)
            assert y.tolist() == want.tolist() and y.requires_grad == want.requires_grad

    check()
    model.weight = nn.Parameter(torch.ones(2, 2))
    check()
    model.weight.requires_grad_(False)
    check()
    model.bias.requires_grad_(False)
    check()
    model.weight.data = torch.full((2, 2), 3.0)
    check()
    model._parameters["weight"] = nn.Parameter(torch.full((2, 2), 5.0))
    check()
    model.load_state_dict(nn.Linear(2, 2).state_dict())
    check()
    model.register_forward_hook(lambda m, args, out: out * 2)
    check()
    model.bias = None
    check()


def test_grad_mode_and_default_dtype():
    w = torch.ones(2, requires_grad=True)
    f = torch.compile(lambda x: w * x + torch.ones(2))
    for _ in range(4):
        assert f(torch.ones(2)).requires_grad
        with torch.no_grad():
            assert not f(torch.ones(2)).requires_grad
        with torch.inference_mode():
            assert f(torch.ones(2)).is_inference()
    assert recordings(f) == 3
    torch.set_default_dtype(torch.float16)
    try:
        assert (torch.compile(lambda: torch.ones(2))()).dtype == torch.float16
    finally:
        torch.set_default_dtype(torch.float32)


def test_swapped_functions_and_methods():
    class Model(nn.Module):
        def forward(self, x):
            return self.act(x)

        def act(self, x):
            return x * 2

    model = Model()
    f = torch.compile(model)
    for _ in range(4):
        assert f(torch.ones(1)).item() == 2
    Model.act = lambda self, x: x * 3
    for _ in range(4):
        assert f(torch.ones(1)).item() == 3
    model.act = lambda x: x * 4
    for _ in range(4):
        assert f(torch.ones(1)).item() == 4


def test_more_than_eight_recordings():
    f = torch.compile(lambda x, k: x * k)
    for k in range(8):
        replays(f, torch.ones(1), float(k))
    with pytest.warns(UserWarning, match="8 recordings"):
        for _ in range(3):
            assert f(torch.ones(1), 8.0).item() == 8
    assert f(torch.ones(1), 5.0).item() == 5


def test_hooks_of_tensors():
    w = nn.Parameter(torch.ones(2))

    @torch.compile
    def step():
        w.grad = None
        (w * 2).sum().backward()

    for _ in range(4):
        step()
    handle = w.register_hook(lambda g: g * 10)
    for _ in range(4):
        step()
        assert w.grad.tolist() == [20, 20]
    handle.remove()
    for _ in range(4):
        step()
        assert w.grad.tolist() == [2, 2]


def test_hooks_of_results():
    w = nn.Parameter(torch.ones(2))
    f = torch.compile(lambda x: w * x)
    seen = []
    for _ in range(5):
        y = f(torch.ones(2))
        y.register_hook(lambda g: seen.append(g.tolist()))
        y.sum().backward()
    assert len(seen) == 5 and w.grad.tolist() == [5, 5]


# --- what cannot be replayed ----------------------------------------------------------------------


def refused(f, *args, match, calls=3):
    compiled = torch.compile(f)
    with pytest.warns(UserWarning, match=match) as seen:
        for _ in range(calls):
            out = compiled(*args)
    assert len(seen) == 1 and "test_compile.py:" in str(seen[0].message)
    assert inner(compiled).off
    return out


def test_reading_values_runs_as_ordinary_code():
    x = torch.arange(3.0)
    assert refused(lambda x: x * 2 if x.sum() > 2 else x, x, match="reads").tolist() == [0, 2, 4]
    assert refused(lambda x: x.sum().item(), x, match="reads") == 3
    assert refused(lambda x: x.tolist(), x, match="reads") == [0, 1, 2]
    with pytest.raises(RuntimeError, match=r"fullgraph.*reads"):
        torch.compile(lambda x: x.item(), fullgraph=True)(torch.ones(()))


def test_hidden_state_is_refused(capsys):
    x = torch.zeros(1)
    refused(lambda x: x + random.random(), x, match="random")
    refused(lambda x: x + random.randint(0, 3), x, match="random")
    refused(lambda x: x + time.time(), x, match="time")
    refused(lambda x: print("here") or x, x, match="print")
    assert capsys.readouterr().out == "here\n" * 3
    numbers = iter(range(100))
    assert refused(lambda x: x + next(numbers), x, match="iterator").item() == 2


def test_effects_on_python_state_are_refused():
    x, seen = torch.ones(1), []

    class Counter:
        n = 0.0

    c = Counter()

    def count(x):
        c.n += 1
        return x * c.n

    assert refused(count, x, match="changed|another|attributes", calls=20).item() == 20
    refused(lambda x: seen.append(x * 2), x, match="seen|stays", calls=20)
    assert len(seen) == 20


def test_a_tensor_kept_in_an_unseen_place_is_refused():
    class Hidden:
        __slots__ = ("box",)

    hidden = Hidden()
    hidden.box = {}

    def put(x):
        object.__getattribute__(hidden, "b" + "ox")[0] = x * 2
        return x

    refused(put, torch.ones(1), match="stays|changed", calls=20)


def test_an_exception_leaves_no_recording_behind():
    @torch.compile
    def f(x, fail):
        y = x * 2
        if fail:
            raise ValueError("no")
        return y

    for _ in range(4):
        with pytest.raises(ValueError, match="no"):
            f(torch.ones(1), True)
        assert f(torch.ones(1), False).item() == 2
    assert not torch.compiler.is_compiling() and sys.getprofile() is None
    assert recordings(f) == 1


def test_compiled_within_compiled():
    calls = []
    g = torch.compile(lambda x: x + 1)

    @torch.compile
    def f(x):
        calls.append if torch.compiler.is_compiling() else None
        return g(x) * 2

    for _ in range(5):
        assert f(torch.ones(1)).item() == 4
    assert recordings(f) == 1 and recordings(g) == 0
    assert g(torch.ones(1)).item() == 2


def test_disable_and_reset():
    @torch.compiler.disable
    def host(x):
        return x + 1

    assert refused(lambda x: host(x) * 2, torch.ones(1), match="disabled").item() == 4
    assert torch.compile(host, disable=True) is host
    f = torch.compile(lambda x: x * 2)
    replays(f, torch.ones(1))
    torch.compiler.reset()
    assert recordings(f) == 0
    assert f(torch.ones(1)).item() == 2
    torch._dynamo.reset()


# --- modules --------------------------------------------------------------------------------------


def test_optimized_module_passes_through():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    f = torch.compile(model)
    assert isinstance(f, nn.Module) and f._orig_mod is model
    assert [id(p) for p in f.parameters()] == [id(p) for p in model.parameters()]
    assert list(f.state_dict()) == ["_orig_mod.0.weight", "_orig_mod.0.bias"]
    assert f.eval() is f and not model.training and not f.training and not model[1].training
    f.train()
    assert model.training
    f.extra = 3
    assert model.extra == 3 and f.extra == 3 and f[0] is model[0] and len(f) == 2
    del f.extra
    assert not hasattr(model, "extra")
    f.load_state_dict(f.state_dict())
    model.eval()
    assert torch.equal(f(torch.ones(1, 2)), model(torch.ones(1, 2)))
    import copy
    import pickle

    for twin in (copy.deepcopy(f), pickle.loads(pickle.dumps(f))):
        assert twin._orig_mod is not model
        assert torch.equal(twin(torch.ones(1, 2)), model(torch.ones(1, 2)))


def test_module_compile_in_place():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    want = model(torch.ones(1, 2)).tolist()
    model.compile()
    for _ in range(4):
        assert model(torch.ones(1, 2)).tolist() == want
    assert recordings(model._compiled_call_impl) == 1
    import copy

    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin[0].weight.zero_()
    assert twin(torch.ones(1, 2)).tolist() != want
    assert twin._compiled_call_impl is None


def test_methods_and_decorators():
    class Trainer:
        def __init__(self):
            self.scale = 2.0

        @torch.compile
        def step(self, x):
            return x * self.scale

        @torch.compile(fullgraph=True, mode="reduce-overhead")
        @torch.no_grad()
        def free(self, x):
            return x * self.scale

    a, b = Trainer(), Trainer()
    b.scale = 3.0
    w = torch.ones(1, requires_grad=True)
    for _ in range(4):
        assert a.step(w).item() == 2 and b.step(w).item() == 3
        assert a.step(w).requires_grad and not a.free(w).requires_grad
    a.scale = 5.0
    for _ in range(4):
        assert a.step(w).item() == 5 and a.free(w).item() == 5


def test_defaults_of_a_decorated_function():
    w = torch.ones(3)

    @torch.no_grad()
    def f(x, w=w, factor=2):
        return x + w * factor

    g = torch.compile(f)
    assert replays(g, torch.ones(3)).tolist() == [3, 3, 3]
    w.add_(1)
    assert g(torch.ones(3)).tolist() == [5, 5, 5]
    f.__wrapped__.__defaults__ = (w, 3)
    assert g(torch.ones(3)).tolist() == [7, 7, 7]


def test_arguments_of_compile():
    with pytest.raises(RuntimeError, match="Either mode or options"):
        torch.compile(lambda x: x, mode="default", options={})
    with pytest.raises(RuntimeError, match="Unrecognized mode"):
        torch.compile(lambda x: x, mode="fast")
    with pytest.raises(RuntimeError, match="wants a function"):
        torch.compile(3)
    with pytest.raises(NotImplementedError):
        torch.compile(lambda x: x, backend=lambda *a: None)


def test_no_memory_is_kept():
    import gc

    f = torch.compile(lambda x: (x * 2).sum())
    for _ in range(4):
        f(torch.ones(1000))
    gc.collect()
    device = runtime.default_device()
    start = device.allocated
    for _ in range(20):
        f(torch.ones(1000))
    gc.collect()
    assert device.allocated == start


def test_debug_tells_of_recordings_and_why_they_do_not_fit(capsys):
    box = {"k": 1.0}
    f = torch.compile(lambda x: x * box["k"])
    torch.set_debug(1)
    try:
        replays(f, torch.ones(1))
        box["k"] = 2.0
        f(torch.ones(1))
    finally:
        torch.set_debug(0)
    out = capsys.readouterr().out
    assert "recording of 1 buffers read" in out and "does not fit: box changed" in out


def test_what_a_backward_keeps_is_not_written_over():
    """A value saved for later whose storage the call writes to afterwards."""
    w = torch.full((3,), 2.0)

    @torch.compile
    def f(x):
        y = (x * w.clone()).sum()
        with torch.no_grad():
            w.add_(1)
        return y

    for k in range(8):
        x = torch.ones(3, requires_grad=True)
        y = f(x)
        assert y.item() == 3 * (k + 2)
        y.backward()
        assert x.grad.tolist() == [k + 2] * 3
    assert recordings(f) == 1


def test_results_that_share_a_value():
    def f(x):
        y = x + 1
        z = y.clone()
        return y.mul_(2), z, z.clone(), x.clone(), x

    compiled, x = torch.compile(f), torch.arange(3.0)
    for n in range(5):
        got, want = compiled(x + n), f(x + n)
        assert [t._version for t in got] == [t._version for t in want] == [1, 0, 0, 0, 0]
        assert [t.tolist() for t in got] == [t.tolist() for t in want]
        for k, t in enumerate(got[:4]):  # each has a storage of its own
            t.fill_(float(k))
        assert [t[0].item() for t in got] == [0, 1, 2, 3, n]


def test_versions_of_what_only_computes():
    f = torch.compile(lambda x: ((x + 1).mul_(2).neg_(), x * 3))
    replays(f, torch.ones(2))
    written, new = f(torch.ones(2))
    assert inner(f).cases[0].recordings[0].plain
    assert (written.tolist(), written._version) == ([-4, -4], 2)
    assert (new.tolist(), new._version) == ([3, 3], 0)
