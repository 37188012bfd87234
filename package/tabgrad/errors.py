"""Exceptions that PyTorch has no builtin for."""


class OutOfMemoryError(RuntimeError):
    """A device has no memory left, as ``torch.OutOfMemoryError``."""


class DeviceLostError(RuntimeError):
    """The GPU went away: it was reset, unplugged, or the browser gave it to somebody else."""


class Int64RangeError(OverflowError, RuntimeError):
    """An int64 value does not fit into the 32 bits in which the webgpu device keeps it."""
