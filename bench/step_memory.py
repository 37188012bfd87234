"""The most memory that training steps hold at once, in MB: one program for both libraries.

    python tools/page.py --device wasm bench/step_memory.py      tabgrad, in Pyodide
    .cache/torch/bin/python bench/step_memory.py                 PyTorch, on its CPU

One line of JSON: by step [MB], for tabgrad [plain, compiled, while compile records].
"""

import gc
import json
import subprocess
import sys

IN_PAGE = sys.platform == "emscripten"
if IN_PAGE:
    import tabgrad as torch
else:
    import torch
nn, F = torch.nn, torch.nn.functional
MB = 1e6


def training(model, optimizer, x, labels):
    """A step as tutorials write it."""

    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def cnn():
    model = nn.Sequential(
        nn.Conv2d(3, 16, 5, padding=2), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(16, 32, 5, padding=2), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 8 * 8, 10),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    return training(model, optimizer, torch.randn(64, 3, 32, 32), torch.randint(0, 10, (64,)))


def mlp(optimizer):
    layers = [m for _ in range(4) for m in (nn.Linear(1024, 1024), nn.ReLU())]
    model = nn.Sequential(*layers[:-1])
    x, labels = torch.randn(64, 1024), torch.randint(0, 1024, (64,))
    return training(model, optimizer(model.parameters()), x, labels)


class Block(nn.Module):
    """A layer of a transformer that sees what came before."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc, self.out = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x):
        batch, length, dim = x.shape
        qkv = self.qkv(self.ln1(x)).view(batch, length, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(batch, length, dim))
        return x + self.out(F.gelu(self.fc(self.ln2(x))))


def transformer():
    model = nn.Sequential(*[Block(256, 8) for _ in range(4)], nn.Linear(256, 64))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x, labels = torch.randn(1, 1024, 256), torch.randint(0, 64, (1024,))
    return training(lambda x: model(x)[0], optimizer, x, labels)


STEPS = {
    "small CNN, SGD": cnn,
    "MLP of four layers of 1,024, SGD": lambda: mlp(lambda p: torch.optim.SGD(p, lr=0.01)),
    "the same with momentum": lambda: mlp(lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9)),
    "the same with Adam": lambda: mlp(lambda p: torch.optim.Adam(p, lr=0.001)),
    "transformer of four layers of 256, 1,024 tokens, SGD": transformer,
}


def peaks(make, compiled):
    """Of the first calls, and of later ones, over what was there before."""
    gc.collect()
    (torch.ones(1) + 1).tolist()  # what nobody holds goes with a run
    before = torch.memory_allocated()
    step = torch.compile(make()) if compiled else make()
    found = []
    for calls in (8, 4):
        torch.reset_peak_memory_stats()
        for _ in range(calls):
            step().item()
        found.append((torch.max_memory_allocated() - before) / MB)
    return found


def peak_of_pytorch(make):
    """From the events of the profiler, which must have seen every allocation: in a new process."""
    with torch.profiler.profile(profile_memory=True) as profile:
        step = make()
        for _ in range(4):
            step()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = most = 0
    for e in sorted(events, key=lambda e: e.start_ns()):
        now += e.nbytes()
        most = max(most, now)
    return most / MB


def main():
    if IN_PAGE:
        found = {}
        for name, make in STEPS.items():
            (_, plain), (first, compiled) = peaks(make, False), peaks(make, True)
            found[name] = [plain, compiled, first]
        print(json.dumps(found))
    elif len(sys.argv) > 1:
        print(peak_of_pytorch(STEPS[sys.argv[1]]))
    else:
        run = [sys.executable, __file__]
        told = {n: subprocess.run([*run, n], check=True, capture_output=True) for n in STEPS}
        print(json.dumps({n: [float(done.stdout)] for n, done in told.items()}))


main()
