"""Sequences of different lengths in one tensor."""

from __future__ import annotations

from collections.abc import Sequence

from ...tensor import Tensor


def pad_sequence(
    sequences: Tensor | Sequence[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Sequences (Lᵢ, …) as one tensor (L, B, …), or (B, L, …) if ``batch_first``.

    Examples::

        >>> a, b = torch.ones(2), torch.full((3,), 2.0)
        >>> nn.utils.rnn.pad_sequence([a, b], batch_first=True)
        tensor([[1., 1., 0.],
                [2., 2., 2.]])
    """
    from ...functions.movement import stack

    sequences = list(sequences)
    longest = max(len(s) for s in sequences)
    padded = []
    for s in sequences:
        row = s.new_full((longest, *s.shape[1:]), padding_value)
        start = 0 if padding_side == "right" else longest - len(s)
        row[start : start + len(s)] = s
        padded.append(row)
    return stack(padded, 0 if batch_first else 1)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False
) -> list[Tensor]:
    """The sequences again, each cut to its length."""
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    lengths = lengths.tolist() if isinstance(lengths, Tensor) else lengths
    return [row[:n] for row, n in zip(padded_sequences, lengths, strict=True)]
