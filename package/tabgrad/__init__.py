"""tabgrad: PyTorch in a browser tab.

``import tabgrad as torch`` reads like PyTorch. Nothing is opened, loaded or started by importing;
the first tensor chooses a device.
"""

from __future__ import annotations

from math import e, inf, nan, pi
from typing import Any

from . import autograd as autograd
from . import creation, methods, runtime
from . import random as random
from .autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from .creation import *
from .debug import set_debug
from .dtypes import (
    DType as dtype,
)
from .dtypes import (
    bfloat16,
    float16,
    float32,
    float64,
    get_default_dtype,
    int8,
    int16,
    int32,
    int64,
    set_default_dtype,
    uint8,
)
from .dtypes import bool_ as bool
from .namespace import *
from .printing import set_printoptions
from .promotion import can_cast, result_type
from .promotion import promote as promote_types
from .random import *
from .runtime import (
    device,
    get_default_device,
    get_num_threads,
    init,
    max_memory_allocated,
    memory_allocated,
    reset_peak_memory_stats,
    set_default_device,
    set_num_threads,
)
from .tensor import Size, Tensor

__version__ = "0.1.0"

half, float, double = float16, float32, float64
short, int, long = int16, int32, int64
strided, contiguous_format, preserve_format, channels_last = (
    "torch.strided", "torch.contiguous_format", "torch.preserve_format", "torch.channels_last",
)  # fmt: skip

_LAZY = ("nn", "optim", "utils", "data", "io", "profiler", "testing", "linalg", "special", "amp",
         "compiler", "quantization")  # fmt: skip


def __getattr__(name: str) -> Any:
    """Submodules, and what is seldom used, are imported when they are first named."""
    if name in _LAZY:
        import importlib

        return importlib.import_module(f".{name}", __name__)
    if name == "tune":
        from .tuner import tune

        return tune
    if name == "_dynamo":  # for its reset
        from . import compiler

        return compiler
    raise AttributeError(f"module 'tabgrad' has no attribute '{name}'")
