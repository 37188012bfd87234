"""data on every device: batches, orders, samplers."""

from __future__ import annotations

from typing import Any

import pytest
import tabgrad as torch
from tabgrad import data
from tabgrad.utils.data import DataLoader, TensorDataset


def pairs(n: int = 10) -> TensorDataset:
    return TensorDataset(torch.arange(n), torch.arange(2 * n).reshape(n, 2))


def test_batches_of_tensors() -> None:
    batches = list(DataLoader(pairs(), 4))
    assert [x.tolist() for x, _ in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert batches[2][1].tolist() == [[16, 17], [18, 19]]


def test_a_batch_does_not_share_memory_with_the_dataset() -> None:
    dataset = pairs()
    x, _ = next(iter(DataLoader(dataset, 10)))
    x.zero_()
    assert dataset.tensors[0].tolist() == list(range(10))


def test_shuffle_is_a_permutation_that_follows_the_seed() -> None:
    orders = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        orders.append([i for x, _ in DataLoader(pairs(), 3, shuffle=True) for i in x.tolist()])
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == list(range(10))


def test_every_pass_has_its_own_order() -> None:
    loader = DataLoader(pairs(50), 50, shuffle=True)
    first, second = (next(iter(loader))[0].tolist() for _ in range(2))
    assert first != second


def test_lengths_and_last_batch() -> None:
    assert len(DataLoader(pairs(), 4)) == 3
    assert len(DataLoader(pairs(), 4, drop_last=True)) == 2
    assert len(list(DataLoader(pairs(), 4, drop_last=True))) == 2


def test_one_index_op_for_a_subset_of_tensors(monkeypatch: Any) -> None:
    parts = data.random_split(pairs(), [0.5, 0.5])
    assert sorted(i for part in parts for i in part.indices) == list(range(10))
    monkeypatch.setattr(TensorDataset, "__getitem__", None)
    x, y = next(iter(DataLoader(parts[0], 5)))
    assert x.tolist() == list(parts[0].indices)
    assert y[:, 0].tolist() == [2 * i for i in parts[0].indices]


def test_own_dataset_and_collate() -> None:
    class Squares(data.Dataset):
        def __len__(self) -> int:
            return 5

        def __getitem__(self, i: int) -> Any:
            return {"x": i, "y": torch.tensor([float(i * i)])}

    batch = next(iter(DataLoader(Squares(), 3)))
    assert batch["x"].tolist() == [0, 1, 2]
    assert batch["y"].tolist() == [[0.0], [1.0], [4.0]]
    assert list(DataLoader(Squares(), 3, collate_fn=len)) == [3, 2]
    assert len(Squares() + Squares()) == 10


def test_iterable_dataset() -> None:
    class Count(data.IterableDataset):
        def __iter__(self) -> Any:
            return iter(range(5))

    assert [x.tolist() for x in DataLoader(Count(), 2)] == [[0, 1], [2, 3], [4]]


def test_index_out_of_range() -> None:
    loader = DataLoader(pairs(), batch_sampler=[[3, 10]])
    with pytest.raises(IndexError, match="index 10 is out of bounds for dimension 0 with size 10"):
        list(loader)


def test_training_from_a_loader() -> None:
    x = torch.randn(64, 3)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]])
    model = torch.nn.Linear(3, 1)
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(8):
        for a, b in DataLoader(TensorDataset(x, y), 8, shuffle=True):
            opt.zero_grad()
            loss = torch.nn.functional.mse_loss(model(a), b)
            loss.backward()
            opt.step()
    assert loss.item() < 0.01
