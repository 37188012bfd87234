"""Random programs, with and without torch.compile: after every action everything must be equal.

A program is a world (modules, tensors, an optimizer, a scheduler, plain Python state), a function
over it made of random pieces, and a list of actions: mostly calls, and changes of all that a
recording could take for granted. On the numpy device every bit must agree.
"""

import os
import random
import warnings

import pytest
import tabgrad as torch
from tabgrad import nn, optim, runtime
from tabgrad.nn import functional as F

FACTOR = 1.5  # a global that actions change


class Net(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.first = nn.Linear(4, 6)
        self.norm = [nn.BatchNorm1d(6), nn.LayerNorm(6), nn.Identity()][kind % 3]
        self.drop = nn.Dropout(0.25)
        self.last = nn.Linear(6, 3)
        self.scale = 1.0
        self.order = ["norm", "drop"]
        self.options = {"act": "relu", "shift": 0.5}

    def forward(self, x):
        h = self.first(x)
        for name in self.order:
            h = getattr(self, name)(h)
        h = getattr(F, self.options["act"])(h) * self.scale + self.options["shift"]
        return self.last(h)


class Settings:
    def __init__(self):
        self.gain = 1.0
        self.parts = (1.0, 2.0)
        self.flag = False


OPTIMIZERS = [
    lambda p: optim.SGD(p, lr=0.05),
    lambda p: optim.SGD(p, lr=0.05, momentum=0.9),
    lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    lambda p: optim.Adam(p, lr=0.01),
    lambda p: optim.Adam(p, lr=0.01, weight_decay=0.01, amsgrad=True),
    lambda p: optim.AdamW(p, lr=0.01),
    lambda p: optim.RMSprop(p, lr=0.01, momentum=0.5),
    lambda p: optim.NAdam(p, lr=0.01),
    lambda p: optim.RAdam(p, lr=0.01),
    lambda p: optim.Adagrad(p, lr=0.05),
]
SCHEDULERS = [
    lambda o: None,
    lambda o: optim.lr_scheduler.StepLR(o, 3, 0.5),
    lambda o: optim.lr_scheduler.CosineAnnealingLR(o, 6),
    lambda o: optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=100, cycle_momentum=False),
]


class World:
    """Everything a program touches, made anew from a seed."""

    def __init__(self, seed, compiled):
        self.r = r = random.Random(seed)
        torch.manual_seed(seed)
        self.net = Net(r.randrange(3))
        self.other = nn.Linear(3, 3)
        self.optimizer = r.choice(OPTIMIZERS)(self.net.parameters())
        self.scheduler = r.choice(SCHEDULERS)(self.optimizer)
        self.data = torch.randn(48, 4)
        self.labels = torch.randint(0, 3, (48,))
        self.total = torch.zeros(3)
        self.window = self.total[1:]
        self.weight = torch.randn(3, requires_grad=True)
        self.settings = Settings()
        self.pieces = [r.randrange(len(PIECES)) for _ in range(r.randrange(1, 5))]
        kinds = [step, step, forward, plain, plain, free]
        self.kind = r.choice(kinds)
        self.seen = [r.choice(SEEN) for _ in "01"]  # what a step returns of before and after it
        f = self.kind(self)
        self.f = torch.compile(f) if compiled else f
        self.held = []


# --- pieces of functions: (w, h) -> h, where h is (N, 3) ------------------------------------------


def _times_factor(w, h):
    return h * FACTOR


def _settings(w, h):
    return h * w.settings.gain + w.settings.parts[1] if w.settings.flag else h - w.settings.gain


def _weight(w, h):
    return h * w.weight


def _view_write(w, h):
    h = h * 1
    h[:, 1] = h[:, 0] * 2
    h[0].mul_(3)
    return h


def _accumulate(w, h):
    with torch.no_grad():
        w.total.add_(h.detach().mean(0))
        w.window.mul_(0.5)
    return h + w.total


def _noise(w, h):
    return h + torch.rand(3) + torch.randn_like(h) * 0.1


def _dropout(w, h):
    return F.dropout(h, 0.3, training=w.net.training)


def _index(w, h):
    order = torch.tensor([2, 0, 1])
    return h[:, order] + torch.arange(3.0)


def _softmax(w, h):
    return h.softmax(-1).clamp(min=0.1).log()


def _linear(w, h):
    return w.other(h).tanh()


def _stack(w, h):
    a, b, c = h.unbind(1)
    return torch.stack([a, b.abs() + 1, c], 1).contiguous()


def _sort(w, h):
    return h.sort(-1)[0] + h.cumsum(0) * 0.01


def _branch(w, h):
    return h * 2 if w.net.training else h / 2


def _double(w, h):
    x = h.detach().requires_grad_()
    with torch.enable_grad():
        (g,) = torch.autograd.grad((x * x * x).sum(), x)
    return h + g * 0.01


PIECES = [
    _times_factor, _settings, _weight, _view_write, _accumulate, _noise, _dropout, _index, _softmax,
    _linear, _stack, _sort, _branch, _double,
]  # fmt: skip


def mixed(w, h):
    for k in w.pieces:
        h = PIECES[k](w, h)
    return h


def _of_gradient(f):
    return lambda p: None if p.grad is None else f(p.grad)


SEEN = [
    *[lambda p: None] * 4,
    _of_gradient(lambda g: g),
    _of_gradient(lambda g: g.detach()),
    _of_gradient(lambda g: g.clone()),
    _of_gradient(lambda g: g[1:].sum()),
    lambda p: p.detach(),
    lambda p: p.detach().clone(),
    lambda p: p.detach()[:2].t(),
]


def step(w):
    def train(x, y):
        p = w.net.last.weight
        before = w.seen[0](p)
        w.optimizer.zero_grad()
        out = mixed(w, w.net(x))
        loss = F.cross_entropy(out, y)
        loss.backward()
        w.optimizer.step()
        if w.scheduler is not None:
            w.scheduler.step()
        return loss, out.detach(), before, w.seen[1](p)

    return train


def forward(w):
    """A forward alone: the world's actions differentiate what it returns."""
    return lambda x, y: (mixed(w, w.net(x)), x.mean(0))


def plain(w):
    def f(x, y):
        h = mixed(w, x[:, :3])
        return {"h": h, "part": h[1:], "n": x.shape[0], "rest": [y * 2, (x, h.sum())]}

    return torch.no_grad()(f)


def free(w):
    """Gradients that add up, and arguments that are written to."""

    def f(x, y):
        out = mixed(w, w.net(x))
        (out.square().mean() + w.weight.sum()).backward()
        with torch.no_grad():
            x.mul_(0.9)
            x[0].add_(1)
        return out.detach().argmax(-1) == y

    return f


# --- actions between calls ------------------------------------------------------------------------


def call(w, n=None, copied=None):
    i = w.r.choice([0, 8, 16])
    n = n or w.r.choice([8, 8, 8, 5])
    if w.r.random() < 0.3 if copied is None else copied:
        x, y = w.data[i : i + n].clone(), w.labels[i : i + n].clone()
    else:
        x, y = w.data[i : i + n], w.labels[i : i + n]
    out = w.f(x, y)
    if w.kind is forward and out[0].requires_grad and w.r.random() < 0.8:
        loss = F.cross_entropy(out[0], y)
        loss.backward()
        if w.r.random() < 0.7:
            w.optimizer.step()
            w.optimizer.zero_grad()
    if w.kind is plain and w.r.random() < 0.3:
        out["part"].add_(1)  # shares memory with out["h"]
    return out


def calls(w):
    n, copied = w.r.choice([8, 8, 8, 5]), w.r.random() < 0.5
    return [call(w, n, copied) for _ in range(5)]


def learning_rate(w):
    for g in w.optimizer.param_groups:
        g["lr"] *= 0.7


def weight_decay(w):
    w.optimizer.param_groups[0]["weight_decay"] = w.r.choice([0, 0.0, 0.1])


def mode(w):
    w.net.train(w.r.random() < 0.5)


def freeze(w):
    p = w.r.choice(list(w.net.parameters()))
    p.requires_grad_(not p.requires_grad)


def swap(w):
    w.net.last.weight = nn.Parameter(torch.randn(3, 6))


def swap_module(w):
    w.other = nn.Linear(3, 3)


def give_data(w):
    w.net.first.bias.data = torch.randn(6)


def write_parameter(w):
    with torch.no_grad():
        w.net.last.bias.add_(0.25)


def constant(w):
    global FACTOR
    FACTOR = w.r.choice([1.5, 0.5, 2])


def settings(w):
    w.settings.gain = w.r.choice([1.0, 2.0])
    w.settings.flag = w.r.random() < 0.5


def replace_settings(w):
    w.settings = Settings()


def attributes(w):
    w.net.scale = w.r.choice([1.0, 0.5])
    w.net.order[:] = w.r.choice([["norm", "drop"], ["drop", "norm"], ["norm"]])


def options(w):
    w.net.options["act"] = w.r.choice(["relu", "tanh", "sigmoid"])


def probability(w):
    w.net.drop.p = w.r.choice([0.25, 0.5])


def drop_gradients(w):
    w.net.zero_grad(set_to_none=w.r.random() < 0.5)


def hold_gradients(w):
    w.held = [p.grad for p in w.net.parameters()]


def hold_values(w):
    found = [(f(p), f(w.weight)) for p in w.net.last.parameters() for f in w.r.sample(SEEN, 3)]
    w.held = w.held[-12:] + found


def let_go(w):
    w.held = []


def reset_total(w):
    w.total.zero_()


def replace_total(w):
    w.total = torch.ones(3)
    w.window = w.total[:2]


def pieces(w):
    w.pieces[w.r.randrange(len(w.pieces))] = w.r.randrange(len(PIECES))


def reseed(w):
    torch.manual_seed(7)


def save_and_load(w):
    w.optimizer.load_state_dict(w.optimizer.state_dict())
    w.net.load_state_dict(w.net.state_dict())


def share(w):
    w.total = w.weight.detach()


def hook(w):
    w.net.last.weight.register_hook(lambda g: g * 2)


ACTIONS = [call, calls, calls] * 4 + [
    learning_rate, weight_decay, mode, freeze, swap, swap_module, give_data, write_parameter,
    constant, settings, replace_settings, attributes, options, probability, drop_gradients,
    hold_gradients, hold_values, let_go, reset_total, replace_total, pieces, reseed, save_and_load,
    share, hook,
]  # fmt: skip


# --- comparing ------------------------------------------------------------------------------------


def plainly(x):
    """Nested values with tensors as what can be compared."""
    if isinstance(x, torch.Tensor):
        return (
            str(x.dtype), x.tolist(), x.requires_grad, None if x.grad is None else x.grad.tolist(),
            x._version, x.stride(),
        )  # fmt: skip
    if isinstance(x, dict):
        return {k: plainly(v) for k, v in x.items()}
    return [plainly(v) for v in x] if isinstance(x, list | tuple) else x


def state(w):
    packed = w.optimizer.state_dict()
    return plainly([
        dict(w.net.named_parameters()), dict(w.net.named_buffers()), w.total, w.weight, w.data,
        {k: dict(s) for k, s in packed["state"].items()},
        [{k: v for k, v in g.items() if k != "params"} for g in packed["param_groups"]],
        w.scheduler and [w.scheduler.last_epoch, w.scheduler.get_last_lr()], w.held,
        torch.default_generator.get_state(),
    ])  # fmt: skip


def run(seed, compiled, actions):
    """The states after each action, or the error that ended the program."""
    global FACTOR
    FACTOR = 1.5
    w = World(seed, compiled)
    seen = []
    for k in range(actions):
        action = w.r.choice(ACTIONS)
        try:
            result = plainly(action(w)) if action in (call, calls) else action(w)
        except (RuntimeError, TypeError, ValueError) as error:
            seen.append((k, action.__name__, type(error).__name__, str(error)))
            break
        seen.append((k, action.__name__, result, state(w)))
    return seen, w


def equal(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, float) and isinstance(b, float):
        if runtime.default_device().kind == "numpy":
            return a == b or (a != a and b != b)
        return a == pytest.approx(b, rel=1e-2, abs=1e-3, nan_ok=True)
    return bool(a == b)


def check(seed, actions=16):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want, _ = run(seed, False, actions)
        got, w = run(seed, True, actions)
    for a, b in zip(want, got, strict=False):
        assert equal(a, b), f"seed {seed}: {a[:2]} of {w.kind.__name__} {w.pieces} differs"
    assert len(want) == len(got), (want[-1][1:], got[-1][1:])
    return w


@pytest.mark.parametrize("seed", range(int(os.environ.get("TABGRAD_FUZZ", "24"))))
def test_programs(seed):
    check(seed)


def test_most_programs_are_replayed():
    kept = 0
    for seed in range(1000, 1006):
        w = check(seed)
        kept += sum(len(c.recordings) for c in w.f._compiled.cases)
    assert kept >= 6


# --- folded values --------------------------------------------------------------------------------


class Adapted(nn.Module):
    """Much of what it computes depends on its tensors alone."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.linear = nn.Linear(4, 6)
        self.up, self.down = nn.Parameter(torch.randn(6, 2)), nn.Parameter(torch.randn(2, 4))
        self.register_buffer("shift", torch.randn(6))

    def forward(self, x):
        weight = self.linear.weight + self.up @ self.down
        return F.linear(self.norm(x), weight, self.linear.bias) * (self.shift.exp().sum() + 1)


def _writes_with_data(net):
    for p in net.parameters():
        p.data.mul_(0.875)


def _no_writes(net):
    pass


def _writes_statistics(net):
    net.norm.running_var.mul_(1.25)


def _writes_parameter(net):
    with torch.no_grad():
        net.up[0].add_(0.5)


def _gives_data(net):
    net.down.data = torch.randn(2, 4)


def _replaces_parameter(net):
    net.up = nn.Parameter(torch.randn(6, 2))


def _loads(net):
    net.load_state_dict({k: v * 0.75 for k, v in net.state_dict().items()})


def _shares(net):
    net.norm.weight.data = net.norm.running_var


BETWEEN = [
    _no_writes, _no_writes, _writes_with_data, _writes_statistics, _writes_parameter, _gives_data,
    _replaces_parameter, _loads, _shares,
]  # fmt: skip


@pytest.mark.parametrize("seed", range(int(os.environ.get("TABGRAD_FUZZ", "24")) // 3))
def test_folded_values_follow_what_they_are_made_of(seed):
    r = random.Random(seed)
    torch.manual_seed(seed)
    net = Adapted().eval()
    f = torch.compile(torch.no_grad()(net.forward))
    optimizer = r.choice(OPTIMIZERS)(net.parameters())

    @torch.compile
    def step(x):
        optimizer.zero_grad()
        net(x).square().mean().backward()
        optimizer.step()

    @torch.compile
    def decay():
        _writes_with_data(net)

    for _ in range(24):
        x = torch.randn(5, 4)
        action = r.choice([*BETWEEN, step, step, decay, decay])
        for _ in range(r.choice([1, 1, 4])):
            action(x) if action is step else action() if action is decay else action(net)
        for _ in range(r.choice([1, 4])):
            with torch.no_grad():
                want = net(x)
            assert equal(f(x).tolist(), want.tolist()), (seed, action.__name__)
    assert any(q.folded for c in f._compiled.cases for q in c.recordings)
