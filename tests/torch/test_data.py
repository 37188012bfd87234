"""utils.data against real PyTorch: orders for a seed, batches, errors."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import tabgrad

torch = pytest.importorskip("torch")
LIBS = (tabgrad, torch)


def plain(x: Any) -> Any:
    """Tensors as (dtype, nested lists), everything else as it is."""
    if hasattr(x, "tolist"):
        return str(x.dtype), x.tolist()
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    return type(x)(map(plain, x)) if isinstance(x, list | tuple) else x


def both(code: str, seed: int = 1, **names: Any) -> list[Any]:
    out = []
    for lib in LIBS:
        lib.manual_seed(seed)
        space = {"torch": lib, "d": lib.utils.data, **names}
        space |= {"data": lib.utils.data.TensorDataset(lib.arange(10), lib.arange(20).view(10, 2))}
        out.append(plain(eval(code, space)))
    return out


@pytest.mark.parametrize("code", [
    "list(d.DataLoader(data, 3))",
    "list(d.DataLoader(data, 3, shuffle=True))",
    "[list(l) for l in [d.DataLoader(data, 3, shuffle=True)] for _ in range(3)]",
    "[list(d.DataLoader(data, 4, True, drop_last=True)), torch.rand(2)]",
    "list(d.DataLoader(data, 3, shuffle=True, generator=torch.Generator().manual_seed(4)))",
    "list(d.DataLoader(data, None))",
    "list(d.DataLoader(data, sampler=d.RandomSampler(data, True, 40), batch_size=8))",
    "list(d.DataLoader(data, sampler=d.RandomSampler(data, num_samples=13)))",
    "list(d.DataLoader(data, batch_sampler=[[0, 1], [5]]))",
    "list(d.DataLoader(d.Subset(data, [4, 2, 9]), 2, shuffle=True))",
    "list(d.DataLoader(d.ConcatDataset([data, data]), 7))",
    "list(d.DataLoader(d.StackDataset(data, range(10)), 4))",
    "list(d.DataLoader(d.StackDataset(a=data, b=range(10)), 4))",
    "list(d.DataLoader([1, 2, 3], 2))",
    "list(d.DataLoader([1.5, 2, 3], 2))",
    "list(d.DataLoader([(1, 'a', {'x': 2.0})] * 3, 2))",
    "list(d.DataLoader(['ab', 'c', 'd'], 2, shuffle=True))",
    "list(d.DataLoader(data, 3, collate_fn=len))",
    "[len(d.DataLoader(data, 3)), len(d.DataLoader(data, 3, drop_last=True))]",
    "list(d.RandomSampler(range(10)))",
    "list(d.SubsetRandomSampler([3, 1, 4, 1, 5]))",
    "list(d.BatchSampler(range(7), 3, True))",
    "[list(x) for x in d.random_split(range(10), [3, 7])]",
    "[list(x) for x in d.random_split(range(11), [0.3, 0.3, 0.4],"
    " generator=torch.Generator().manual_seed(2))]",
    "d.default_collate([torch.ones(2), torch.zeros(2)])",
    "d.default_collate([(1, [2.0]), (3, [4.0])])",
    "d.default_convert([1, (2, 'x')])",
    "data[2]",
    "[d.ConcatDataset([range(3), range(5)])[i] for i in (0, 2, 3, 7, -1)]",
    "[len(data + data), (data + data)[12]]",
])  # fmt: skip
def test_same_batches(code: str) -> None:
    got, want = both(code)
    assert got == want


def test_weighted_sampler_draws_the_right_ones() -> None:
    tabgrad.manual_seed(0)
    sampler = tabgrad.utils.data.WeightedRandomSampler([0.0, 1.0, 0.0, 3.0], 200)
    drawn = list(sampler)
    assert set(drawn) == {1, 3}
    assert 110 < drawn.count(3) < 190


def test_numpy_samples() -> None:
    import numpy as np

    samples = [(np.arange(3), np.float32(1.5)), (np.arange(3), np.float32(2.5))]
    got, want = both("list(d.DataLoader(samples, 2))", samples=samples)
    assert got == want


def test_iterable_datasets() -> None:
    outs = []
    for lib in LIBS:

        class Numbers(lib.utils.data.IterableDataset):
            def __iter__(self) -> Any:
                return iter(range(7))

        loader = lib.utils.data.DataLoader
        outs.append(
            [
                plain(list(loader(Numbers(), 3))),
                plain(list(loader(Numbers(), 3, drop_last=True))),
                plain(list(loader(Numbers(), None))),
                plain(list(loader(Numbers() + Numbers(), 5))),
            ]
        )
    assert outs[0] == outs[1]


@pytest.mark.parametrize("code", [
    "d.DataLoader(data, 0)",
    "d.DataLoader(data, 2.5)",
    "d.DataLoader(data, 2, num_workers=-1)",
    "d.DataLoader(data, 2, timeout=-1)",
    "d.DataLoader(data, 2, prefetch_factor=2)",
    "d.DataLoader(data, 2, persistent_workers=True)",
    "d.DataLoader(data, shuffle=True, sampler=[1])",
    "d.DataLoader(data, 2, batch_sampler=[[1]])",
    "d.DataLoader(data, None, drop_last=True)",
    "d.DataLoader(d.ChainDataset([]), shuffle=True)",
    "d.DataLoader(d.ChainDataset([]), sampler=[1])",
    "d.DataLoader(d.ChainDataset([]), batch_sampler=[[1]])",
    "d.RandomSampler([])",
    "d.RandomSampler([1], 3)",
    "d.RandomSampler([1], num_samples=-1)",
    "d.WeightedRandomSampler([1.0], 0)",
    "d.WeightedRandomSampler([1.0], 1, 3)",
    "d.WeightedRandomSampler([[1.0]], 1)",
    "d.BatchSampler([1], 0, True)",
    "d.BatchSampler([1], 1, 3)",
    "d.TensorDataset(torch.ones(2), torch.ones(3))",
    "d.StackDataset()",
    "d.StackDataset([1], a=[1])",
    "d.StackDataset([1], [1, 2])",
    "d.ConcatDataset([])",
    "d.ConcatDataset([range(2)])[-5]",
    "d.random_split(range(3), [1, 1])",
    "d.random_split(range(3), [1.5, -0.5])",
    "d.default_collate([object()])",
    "d.default_collate([(1, 2), (1,)])",
    "d.Dataset()[0]",
    "list(d.DataLoader(d.ChainDataset([3])))",
])  # fmt: skip
def test_error(code: str) -> None:
    caught = []
    for lib in LIBS:
        data = lib.utils.data.TensorDataset(lib.arange(10))
        with pytest.raises(Exception) as info:
            eval(code, {"d": lib.utils.data, "torch": lib, "data": data})
        caught.append(info)
    assert caught[0].type is caught[1].type
    address = "<object object at "
    got, want = (str(c.value).split(address)[0] for c in caught)
    assert got == want


def test_empty_split_warns() -> None:
    texts = []
    for lib in LIBS:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            lib.utils.data.random_split(range(1), [0.5, 0.5])
        texts.append([str(w.message) for w in seen])
    assert texts[0] == texts[1]
