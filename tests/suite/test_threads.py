"""Results do not depend on how many threads compute them."""

from __future__ import annotations

import pytest
import tabgrad as torch

F = torch.nn.functional
IN_PAGE = torch.runtime.IN_PAGE


@pytest.fixture(autouse=True)
def _as_before() -> object:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def training() -> list[bytes]:
    """The parameters after some steps, big enough for kernels to be divided."""
    torch.manual_seed(0)
    nn = torch.nn
    model = nn.Sequential(
        nn.Conv2d(3, 16, 5, padding=2), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 64, 64),
        nn.LayerNorm(64), nn.GELU(), nn.Linear(64, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    x, y = torch.randn(8, 3, 32, 32), torch.randint(0, 10, (8,))
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return [p.detach().flatten().tolist() for p in model.parameters()]


def test_training_is_the_same_bit_for_bit(device: str) -> None:
    if device == "auto":  # with other threads its runs may go elsewhere, where they round otherwise
        torch.set_default_device("cpu")
    found = []
    for threads in (1, 2, 3, 1):
        torch.set_num_threads(threads)
        found.append(training())
    assert found[1:] == found[:1] * 3


def test_rows_are_added_in_order(device: str) -> None:
    if device == "auto":
        torch.set_default_device("cpu")
    index, rows = torch.randint(0, 50, (5000,)), torch.randn(5000, 130)
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        added = torch.zeros(50, 130).index_add(0, index, rows)
        found.append((added.tolist(), torch.zeros(50, 130).index_copy(0, index, rows).tolist()))
    if device != "webgpu":  # where equal indices meet in any order
        assert found[1:] == found[:1] * 2


def test_memory_grows_while_threads_run() -> None:
    torch.set_num_threads(2)
    x = torch.ones(512, 512)
    for n in (1, 2, 4):
        big = torch.zeros(n << 20)  # n times 4 MiB
        assert ((x @ x) + big.sum()).sum().item() == 512.0**3


def test_number_of_threads() -> None:
    torch.set_num_threads(3)
    found = torch.get_num_threads()
    assert found in ((1, 3) if IN_PAGE else (1,))
    torch.set_num_threads(1)
    assert torch.get_num_threads() == 1
    with pytest.raises(RuntimeError, match="expects a positive integer"):
        torch.set_num_threads(0)
    with pytest.raises(TypeError, match="set_num_threads expects an int, but got str"):
        torch.set_num_threads("2")
