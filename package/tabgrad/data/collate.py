"""Samples become a batch: tensors are stacked, containers keep their form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import creation
from ..tensor import Tensor

_UNKNOWN = (
    "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}"
)


def _is_array(x: Any) -> bool:
    return type(x).__module__ == "numpy"


def _is_namedtuple(x: Any) -> bool:
    return isinstance(x, tuple) and hasattr(x, "_fields")


def default_convert(data: Any) -> Any:
    """numpy arrays as tensors, inside of containers too; anything else stays."""
    if isinstance(data, Tensor | str | bytes):
        return data
    if _is_array(data):
        return creation.as_tensor(data)
    if isinstance(data, Mapping):
        return {key: default_convert(value) for key, value in data.items()}
    if _is_namedtuple(data):
        return type(data)(*(default_convert(x) for x in data))
    if isinstance(data, Sequence):
        return [default_convert(x) for x in data]
    return data


def default_collate(batch: Any) -> Any:
    """A list of samples as one batch.

    Examples::

        >>> from tabgrad.data import default_collate
        >>> default_collate([(1, 2.0), (3, 4.0)])
        [tensor([1, 3]), tensor([2., 4.], dtype=torch.float64)]
        >>> default_collate([{"x": torch.ones(2)}, {"x": torch.zeros(2)}])
        {'x': tensor([[1., 1.],
                [0., 0.]])}
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return _stack(batch)
    if _is_array(first):
        return _collate_arrays(batch, first)
    if isinstance(first, float):
        from ..dtypes import float64

        return creation.tensor(batch, dtype=float64, device="cpu")
    if isinstance(first, int):
        return creation.tensor(batch)
    if isinstance(first, str | bytes):
        return batch
    if isinstance(first, Mapping):
        columns = {key: default_collate([sample[key] for sample in batch]) for key in first}
        try:
            return type(first)(columns)  # type: ignore[call-arg]
        except TypeError:
            return columns
    if _is_namedtuple(first):
        return type(first)(*(default_collate(column) for column in zip(*batch, strict=True)))
    if isinstance(first, Sequence):
        return _collate_sequences(batch, first)
    raise TypeError(_UNKNOWN.format(type(first)))


def _stack(batch: Sequence[Tensor]) -> Tensor:
    from ..functions.movement import stack

    return stack(list(batch))


def _collate_arrays(batch: Any, first: Any) -> Any:
    if first.dtype.kind not in "biuf":
        raise TypeError(_UNKNOWN.format(first.dtype))
    if first.shape == ():
        return creation.as_tensor([x.item() for x in batch], dtype=creation.as_tensor(first).dtype)
    return _stack([creation.as_tensor(x) for x in batch])


def _collate_sequences(batch: Any, first: Any) -> Any:
    if any(len(sample) != len(first) for sample in batch):
        raise RuntimeError("each element in list of batch should be of equal size")
    columns = [default_collate(column) for column in zip(*batch, strict=True)]
    if isinstance(first, tuple | list):
        return columns
    try:
        return type(first)(columns)
    except TypeError:
        return columns
