"""What Python costs, and memory: measured in Pyodide, printed as one line of JSON at the end.

make bench ARGS=--docs runs it through tools/page.py and puts the figures into docs/performance.md.
"""

import json
import sys
import time
from pathlib import Path

import tabgrad as torch
from tabgrad import nn, plan, runtime
from tabgrad.nn import functional as F

REPEAT = 60
WARM_UP = 1.0  # seconds


def best(f, repeat=REPEAT):
    """The least of many times, in microseconds."""
    least = float("inf")
    for _ in range(repeat):
        start = time.perf_counter()
        f()
        least = min(least, time.perf_counter() - start)
    return least * 1e6


def small_cnn(batch):
    """The benchmark's CNN and one SGD step of it."""
    model = nn.Sequential(
        nn.Conv2d(3, 16, 5, padding=2),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 5, padding=2),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 8 * 8, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x, labels = torch.randn(batch, 3, 32, 32), torch.randint(0, 10, (batch,))

    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


class Bridge:
    """Time spent in JavaScript, calls, and values per flush, while it is entered."""

    def __enter__(self):
        self.seconds, self.calls, self.values = 0.0, 0, 0
        self.handle = type(runtime.default_device().handle)
        self.run, self.linearize = self.handle.run, plan.linearize

        def run(*args):
            start = time.perf_counter()
            out = self.run(*args)
            self.seconds += time.perf_counter() - start
            self.calls += 1
            return out

        def linearize(roots):
            found = self.linearize(roots)
            self.values += len(found.key) - 1
            return found

        self.handle.run, plan.linearize = run, linearize
        return self

    def __exit__(self, *_):
        self.handle.run, plan.linearize = self.run, self.linearize


def python_time(step):
    """Microseconds of Python in a step (all but the kernels), its calls, its values. Measured once
    the browser has compiled the interpreter for good, which takes it some 200 steps."""
    start = time.perf_counter()
    while time.perf_counter() - start < WARM_UP:
        step()
    found = []
    for _ in range(REPEAT):
        with Bridge() as bridge:
            start = time.perf_counter()
            step()
            whole = time.perf_counter() - start
        found.append((1e6 * (whole - bridge.seconds), bridge.calls, bridge.values))
    return min(found)


def training_step(batch):
    """A row for the CNN's step as it is written, and one for the compiled step."""
    step = small_cnn(batch)
    us, calls, values = python_time(step)
    yield (
        f"Python of an uncompiled CNN training step, batch {batch} (target 10 µs for each value)",
        f"{us:.0f} µs, {values} values: {us / values:.1f} µs each; {calls} call over the bridge",
    )
    compiled = torch.compile(step)
    if compiled is not step:
        us, calls, _ = python_time(compiled)
        yield (
            f"Python of a compiled CNN training step, batch {batch} (target 100 µs)",
            f"{us:.0f} µs; {calls} call over the bridge",
        )


def import_seconds():
    """Importing the wheel once more, everything of it forgotten."""
    for name in [m for m in sys.modules if m.partition(".")[0] == "tabgrad"]:
        del sys.modules[name]
    start = time.perf_counter()
    import tabgrad  # noqa: F401

    return time.perf_counter() - start


def lower_bound(what):
    """Most bytes alive at once in a plan: results and temporaries."""
    live = plan.liveness(what)
    size = [s.dtype.itemsize * s.nelems for s in what.slots]
    now = most = 0
    for made, dead in zip(live.alloc, live.free, strict=True):
        now += sum(size[k] for k in made)
        most = max(most, now)
        now -= sum(size[k] for k in dead)
    return most


def resnet18_memory():
    """Device bytes of a forward, over weights, input and what its plan needs at least."""
    spec = [(64, 1), (128, 2), (256, 2), (512, 2)]

    class Block(nn.Module):
        def __init__(self, cin, cout, stride):
            super().__init__()
            self.a = nn.Conv2d(cin, cout, 3, stride, 1)
            self.b = nn.Conv2d(cout, cout, 3, 1, 1)
            same = stride == 1 and cin == cout
            self.skip = nn.Identity() if same else nn.Conv2d(cin, cout, 1, stride)

        def forward(self, x):
            return F.relu(self.b(F.relu(self.a(x))) + self.skip(x))

    blocks, cin = [], 64
    for cout, stride in spec:
        blocks += [Block(cin, cout, stride), Block(cout, cout, 1)]
        cin = cout
    model = nn.Sequential(
        nn.Conv2d(3, 64, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1), *blocks,
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000),
    ).eval()  # fmt: skip
    x = torch.randn(1, 3, 224, 224)
    held = sum(t.numel() * 4 for t in [x, *model.parameters()])
    plans, made = [], runtime.schedule

    def schedule(*args):
        plans.append(made(*args))
        return plans[-1]

    with torch.no_grad():
        for t in [x, *model.parameters()]:
            t.flatten()[:1].tolist()
        runtime.schedule = schedule
        torch.reset_peak_memory_stats()
        before = torch.max_memory_allocated()
        model(x).tolist()
        runtime.schedule = made
    most = torch.max_memory_allocated() - before
    return (most + held) / (held + max(map(lower_bound, plans)))


def main():
    found = dict([*training_step(1), *training_step(64)])
    x, y = torch.randn(64), torch.randn(64)

    def adds():
        h = x
        for _ in range(1000):
            h = h + y
        return h.tolist()

    with torch.no_grad():
        found["1,000 dependent adds, uncompiled, with the read (target 20 ms)"] = (
            f"{best(adds, 10) / 1000:.1f} ms"
        )
    found[
        "Memory of a ResNet-18 forward over weights and the least its plan needs (target 1.2)"
    ] = f"{resnet18_memory():.2f}"
    found["Import, everything forgotten (target 0.25 s)"] = f"{import_seconds():.2f} s"
    text = json.dumps(found, ensure_ascii=False)
    print(text)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text)


main()
