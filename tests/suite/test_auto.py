"""The device "auto": where runs go, that they go there whole, and that nothing gets lost."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tabgrad as torch
from placing import FAR, NEAR, NOTHING, USUAL, placing
from tabgrad import bridge, io, nn, runtime
from tabgrad.backends import rates
from tabgrad.backends.auto import AutoDevice, opened
from tabgrad.backends.places import HOST, WASM, WEBGPU
from tabgrad.backends.rates import Costs, Rates
from tabgrad.backends.work import work
from tabgrad.dtypes import float32, int8
from tabgrad.errors import DeviceLostError, Int64RangeError, OutOfMemoryError
from tabgrad.plan import linearize


@pytest.fixture
def place() -> Iterator[Callable[[Any], AutoDevice]]:
    """Makes a device with costs by hand the default, and what "auto" names."""
    before = runtime._open.get("auto")

    def make(costs: Any = USUAL) -> AutoDevice:
        made = placing("usual")
        made.costs = costs
        runtime._open["auto"] = made
        torch.set_default_device("auto")
        return made

    yield make
    runtime._open.pop("auto")
    if before is not None:
        runtime._open["auto"] = before


def lies(x: Any) -> list[int]:
    """Where the value of a tensor lies."""
    return [k for k, b in enumerate(x.storage.node.buffer.handle.at) if b is not None]


def costs(gain: float = 0.0, back: float = 1e12, run: float = 0.0, read: float = 0.0) -> Costs:
    """A GPU on which a float of traffic costs nothing and on WASM ``gain`` seconds a KiB."""
    slow = Rates(0.0, 0.0, 1e30, 1024 / gain if gain else 1e30)
    return Costs(slow, Rates(run, read, 1e30, 1e30), back)


# --- where runs go --------------------------------------------------------------------------------


def test_small_work_stays(place: Any) -> None:
    made = place()
    x = torch.tensor([1.0, 2.0, 3.0])
    assert str(x.device) == "auto" and x.device == torch.device("auto")
    assert repr(x.device) == "device(type='auto')"
    assert lies(x) == [HOST]
    assert (x * 2 + 1).sum().item() == 15
    assert made.at == WASM and lies(x) == [WASM]


def test_a_large_product_goes_to_the_gpu(place: Any) -> None:
    made = place(Costs(NEAR._replace(flops=1e6), FAR, 1e9))
    a, b = torch.rand(64, 64), torch.rand(64, 64)
    y = a @ b
    want = a.tolist()[0], [row[0] for row in b.tolist()]
    assert made.at == WASM
    assert y[0, 0].item() == pytest.approx(sum(p * q for p, q in zip(*want, strict=True)), rel=1e-5)
    assert made.at == WEBGPU
    small = torch.rand(4, 4) @ torch.rand(4, 4)
    assert small.sum().item() > 0 and made.at == WASM


def test_a_read_counts(place: Any) -> None:
    """Worth the GPU, but not if somebody waits for it: at once, or after every run."""
    slow = costs(gain=1e-3, read=1e-2)
    made = place(slow)
    x = torch.zeros(256)
    (x + 1).sum().item()
    assert made.at == WASM
    y = x * 2
    made.flush()
    assert made.at == WEBGPU and lies(y) == [WEBGPU]
    z = [torch.zeros(256)]
    for _ in range(8):
        z.append(z[-1] + 1)
        made.flush()
        z[-1].sum()
        z[-1].tolist()
    made.flush()
    assert lies(z[-1])[0] == WASM


def test_values_move_when_it_pays(place: Any) -> None:
    """It takes 10 ms to move, and each run saves some 2: the sixth run or so moves, once."""
    made = place(costs(gain=1e-3, back=1024 / 1e-2))
    x = torch.zeros(256)
    with_float64 = x.double().sum().item()  # for that x goes to the WASM side
    assert with_float64 == 0 and lies(x) == [WASM]
    sides = []
    for _ in range(40):
        x = x + 1
        made.flush()
        sides.append(made.at)
    assert sides == sorted(sides) and 3 <= sides.index(WEBGPU) <= 20
    assert x.tolist() == [40.0] * 256


def test_what_is_made_anew_does_not_move_each_time(place: Any) -> None:
    """A result of the GPU is worked on: moving it would cost 20 times what that saves."""
    made = place(Costs(NOTHING._replace(flops=1e3), Rates(1e-3, 2e-2, 1e30, 1e30), 1e30))
    a = torch.ones(16, 16)
    moved = 0
    for _ in range(400):
        y = a @ a
        made.flush()
        assert made.at == WEBGPU
        y = y + 1
        made.flush()
        moved += made.at == WASM
    assert y[0, 0].item() == 17 and moved <= 8


def test_building_counts_as_moving(place: Any) -> None:
    built = costs(gain=1e-3)
    made = place(built._replace(webgpu=built.webgpu._replace(build=1e-2)))
    sides = []
    x = torch.zeros(256)
    for _ in range(40):
        y = x + 1
        made.flush()
        sides.append(made.at)
    assert y.tolist() == [1.0] * 256
    assert sides == sorted(sides) and 3 <= sides.index(WEBGPU) <= 20


@pytest.mark.parametrize("kind", ["usual", "webgpu", "wasm"])
def test_training_stays_where_it_is(place: Any, kind: str) -> None:
    made = place(placing(kind).costs)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    x, t = torch.randn(32, 8), torch.randint(0, 2, (32,))
    sides, losses = [], []
    for _ in range(12):
        before = dict(runtime.counters)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), t)
        loss.backward()
        optimizer.step()
        assert runtime.counters["flushes"] == before["flushes"] + 1
        sides.append(made.at)
        losses.append(loss.item())
    assert set(sides) == {WEBGPU if kind == "webgpu" else WASM}
    assert losses[-1] < losses[0]


def test_a_flush_is_never_split(place: Any) -> None:
    made = place(costs(gain=1e-3))
    x, y = torch.zeros(4), torch.zeros(4096)
    before = dict(runtime.counters)
    a, b = x + 1, (y + 1).sum()
    made.flush()
    assert runtime.counters["flushes"] == before["flushes"] + 1
    assert lies(a) == lies(b) == [WEBGPU]


def test_float64_is_for_wasm(place: Any) -> None:
    made = place(placing("webgpu").costs)
    x = torch.tensor([0.1, 1e300], dtype=torch.float64)
    assert (x * 3).tolist() == [0.1 * 3, 3e300] and made.at == WASM
    y = torch.ones(2) + 1
    assert y.tolist() == [2, 2] and made.at == WEBGPU
    assert (y.double() / 3).tolist() == [2 / 3, 2 / 3] and made.at == WASM


def test_wide_integers_are_for_wasm(place: Any) -> None:
    made = place(placing("webgpu").costs)
    big = 1 << 40
    assert (torch.tensor([big]) * 5 + 1).tolist() == [big * 5 + 1]
    x = torch.tensor([7])
    assert (x + 1).tolist() == [8] and made.at == WEBGPU
    assert (x + big).tolist() == [big + 7] and made.at == WASM
    assert torch.full((2,), big).tolist() == [big, big]


def test_too_large_for_the_gpu(place: Any) -> None:
    made = place(placing("webgpu").costs)
    made.most = 1 << 10
    assert (torch.ones(256) + 1).sum().item() == 512 and made.at == WEBGPU
    assert (torch.ones(257) + 1).sum().item() == 514 and made.at == WASM


def test_debug_says_why(place: Any, capsys: pytest.CaptureFixture[str]) -> None:
    made = place(Costs(NEAR._replace(flops=1e6), FAR, 1e9))
    a = torch.rand(64, 64)
    torch.set_debug(1)
    try:
        (a @ a).sum().item()
        (a @ a).sum().item()
    finally:
        torch.set_debug(0)
    out = capsys.readouterr().out
    assert out.count("auto: ") == 1
    assert f"→ {made.sides[WEBGPU]}: wasm 5" in out and "webgpu 0.1" in out


# --- values on two sides --------------------------------------------------------------------------


def test_copies_are_bounded(place: Any) -> None:
    made = place(placing("webgpu").costs)
    made.room = 1000
    x, y = torch.rand(200), torch.rand(200)
    (x + y).sum().item()
    assert sorted([lies(x), lies(y)]) == [[WEBGPU], [WEBGPU, HOST]] and made.room == 200
    both = (x if len(lies(x)) == 2 else y).double().sum().item()
    assert both > 0
    del x, y
    assert made.room == 1000 and made.allocated == 0


def test_windows_of_a_value_on_the_other_side(place: Any) -> None:
    """Mini-batches: after some of them the whole is brought to where the runs are."""
    made = place(placing("webgpu").costs)
    x = torch.arange(64.0)
    assert x.double().sum().item() == 2016  # it lies on the WASM side now
    for i in range(12):
        batch = x[4 * (i % 16) : 4 * (i % 16) + 4]
        assert (batch + 1).tolist() == [float(4 * i + k + 1) for k in range(4)]
        assert made.at == WEBGPU
    assert WEBGPU in lies(x)
    y = torch.arange(64.0)  # on the host
    for i in range(12):
        assert (y[4 * i : 4 * i + 4] * 2).sum().item() == 32 * i + 12


def test_wide_values_are_not_brought_to_the_gpu(place: Any) -> None:
    made = place(placing("webgpu").costs)
    made.most = 200.0
    doubles, longs, many = torch.rand(32).double(), torch.arange(32), torch.rand(64)
    want = doubles.tolist(), longs.tolist(), many.double().tolist()
    for i in range(12):
        (torch.ones(2) + 1).tolist()
        assert made.at == WEBGPU
        part = slice(2 * i, 2 * i + 2)
        found = [(x[part] + 0).tolist() for x in (doubles, longs, many)]
        assert found == [w[part] for w in want]
    assert not any(WEBGPU in lies(x) for x in (doubles, longs, many))


def test_int64_that_leaves_its_bits_is_not_computed_there_again(place: Any) -> None:
    made = place(placing("webgpu").costs)
    x = torch.tensor([1 << 20])
    try:
        found = (x * x).tolist()
    except OverflowError:
        assert made.overflowed
        found = (x * x).tolist()
        assert made.at == WASM
    assert found == [1 << 40]


@pytest.mark.parametrize("kind", ["wasm", "webgpu", "alternating"])
def test_random_numbers_are_those_of_the_seed(place: Any, kind: str) -> None:
    def drawn() -> Any:
        torch.manual_seed(7)
        x = nn.functional.dropout(torch.randn(16) + torch.rand(16), 0.5)
        return [x.tolist(), torch.randint(0, 9, (5,)).tolist(), torch.randperm(6).tolist()]

    torch.set_default_device("cpu")
    want = drawn()
    place()
    torch.set_default_device(placing(kind))
    assert drawn() == want


def test_a_value_is_written_over_where_it_lies(place: Any) -> None:
    made = place(placing("webgpu").costs)
    x = torch.arange(8.0)
    both = x.double().sum()  # brings a copy to the other side
    assert both.item() == 28
    before = made.sides[WEBGPU].allocated
    for k in range(4):
        x += 1
        x[2] = 0
        made.flush()
        assert lies(x) == [WEBGPU] and made.sides[WEBGPU].allocated <= before + 4 * 8, k
    assert x.tolist() == [4, 5, 0, 7, 8, 9, 10, 11]
    assert x.double().sum().item() == 54


def test_what_is_shared_is_not_written_over(place: Any) -> None:
    """A plan may say that a result is a leaf where that of the other side says that it is none."""
    made = place(placing("webgpu").costs)
    x, y = torch.arange(4.0), torch.zeros(4)
    made.flush()
    inner = x.storage.node.buffer.handle.at[WEBGPU]
    y.storage.node.buffer.handle.at[WEBGPU] = inner
    del inner
    for _ in range(3):
        x += 1
        made.flush()
    assert x.tolist() == [3, 4, 5, 6] and y.tolist() == [0, 1, 2, 3]


def test_what_was_written_over_is_not_what_was_uploaded(place: Any) -> None:
    made = place(placing("webgpu").costs)
    x = torch.tensor([1.0, 2.0])
    x += 1
    made.flush()
    if made.sides[WEBGPU].kind == "webgpu":
        torch.testing.lose_device()
        with pytest.raises(DeviceLostError):
            x.tolist()
    else:
        assert x.tolist() == [2, 3]


def test_in_and_out(place: Any) -> None:
    place(placing("webgpu").costs)
    x = torch.arange(4.0, requires_grad=True)
    y = (x * 2).to("cpu")
    assert y.device == torch.device("cpu") and y.tolist() == [0, 2, 4, 6]
    y.sum().backward()
    assert str(x.grad.device) == "auto" and x.grad.tolist() == [2, 2, 2, 2]
    with pytest.raises(RuntimeError, match="at least two devices"):
        x + y
    assert y.to("auto").device == torch.device("auto")
    assert (y.to("auto") + x).tolist() == [0, 3, 6, 9]


def test_a_stream_goes_where_it_is_read(place: Any) -> None:
    made = place(Costs(NEAR, FAR, 1e9))
    assert made.home(1000, False) is made.sides[WASM]
    assert made.home(1 << 30, False) is made.sides[WEBGPU]
    assert made.home(1 << 30, True) is made.sides[WASM]
    side = made.sides[WEBGPU]
    inner = side.upload(bytes(torch.ones(3)._bytes()), float32, 3)
    node = runtime.leaf(made.adopt(inner, float32, 3), (3,), float32)
    assert torch.Tensor._wrap(node, made).tolist() == [1, 1, 1]


@pytest.mark.parametrize("number", [3, 1 << 40])
async def test_weights_of_a_stream(place: Any, tmp_path: Any, number: int) -> None:
    """Straight to the GPU, unless there are integers that it cannot hold."""
    with torch.device("cpu"):
        io.save_file({"w": torch.arange(6.0), "n": torch.tensor([number])}, tmp_path / "x")
    made = place(placing("webgpu").costs)
    source = str(tmp_path / "x")
    streamed = runtime.IN_PAGE and bridge.has_address()
    if streamed:
        source = "data:;base64," + b64encode((tmp_path / "x").read_bytes()).decode() + "#://"
    found = await io.load(source, device="auto")
    side = WASM if number > 3 and made.sides[WEBGPU].kind == "webgpu" else WEBGPU
    assert not streamed or lies(found["w"]) == [side]
    assert found["w"].tolist() == [0, 1, 2, 3, 4, 5] and found["n"].tolist() == [number]


# --- pages that cannot wait -----------------------------------------------------------------------


def test_what_cannot_be_waited_for_stays(place: Any) -> None:
    made = place(costs(gain=1e-3))
    x = torch.zeros(256) + 1
    made.flush()
    assert lies(x) == [WEBGPU]
    made.costs = placing("wasm").costs
    made.plans = {}
    made.can_wait = lambda: False
    y = x + 1
    made.flush()
    assert made.at == WEBGPU and lies(y) == [WEBGPU]


async def test_awaiting_moves(place: Any) -> None:
    made = place(costs(gain=1e-3))
    x = torch.zeros(256) + 1
    made.flush()
    made.costs, made.plans = placing("wasm").costs, {}
    made.can_wait = lambda: False
    found = await (x + 1).data()
    assert made.at == WASM and list(found) == [2.0] * 256
    assert WASM in lies(x)


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OutOfMemoryError, DeviceLostError])
def test_the_other_side_takes_over(place: Any, monkeypatch: Any, error: Any) -> None:
    made = place(placing("webgpu").costs)
    x = torch.arange(4.0)
    y = x + 1
    assert y.tolist() == [1, 2, 3, 4] and made.at == WEBGPU

    def fail(*_: Any) -> Any:
        raise error("no")

    with monkeypatch.context() as patch:
        patch.setattr(made.sides[WEBGPU], "start", fail)
        patch.setattr(made.sides[WEBGPU], "reopen", lambda error: True)
        assert (x * 3).tolist() == [0, 3, 6, 9] and made.at == WASM
    again = WASM if error is OutOfMemoryError else WEBGPU  # what did not fit is not tried again
    assert (y * 3).tolist() == [3, 6, 9, 12] and made.at == again
    assert (y * 3 + 1).tolist() == [4, 7, 10, 13] and made.at == WEBGPU


def test_an_error_on_one_side_loses_nothing(place: Any, monkeypatch: Any) -> None:
    made = place(placing("webgpu").costs)
    x = torch.arange(4.0)
    y = x + 1

    def fail(*_: Any) -> Any:
        raise RuntimeError("a kernel")

    with monkeypatch.context() as patch:
        patch.setattr(made.sides[WEBGPU], "start", fail)
        with pytest.raises(RuntimeError, match="a kernel"):
            y.tolist()
    assert y.tolist() == [1, 2, 3, 4]


def test_a_gpu_that_became_wasm(place: Any, monkeypatch: Any) -> None:
    """Lost for good: plans are made anew and everything goes to the WASM side."""
    made = place(placing("webgpu").costs)
    y = torch.arange(4.0) + 1
    made.flush()
    assert lies(y) == [WEBGPU]
    plans = made.plans
    monkeypatch.setattr(made.sides[WEBGPU], "kind", "lost")
    monkeypatch.setattr(made.sides[WEBGPU], "plans", {})
    assert (y * 2).tolist() == [2, 4, 6, 8] and made.at == WASM
    assert made.plans is not plans and made.home(1 << 40, False) is made.sides[WASM]


# --- compile --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["wasm", "webgpu", "alternating", "usual"])
def test_replays(place: Any, kind: str) -> None:
    place()
    made = runtime._open["auto"] = placing(kind)
    torch.set_default_device(made)
    w = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([w], lr=0.1)

    @torch.compile
    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = (w * x).sum()
        loss.backward()
        optimizer.step()
        return loss.detach()

    losses = []
    for _ in range(8):
        before = runtime.counters["flushes"]
        losses.append(step(torch.ones(2)))
        assert runtime.counters["flushes"] <= before + 2
    assert [x.item() for x in losses] == pytest.approx([2 - 0.2 * k for k in range(8)])
    assert sum(len(c.recordings) for c in step._compiled.cases) == 1


@pytest.fixture
def recorded(place: Any) -> Callable[..., tuple[AutoDevice, Any]]:
    """A device that prefers the GPU, and a function of one argument of which it has a recording."""

    def record(fn: Any, x: Any) -> tuple[AutoDevice, Any]:
        made = place(placing("webgpu").costs)
        f = torch.compile(fn)
        for _ in range(4):
            f(x()).tolist()
        assert made.at == WEBGPU and recordings(f) == 1
        return made, f

    return record


def recordings(f: Any) -> int:
    assert f._compiled.off == ""
    return sum(len(c.recordings) for c in f._compiled.cases)


@pytest.mark.parametrize("error", [OutOfMemoryError, DeviceLostError])
def test_a_replay_goes_on_elsewhere(recorded: Any, monkeypatch: Any, error: Any) -> None:
    made, f = recorded(lambda x: x * 2 + 1, lambda: torch.arange(3.0))

    def fail(*_: Any) -> Any:
        raise error("no")

    def reopen(_: Any) -> bool:
        made.sides[WEBGPU].plans = {}
        return True

    x = torch.arange(3.0) + 1
    x.tolist()
    runs = runtime.counters["flushes"]
    with monkeypatch.context() as patch:
        patch.setattr(made.sides[WEBGPU], "start", fail)
        patch.setattr(made.sides[WEBGPU], "reopen", reopen)
        assert f(x).tolist() == [3, 5, 7] and made.at == WASM
    assert runtime.counters["flushes"] == runs + 1
    assert [f(x).tolist() for _ in range(4)] == [[3, 5, 7]] * 4
    assert made.at == (WASM if error is OutOfMemoryError else WEBGPU)


def test_a_replay_of_wide_integers(recorded: Any, monkeypatch: Any) -> None:
    made, f = recorded(lambda x: x + 1, lambda: torch.tensor([1, 2]))
    wide = torch.tensor([1 << 40, 2])
    if made.sides[WEBGPU].kind != "webgpu":  # it could hold them: as a GPU would see it
        monkeypatch.setattr(made.sides[WEBGPU], "send", narrow)
    assert f(wide).tolist() == [(1 << 40) + 1, 3] and made.at == WASM
    assert f(torch.tensor([3, 4])).tolist() == [4, 5]


def narrow(data: Any, dtype: Any, nelems: int) -> Any:
    raise Int64RangeError("too wide")


def test_a_recording_outlives_other_rates(recorded: Any) -> None:
    made, f = recorded(lambda x: x * 2, lambda: torch.tensor([1.0, 2.0]))
    made.costs = placing("wasm").costs
    for _ in range(3):
        before = dict(runtime.counters)
        assert f(torch.tensor([1.0, 2.0])).tolist() == [2, 4]
        assert runtime.counters["plans_built"] == before["plans_built"]
    assert made.at == WASM and recordings(f) == 1


def test_what_a_lost_gpu_was_to_do_is_done_by_wasm(recorded: Any, monkeypatch: Any) -> None:
    """The way back of a replay, planned for a GPU that is gone when it is asked for."""
    made, f = recorded(lambda x: (x * x).sum(), lambda: torch.ones(2, requires_grad=True))
    x = torch.tensor([3.0, 4.0], requires_grad=True)
    y = f(x)
    monkeypatch.setattr(made.sides[WEBGPU], "plans", {})
    y.backward()
    assert x.grad.tolist() == [6, 8]
    assert y.item() == 25


def test_a_lost_gpu(recorded: Any) -> None:
    """What lies elsewhere too goes on, replays as well; what does not says that it is lost."""
    made, f = recorded(lambda x: x * 2, lambda: torch.arange(2.0))
    x, y = torch.tensor([1.0, 2.0]), torch.arange(2.0) + 1
    assert f(x).tolist() == [2, 4] and y.tolist() == [1, 2]
    if made.sides[WEBGPU].kind != "webgpu":
        with pytest.raises(RuntimeError, match="only a webgpu device can be lost"):
            torch.testing.lose_device()
        return
    assert lies(y) == [WEBGPU]
    torch.testing.lose_device()
    assert [f(x).tolist() for _ in range(3)] == [[2, 4]] * 3
    with pytest.raises(DeviceLostError):
        (y + 1).tolist()
    assert (torch.arange(2.0) + 1).tolist() == [1, 2] and recordings(f) >= 1


def test_random_numbers_of_a_replay(recorded: Any) -> None:
    _, f = recorded(lambda x: x + torch.rand(3), lambda: torch.zeros(3))
    torch.manual_seed(1)
    found = [f(torch.zeros(3)).tolist() for _ in range(3)]
    torch.manual_seed(1)
    assert found == [torch.rand(3).tolist() for _ in range(3)]


# --- what work costs ------------------------------------------------------------------------------


def counted(y: Any) -> Any:
    return work(linearize([y.node()]).key)


def test_the_work_of_a_graph(place: Any) -> None:
    place()
    a, b = torch.rand(8, 16), torch.rand(16, 4)
    w = counted(a @ b)
    assert (w.flops, w.traffic, w.results) == (2 * 8 * 16 * 4, 4 * (128 + 64 + 32), 128)
    w = counted(a + 1)
    assert (w.flops, w.traffic, w.wide, w.int64) == (0, 8 * 128, False, False)
    w = counted(nn.functional.conv2d(torch.rand(2, 3, 8, 8), torch.rand(4, 3, 3, 3)))
    assert w.flops == 2 * 2 * 4 * 36 * 27
    q, k = torch.rand(3, 9, 8), torch.rand(3, 5, 8)
    with torch.no_grad():
        w = counted(nn.functional.scaled_dot_product_attention(q, k, k[..., :4]))
    assert w.flops == 2 * 3 * 9 * 5 * (8 + 4)
    leaves = (0, (2, 8), float32.code), (1, (4, 8), int8.code), (2, (4, 1), float32.code)
    linear = "linear", float32.code, (2, 4), (2, 4, 8, 8, 8), tuple, 0, 1, 2
    w = work((*leaves, linear, (3,)))
    assert (w.flops, w.traffic) == (2 * 2 * 4 * 8, 64 + 32 + 16 + 32)
    table = torch.rand(1000, 8)
    w = counted(table[torch.tensor([1, 2])])
    assert w.traffic < 1000
    w = counted(a[0] + 1)  # of what is seen through a window only that
    assert w.traffic == 8 * 16
    table[0] = 1.0
    key = linearize([table.node()]).key
    assert work(key).traffic >= 2 * 4 * 8000 > 1000 > work(key, (0,)).traffic
    assert counted(a.double() + 1).wide and counted(torch.tensor([1]) + 1).int64


async def test_measuring(place: Any) -> None:
    found, transfer = await rates.measure(place().sides[WASM])
    assert all(math.isfinite(r) and r >= 0 for r in found)
    assert 1e6 < found.flops < 1e15 and 1e6 < found.traffic < 1e13 and 1e6 < transfer < 1e13


class Opened:
    """What ``known`` asks of a device of a page."""

    def __init__(self, threads: int = 1, **info: Any) -> None:
        self.handle = self
        self.info, self.threads = info, threads

    def set_threads(self, count: int) -> None:
        self.threads = count


@pytest.fixture
def measured(monkeypatch: Any) -> list[Any]:
    """The devices that were measured; what is kept lasts for the test."""
    kept: dict[str, str] = {}
    found: list[Any] = []

    async def measure(device: Any) -> Any:
        found.append(device)
        return NEAR._replace(run=float(device.threads)), 5.0

    monkeypatch.setattr(bridge, "recall", lambda name: kept.get(name, ""))
    monkeypatch.setattr(bridge, "keep", kept.__setitem__)
    monkeypatch.setattr(rates, "measure", measure)
    return found


async def test_measured_once(measured: list[Any], monkeypatch: Any) -> None:
    wasm, gpu = Opened(build="relaxed"), Opened(vendor="a")
    want = NEAR._replace(run=1.0), 5.0
    assert await rates.known(wasm) == want == await rates.known(wasm)
    assert await rates.known(gpu) == want and measured == [wasm, gpu]
    await rates.known(Opened(vendor="b"))
    await rates.known(Opened(threads=2, build="relaxed"))
    assert len(measured) == 4
    monkeypatch.setattr(bridge, "recall", lambda name: "not ours")
    assert await rates.known(wasm) == want and len(measured) == 5


def test_other_threads_have_other_rates(place: Any, measured: list[Any]) -> None:
    made = place()
    wasm: Any = Opened(build="relaxed")
    made.sides = (wasm, made.sides[WEBGPU])
    made.set_threads(1)
    assert made.costs is USUAL and not measured
    made.set_threads(3)
    assert made.costs == USUAL._replace(wasm=NEAR._replace(run=3.0)) and wasm.threads == 3


def test_set_num_threads(place: Any) -> None:
    made = place()
    x = torch.rand(64, 64)
    want = (x @ x).tolist()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2 if before == 1 else 1)
        assert (x @ x).tolist() == want
        assert (made.costs is USUAL) == (torch.get_num_threads() == before)
    finally:
        torch.set_num_threads(before)


async def test_opening(monkeypatch: Any) -> None:
    """Both sides are measured; a GPU in software is none."""
    monkeypatch.setattr(runtime, "_open", {k: v for k, v in runtime._open.items() if k != "auto"})
    if not (runtime.IN_PAGE and bridge.has_webgpu()):
        assert runtime.resolve("auto") is runtime.resolve("cpu")
        return
    webgpu: Any = await runtime.open_async("webgpu")
    monkeypatch.setitem(webgpu.handle.info, "software", True)
    assert await opened() is runtime.resolve("wasm")
    monkeypatch.setitem(webgpu.handle.info, "software", False)
    made: Any = await opened()
    assert made.sides == (runtime.resolve("wasm"), webgpu) and made.most >= 1 << 27
    assert all(math.isfinite(r) and r >= 0 for r in (*made.costs[0], *made.costs[1]))
    assert (torch.ones(3, device=made) + 1).tolist() == [2, 2, 2]
    assert made.at == WASM  # so little is not worth a wait for the GPU


def test_without_a_gpu(monkeypatch: Any) -> None:
    """It is the host's executor and nothing in between."""
    monkeypatch.setattr(runtime, "_open", {k: v for k, v in runtime._open.items() if k != "auto"})
    monkeypatch.setattr(bridge, "has_webgpu", lambda: False)
    x = torch.ones(2, device="auto")
    assert x.storage.device is runtime.resolve("cpu")
    assert x.device == torch.device("auto") == torch.device("cpu")
    assert (x + torch.ones(2, device="cpu")).tolist() == [2, 2]
