"""Exceptions that PyTorch has no builtin for, and those that kernels ask for by the status word."""

from __future__ import annotations


class OutOfMemoryError(RuntimeError):
    """A device has no memory left, as ``torch.OutOfMemoryError``."""


class DeviceLostError(RuntimeError):
    """The GPU went away: it was reset, unplugged, or the browser gave it to somebody else."""


class Int64RangeError(OverflowError, RuntimeError):
    """An int64 value does not fit into the 32 bits in which the webgpu device keeps it."""


# What an op says of an index outside, found on its device; the value is not known by then.
_OUTSIDE: dict[str, tuple[type[Exception], str]] = {
    "index": (IndexError, "index out of range in dimension {dim} with size {size}"),
    "gather": (RuntimeError, "index out of range in dimension {dim} with size {size}"),
    "rows": (IndexError, "index out of range in self"),
    "classes": (RuntimeError, "Class values must be non-negative and smaller than num_classes."),
}


def index_code(error: str, dim: int, size: int) -> int:
    """The status word for an index outside of a dimension."""
    kind = [*_OUTSIDE].index(error)
    return 2 + (min(dim, 15) | kind << 4 | min(size, (1 << 25) - 2) << 6)


def raise_status(code: int) -> None:
    """What the status word says went wrong on the device."""
    if code == 0:
        return
    if code == 1:
        raise OverflowError(
            "an int64 result does not fit into the 32 bits that the webgpu device keeps; "
            'compute it on the host: tensor.to("cpu")'
        )
    dim, kind, size = (code - 2) & 15, (code - 2) >> 4 & 3, (code - 2) >> 6
    error, words = [*_OUTSIDE.values()][kind]
    raise error(words.format(dim=dim, size=size))
