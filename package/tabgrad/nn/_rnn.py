"""Recurrent layers and cells: the input's part at once, the state's part step by step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .. import creation
from ..tensor import Tensor
from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter

State = tuple[Tensor, ...]
Step = Callable[[Tensor, Tensor, State], State]


def _rnn_step(act: Callable[[Tensor], Tensor]) -> Step:
    return lambda x, h, state: (act(x + h),)


def _lstm_step(x: Tensor, h: Tensor, state: State) -> State:
    i, f, g, o = (x + h).chunk(4, -1)
    c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _gru_step(x: Tensor, h: Tensor, state: State) -> State:
    (xr, xz, xn), (hr, hz, hn) = x.chunk(3, -1), h.chunk(3, -1)
    z = (xz + hz).sigmoid()
    n = (xn + (xr + hr).sigmoid() * hn).tanh()
    return (n + z * (state[0] - n),)


_STEPS: dict[str, tuple[int, int, Step]] = {  # gates, tensors of state, step
    "RNN_TANH": (1, 1, _rnn_step(lambda x: x.tanh())),
    "RNN_RELU": (1, 1, _rnn_step(lambda x: x.relu())),
    "LSTM": (4, 2, _lstm_step),
    "GRU": (3, 1, _gru_step),
}


def _reset(module: Module, hidden_size: int) -> None:
    bound = 1.0 / math.sqrt(hidden_size) if hidden_size > 0 else 0
    for weight in module.parameters():
        init.uniform_(weight, -bound, bound)


class RNNBase(Module):
    """What RNN, LSTM and GRU share."""

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if proj_size:
            raise NotImplementedError("proj_size: put a Linear after the layer instead")
        if hidden_size <= 0:
            raise ValueError("hidden_size must be greater than zero")
        if num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an "
                "element being zeroed"
            )
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        rows, directions = _STEPS[mode][0] * hidden_size, 1 + bidirectional
        kw = {"device": device, "dtype": dtype}
        for layer in range(num_layers):
            width = input_size if layer == 0 else hidden_size * directions
            for suffix in ("", "_reverse")[:directions]:
                end = f"l{layer}{suffix}"
                setattr(self, f"weight_ih_{end}", Parameter(creation.empty((rows, width), **kw)))
                setattr(
                    self, f"weight_hh_{end}", Parameter(creation.empty((rows, hidden_size), **kw))
                )
                for name in ("bias_ih", "bias_hh") if bias else ():
                    setattr(self, f"{name}_{end}", Parameter(creation.empty(rows, **kw)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        _reset(self, self.hidden_size)

    def flatten_parameters(self) -> None:
        """Nothing to do: weights lie where they are."""

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        if input.ndim not in (2, 3):
            raise ValueError(
                f"{self.mode.split('_')[0]}: Expected input to be 2D or 3D, got {input.ndim}D "
                "instead"
            )
        if input.shape[-1] != self.input_size:
            raise RuntimeError(
                "input.size(-1) must be equal to input_size. Expected "
                f"{self.input_size}, got {input.shape[-1]}"
            )
        unbatched = input.ndim == 2
        time = 1 if self.batch_first and not unbatched else 0
        x = input.unsqueeze(1) if unbatched else input.transpose(0, time)  # (T, N, C)
        out, states = self._layers(x, self._start(x, hx, unbatched))
        if unbatched:
            out, states = out.squeeze(1), tuple(s.squeeze(1) for s in states)
        else:
            out = out.transpose(0, time)
        return out, states if len(states) > 1 else states[0]

    def _start(self, x: Tensor, hx: Any, unbatched: bool) -> State:
        """The states at the start, each (layers · directions, N, hidden)."""
        count = _STEPS[self.mode][1]
        if hx is None:
            rows = self.num_layers * (1 + self.bidirectional)
            return (x.new_zeros((rows, x.shape[1], self.hidden_size)),) * count
        states = hx if isinstance(hx, tuple | list) else (hx,)
        return tuple(s.unsqueeze(1) if unbatched else s for s in states)

    def _layers(self, x: Tensor, start: State) -> tuple[Tensor, State]:
        from ..functions.movement import cat, stack

        last: list[State] = []
        for layer in range(self.num_layers):
            outs = []
            for suffix in ("", "_reverse")[: 1 + self.bidirectional]:
                state = tuple(s[len(last)] for s in start)
                out, state = self._direction(x, state, f"l{layer}{suffix}", bool(suffix))
                outs.append(out)
                last.append(state)
            x = cat(outs, -1) if len(outs) > 1 else outs[0]
            if layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        return x, tuple(stack(list(column)) for column in zip(*last, strict=True))

    def _direction(
        self, x: Tensor, state: State, end: str, backwards: bool
    ) -> tuple[Tensor, State]:
        from ..functions.movement import stack

        weight_ih, weight_hh = (getattr(self, f"weight_{name}_{end}") for name in ("ih", "hh"))
        biases = [getattr(self, f"bias_{n}_{end}") if self.bias else None for n in ("ih", "hh")]
        step = _STEPS[self.mode][2]
        parts = list(F.linear(x, weight_ih, biases[0]).unbind(0))
        outs = []
        for part in reversed(parts) if backwards else parts:
            state = step(part, F.linear(state[0], weight_hh, biases[1]), state)
            outs.append(state[0])
        return stack(outs[::-1] if backwards else outs), state

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        for name, default in (
            ("num_layers", 1), ("bias", True), ("batch_first", False), ("dropout", 0),
            ("bidirectional", False),
        ):  # fmt: skip
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text


class RNN(RNNBase):
    """h ← tanh(W_ih · x + b_ih + W_hh · h + b_hh)

    Args:
        input_size: size of x.
        hidden_size: size of h.
        num_layers: layers, each on the outputs of the one before.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        bias: whether there are biases.
        batch_first: (N, T, C) rather than (T, N, C).
        dropout: probability of dropping outputs between layers.
        bidirectional: a second pass from the end.

    Examples::

        >>> out, h = nn.RNN(3, 4)(torch.randn(5, 2, 3))
        >>> out.shape, h.shape
        (torch.Size([5, 2, 4]), torch.Size([1, 2, 4]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        *args: Any,
        **kwargs: Any,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        mode = f"RNN_{nonlinearity.upper()}"
        super().__init__(mode, input_size, hidden_size, num_layers, *args, **kwargs)
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory: c ← f · c + i · g and h ← o · tanh(c), with gates i, f, g, o.

    Args:
        input_size: size of x.
        hidden_size: size of h and c.
        num_layers: layers, each on the outputs of the one before.
        bias: whether there are biases.
        batch_first: (N, T, C) rather than (T, N, C).
        dropout: probability of dropping outputs between layers.
        bidirectional: a second pass from the end.

    Examples::

        >>> out, (h, c) = nn.LSTM(3, 4, batch_first=True)(torch.randn(2, 5, 3))
        >>> out.shape, h.shape
        (torch.Size([2, 5, 4]), torch.Size([1, 2, 4]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)


class GRU(RNNBase):
    """Gated recurrent unit: h ← (1 − z) · n + z · h, with gates r, z, n.

    Args:
        input_size: size of x.
        hidden_size: size of h.
        num_layers: layers, each on the outputs of the one before.
        bias: whether there are biases.
        batch_first: (N, T, C) rather than (T, N, C).
        dropout: probability of dropping outputs between layers.
        bidirectional: a second pass from the end.

    Examples::

        >>> out, h = nn.GRU(3, 4)(torch.randn(5, 2, 3))
        >>> out.shape
        torch.Size([5, 2, 4])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("GRU", *args, **kwargs)


class RNNCellBase(Module):
    """One step of a recurrent layer."""

    mode: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        kw = {"device": device, "dtype": dtype}
        rows = _STEPS[self.mode][0] * hidden_size
        self.weight_ih = Parameter(creation.empty((rows, input_size), **kw))
        self.weight_hh = Parameter(creation.empty((rows, hidden_size), **kw))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(creation.empty(rows, **kw)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        _reset(self, self.hidden_size)

    def _step(self, x: Tensor, hx: Any) -> State:
        _, count, step = _STEPS[self.mode]
        if hx is None:
            state: State = (x.new_zeros((*x.shape[:-1], self.hidden_size)),) * count
        else:
            state = tuple(hx) if isinstance(hx, tuple | list) else (hx,)
        own = F.linear(x, self.weight_ih, self.bias_ih)
        return step(own, F.linear(state[0], self.weight_hh, self.bias_hh), state)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Any:
        return self._step(input, hx)[0]

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        return text if self.bias else text + ", bias=False"


class RNNCell(RNNCellBase):
    """One step of :class:`RNN`.

    Examples::

        >>> nn.RNNCell(3, 4)(torch.randn(2, 3)).shape
        torch.Size([2, 4])
    """

    mode = "RNN_TANH"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        mode = f"RNN_{nonlinearity.upper()}"
        if mode not in _STEPS:
            raise RuntimeError(f"Unknown nonlinearity: {nonlinearity}")
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.mode = mode
        self.nonlinearity = nonlinearity

    def extra_repr(self) -> str:
        text = super().extra_repr()
        return text if self.nonlinearity == "tanh" else f"{text}, nonlinearity={self.nonlinearity}"


class LSTMCell(RNNCellBase):
    """One step of :class:`LSTM`; gives (h, c).

    Examples::

        >>> h, c = nn.LSTMCell(3, 4)(torch.randn(2, 3))
        >>> c.shape
        torch.Size([2, 4])
    """

    mode = "LSTM"

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        return self._step(input, hx)


class GRUCell(RNNCellBase):
    """One step of :class:`GRU`.

    Examples::

        >>> nn.GRUCell(3, 4)(torch.randn(2, 3)).shape
        torch.Size([2, 4])
    """

    mode = "GRU"
