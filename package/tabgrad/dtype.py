from .dtypes import *  # noqa: F403
from .dtypes import DType, bool_  # noqa: F401
