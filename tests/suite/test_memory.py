"""Memory frees itself: device bytes and Python objects return to where they were."""

from __future__ import annotations

import gc
import os
from typing import Any

import pytest
import tabgrad as torch

STEPS = int(os.environ.get("TABGRAD_STEPS", "1000"))


def objects() -> int:
    gc.collect()
    return len(gc.get_objects())


def settled() -> int:
    """Device bytes once nothing is pending and frees have ridden along."""
    gc.collect()
    torch.ones(1).tolist()
    gc.collect()
    bytes_: int = torch.memory_allocated()
    return bytes_


def test_training_steps_return_to_the_level_after_step_10() -> None:
    torch.manual_seed(0)
    nn = torch.nn
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    opt = torch.optim.Adam(model.parameters(), lr=0.01)
    x, y = torch.randn(16, 4), torch.randint(0, 3, (16,))
    bytes_at_10 = objects_at_10 = 0
    for i in range(1, STEPS + 1):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
        if i % 50 == 0:
            loss.item()
        if i == 10:
            loss.item()
            bytes_at_10, objects_at_10 = settled(), objects()
    loss.item()
    assert settled() == bytes_at_10
    assert objects() <= objects_at_10 + 200


def test_dropped_tensors_give_their_bytes_back() -> None:
    start = settled()
    x = torch.ones(1000) * 2
    x.tolist()
    assert torch.memory_allocated() >= start + 4000
    del x
    assert settled() == start


def test_views_keep_the_storage() -> None:
    start = settled()
    x = torch.arange(1000.0) * 1
    v = x[10:12]
    del x
    assert v.tolist() == [10, 11]
    assert settled() >= start + 4000
    del v
    assert settled() == start


def test_graph_is_freed_after_backward() -> None:
    w = torch.ones(1000, requires_grad=True)
    w.tolist()
    start = settled()
    loss = (w.exp().sin() * w).sum()
    loss.item()
    held = settled()
    assert held > start
    loss.backward()
    w.grad.tolist()
    assert settled() <= start + 4000 + 64
    del loss
    w.grad = None
    assert settled() == start


def test_dropped_graph_is_freed_without_backward() -> None:
    w = torch.ones(1000, requires_grad=True)
    w.tolist()
    start = settled()
    for _ in range(3):
        loss = (w.exp().sin() * w).sum()
        loss.item()
    del loss
    assert settled() == start


def test_in_place_does_not_grow() -> None:
    x = torch.zeros(1000)
    x.tolist()
    start = settled()
    for i in range(50):
        x += 1
        x[i] = 0
        x.tolist()
    assert settled() == start


def test_errors_do_not_leak() -> None:
    start = settled()
    for _ in range(5):
        x = torch.ones(500) * 3
        x.tolist()
        with pytest.raises(RuntimeError):
            x @ torch.ones(3)
        with pytest.raises(IndexError):
            x[torch.tensor([900])].tolist()
    del x
    assert settled() == start


def test_peak() -> None:
    torch.ones(1).tolist()
    x, y = torch.ones(50_000) + 1, torch.ones(50_000) + 2
    x.tolist(), y.tolist()
    peak = torch.max_memory_allocated()
    assert peak >= torch.memory_allocated() >= 200_000
    del x, y
    torch.ones(1).tolist()  # what nobody holds goes with a run
    torch.reset_peak_memory_stats()
    assert torch.memory_allocated() <= torch.max_memory_allocated() <= peak - 200_000
    y = torch.ones(100_000) + 1
    y.tolist()
    assert torch.max_memory_allocated() >= 400_000


def test_no_reference_cycles_in_a_step() -> None:
    """A step's tensors go when their names go, not when the collector comes."""
    w = torch.ones(1000, requires_grad=True)
    w.tolist()
    start = settled()
    gc.disable()
    try:
        for _ in range(5):
            loss: Any = (w * w).sum()
            loss.backward()
            loss.item()
            w.grad = None
        del loss
        torch.ones(1).tolist()
        assert torch.memory_allocated() <= start + 64
    finally:
        gc.enable()


@pytest.mark.parametrize("compiled", [False, True])
def test_a_training_step_holds_parameters_and_gradients_only(compiled: bool) -> None:
    """No old value of a parameter, and nothing that waits for the collector."""
    start = settled()
    w = torch.nn.Parameter(torch.ones(100, 100))
    optimizer = torch.optim.SGD([w], lr=0.1)

    def step() -> Any:
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        optimizer.step()
        return loss.detach()

    f = torch.compile(step) if compiled else step
    for _ in range(6):
        assert f().item() > 0
        assert torch.memory_allocated() <= start + 2 * w.nbytes + 1000
        w.tolist()  # takes hold of the value
    torch.reset_peak_memory_stats()
    before = torch.max_memory_allocated()
    assert f().item() > 0
    assert torch.max_memory_allocated() <= before + 2000, "a parameter is written in place"


def peak(f: Any) -> int:
    """The most bytes that a call needs over what is there."""
    settled()
    torch.reset_peak_memory_stats()
    before = torch.max_memory_allocated()
    f()
    bytes_: int = torch.max_memory_allocated() - before
    return bytes_


def test_a_compiled_step_needs_no_more_memory_than_ordinary_code() -> None:
    """Gradients are computed as the way back comes past them, whatever order they are kept in."""
    nn = torch.nn
    model = nn.Sequential(*[m for _ in range(6) for m in (nn.Linear(40, 40), nn.Tanh())])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(400, 40)

    def step() -> Any:
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    compiled = torch.compile(step)
    for _ in range(4):
        step().item()
    plain = peak(lambda: step().item())
    for _ in range(6):
        compiled().item()
    assert peak(lambda: compiled().item()) <= 1.02 * plain


def test_a_function_holds_nothing_after_the_way_back() -> None:
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return (x * x).sum()

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return 2 * g * ctx.saved_tensors[0]

    w = torch.ones(1000, requires_grad=True)
    w.tolist()
    start = settled()
    loss = Square.apply(w.exp())
    loss.item()
    assert settled() >= start + 4000, "what is saved"
    loss.backward()
    w.grad.tolist()
    assert settled() <= start + 4000 + 200, "the gradient"
    gc.disable()
    try:
        w.grad = None
        loss = Square.apply(w.exp())
        loss.item()
        del loss  # no way back: nothing waits for the collector
        torch.ones(1).tolist()
        assert torch.memory_allocated() <= start + 200
    finally:
        gc.enable()


def test_an_elementwise_result_takes_the_memory_of_what_it_is_the_last_to_read() -> None:
    a = torch.randn(100, 100)
    a.tolist()
    product = a @ a
    want = torch.tensor(product.tolist()).sin()
    del product
    assert (a @ a).sin().tolist() == want.tolist()  # and there is a plan for it
    assert peak(lambda: (a @ a).sin().tolist()) <= 1.1 * a.nbytes
    m = a @ a
    m.tolist()
    for f in (  # what is read again, elsewhere or by others
        lambda m: m.sin() + m.t(),
        lambda m: m.sin() * m.sum(),
        lambda m: (m.sin(), m.cos() @ a, m * 2),
        lambda m: m.sin().view(50, 200)[:, ::2] + m.view(50, 200)[:, 1::2],
        lambda m: (m.sin() * m, (m.sin() * m).sum(1)),
        lambda m: torch.cat([m.sin(), m]) @ a,
    ):
        torch.testing.assert_close(f(a @ a), f(m), rtol=1e-4, atol=1e-4)


def test_an_old_value_is_written_over_only_if_nobody_holds_it() -> None:
    x = torch.arange(600.0)
    x.tolist()
    for hold in (lambda: x.clone(), lambda: x[2:4].clone(), lambda: x * 2, lambda: None):
        before = x.tolist()
        kept = hold()
        x.add_(1).mul_(x)
        assert x.tolist() == [(v + 1) ** 2 for v in before]
        if kept is not None:
            first = {600: before, 2: before[2:4]}[kept.numel()]
            assert kept.tolist() in (first, [2 * v for v in first])
        x.remainder_(7)


def test_reading_elsewhere_while_writing_in_place() -> None:
    """A kernel that reads an old value turned, shifted or broadcast does not write over it."""
    x = torch.arange(9.0).reshape(3, 3)
    x.tolist()
    x += x.t() * 1
    assert x.tolist() == [[0, 4, 8], [4, 8, 12], [8, 12, 16]]
    x.mul_(x.flip(0))
    assert x.tolist() == [[0, 48, 128], [16, 64, 144], [0, 48, 128]]
    x.sub_(x[0] * 1)
    assert x.tolist() == [[0, 0, 0], [16, 16, 16], [0, 0, 0]]
    x[1] = x[2] + 1
    x.add_(x.sum())
    assert x.tolist() == [[3, 3, 3], [4, 4, 4], [3, 3, 3]]
    a, b = torch.arange(5.0), torch.arange(5.0) + 10
    (a + b).tolist()
    a.add_(b)
    b.mul_(a)  # reads the new value of one and its own old one
    assert a.tolist() == [10, 12, 14, 16, 18]
    assert b.tolist() == [100, 132, 168, 208, 252]
    y = torch.arange(4.0)
    y.tolist()
    saved = y.clone().requires_grad_()
    loss = (saved * saved).sum()
    y.zero_()
    loss.backward()
    assert saved.grad.tolist() == [0, 2, 4, 6] and y.tolist() == [0] * 4
