"""torch.utils.data is ``tabgrad.data``."""

from ..data import *  # noqa: F403
from ..data import __all__ as __all__
