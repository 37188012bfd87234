"""DataLoader: a dataset, batch by batch, in the one thread there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

from .. import creation
from ..tensor import Tensor
from .collate import default_collate, default_convert
from .dataset import IterableDataset, Subset, TensorDataset, _items
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, draw_seed

T_co = TypeVar("T_co", covariant=True)


class WorkerInfo(NamedTuple):
    """Which worker this is: never known here, where batches are made in the main thread."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


def get_worker_info() -> WorkerInfo | None:
    """None: there are no workers beside the main thread."""
    return None


class _Forever(Sampler[None]):
    """What an iterable dataset is sampled with."""

    def __iter__(self) -> Iterator[None]:
        while True:
            yield None


class DataLoader(Generic[T_co]):
    """Iterates over a dataset in batches.

    Args:
        dataset: what is indexed or iterated over.
        batch_size: samples in a batch; None gives single samples.
        shuffle: whether every pass has a new random order.
        sampler: gives the order instead.
        batch_sampler: gives the batches' indices instead.
        num_workers: accepted; batches are made in the one thread there is.
        collate_fn: makes a batch of a list of samples.
        pin_memory: accepted.
        drop_last: whether a last, smaller batch is left out.
        generator: where the order is drawn from.

    Examples::

        >>> from tabgrad.data import DataLoader, TensorDataset
        >>> data = TensorDataset(torch.arange(5), torch.arange(5) * 2)
        >>> for x, y in DataLoader(data, batch_size=2):
        ...     print(x.tolist(), y.tolist())
        [0, 1] [0, 2]
        [2, 3] [4, 6]
        [4] [8]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        iterable = isinstance(dataset, IterableDataset)
        if iterable:
            _check_iterable(shuffle, sampler, batch_sampler)
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, "
                    "and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError(
                "batch_size=None option disables auto-batching and is mutually exclusive with "
                "drop_last"
            )
        if sampler is None:
            sampler = _default_sampler(dataset, iterable, bool(shuffle), generator)
        if batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.dataset = dataset
        self.batch_size = batch_size
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.drop_last = drop_last
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.generator = generator
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.persistent_workers = persistent_workers
        self._batches = batch_sampler is not None
        default = default_collate if self._batches else default_convert
        self.collate_fn = default if collate_fn is None else collate_fn

    def __iter__(self) -> Iterator[Any]:
        return _Iterator(self)

    def __len__(self) -> int:
        if not isinstance(self.dataset, IterableDataset):
            return len(self.batch_sampler if self._batches else self.sampler)  # type: ignore[arg-type]
        n = len(self.dataset)  # type: ignore[arg-type]
        if self.batch_size is None:
            return n
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


class _Iterator:
    """One pass over the loader. Making it draws a number from the random stream, as PyTorch does
    for its workers, and the order is drawn at the first batch."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._loader = loader
        order = loader.batch_sampler if loader._batches else loader.sampler
        self._order = iter(order)  # type: ignore[arg-type]
        self._base_seed = draw_seed(loader.generator)
        iterable = isinstance(loader.dataset, IterableDataset)
        self._samples = iter(loader.dataset) if iterable else None

    def __iter__(self) -> _Iterator:
        return self

    def __len__(self) -> int:
        return len(self._loader)

    def __next__(self) -> Any:
        if self._samples is not None:
            return self._next_samples(self._samples)
        index = next(self._order)
        dataset, collate = self._loader.dataset, self._loader.collate_fn
        if not self._loader._batches:
            return collate(dataset[index])
        if collate is default_collate:
            batch = gather(dataset, index)
            if batch is not None:
                return batch
        return collate(_items(dataset, index))

    def _next_samples(self, samples: Iterator[Any]) -> Any:
        loader = self._loader
        if loader.batch_size is None:
            return loader.collate_fn(next(samples))
        batch = list(islice(samples, loader.batch_size))
        if not batch or (loader.drop_last and len(batch) < loader.batch_size):
            raise StopIteration
        return loader.collate_fn(batch)


def gather(dataset: Any, indices: Any) -> list[Tensor] | None:
    """A batch of a TensorDataset, or of parts of one, with one index op for each tensor; None for
    other datasets."""
    indices = list(indices)
    while type(dataset) is Subset:
        indices = [dataset.indices[i] for i in indices]
        dataset = dataset.dataset
    if type(dataset) is not TensorDataset or not indices:
        return None
    n = len(dataset)
    for i in indices:
        if not -n <= i < n:
            raise IndexError(f"index {i} is out of bounds for dimension 0 with size {n}")
    from ..dtypes import int64

    rows: dict[Any, Tensor] = {}
    for tensor in dataset.tensors:
        if tensor.device not in rows:
            rows[tensor.device] = creation.tensor(
                [i % n for i in indices], dtype=int64, device=tensor.device
            )
    return [tensor.index_select(0, rows[tensor.device]) for tensor in dataset.tensors]


def _default_sampler(dataset: Any, iterable: bool, shuffle: bool, generator: Any) -> Iterable[Any]:
    if iterable:
        return _Forever()
    return RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)


def _check_workers(workers: int, timeout: float, prefetch: int | None, persistent: bool) -> None:
    if workers < 0:
        raise ValueError(
            "num_workers option should be non-negative; use num_workers=0 to disable "
            "multiprocessing."
        )
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if workers == 0 and prefetch is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing.let num_workers > 0 "
            "to enable multiprocessing, otherwise set prefetch_factor to None."
        )
    if prefetch is not None and prefetch < 0:
        raise ValueError("prefetch_factor option should be non-negative")
    if persistent and workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")


def _check_iterable(shuffle: Any, sampler: Any, batch_sampler: Any) -> None:
    given = {"shuffle": shuffle or None, "sampler": sampler, "batch_sampler": batch_sampler}
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"DataLoader with IterableDataset: expected unspecified {name} option, but got "
                f"{name}={value}"
            )
