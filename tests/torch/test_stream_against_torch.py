"""Random numbers, bit for bit PyTorch's, after the same calls in the same order."""

from __future__ import annotations

import random
from typing import Any

import pytest
from oracle import compared, tabgrad, torch


def shape(r: random.Random) -> str:
    return str(
        r.choice([(), (1,), (3,), (15,), (16,), (17,), (2, 3), (4, 8), (100,), (0,), (999,)])
    )


WIDE = ["int64", "int32", "float32", "uint8", "int8"]
CALLS = {
    "rand": lambda r: f"lib.rand({shape(r)})",
    "rand half": lambda r: f"lib.rand({shape(r)}, dtype=lib.{r.choice(['float16', 'bfloat16'])})",
    "rand double": lambda r: f"lib.rand({shape(r)}, dtype=lib.float64)",
    "randn": lambda r: f"lib.randn({shape(r)})",
    "randn double": lambda r: f"lib.randn({shape(r)}, dtype=lib.float64)",
    "randn half": lambda r: f"lib.randn({shape(r)}, dtype=lib.{r.choice(['float16', 'bfloat16'])})",
    "randint": lambda r: f"lib.randint({r.randint(-9, 0)}, {10 ** r.randint(1, 12)}, {shape(r)})",
    "randint dtype": lambda r: f"lib.randint(0, {r.randint(1, 100)}, {shape(r)}, "
                               f"dtype=lib.{r.choice(['int32', 'uint8', 'int16', 'float32'])})",
    "randperm": lambda r: f"lib.randperm({r.choice([0, 1, 2, 5, 30, 1000])})",
    "bernoulli p": lambda r: f"lib.zeros({shape(r)}).bernoulli_({r.random()})",
    "bernoulli": lambda r: f"lib.bernoulli(lib.full({shape(r)}, {r.random()}))",
    "uniform_": lambda r: f"lib.zeros({shape(r)}).uniform_({-r.random()}, {r.random()})",
    "normal_": lambda r: f"lib.zeros({shape(r)}).normal_({r.random()}, {r.random()})",
    "random_": lambda r: f"lib.zeros({shape(r)}).random_({r.randint(1, 1000)})",
    "random_ all": lambda r: f"lib.zeros({shape(r)}, dtype=lib.{r.choice(WIDE)}).random_()",
    "exponential_": lambda r: f"lib.zeros({shape(r)}).exponential_({r.random() + 0.1})",
    "log_normal_": lambda r: f"lib.zeros({shape(r)}).log_normal_()",
    "normal": lambda r: "lib.normal(lib.arange(5.0), lib.ones(5))",
    "normal size": lambda r: f"lib.normal(1.5, 2.0, {shape(r)})" ,
    "rand_like": lambda r: f"lib.rand_like(lib.zeros({shape(r)}))",
    "randn_like": lambda r: f"lib.randn_like(lib.zeros({shape(r)}))",
    "dropout": lambda r: f"lib.nn.functional.dropout(lib.ones({shape(r)}), {r.random()})",
    "rand_like transposed": lambda r: "lib.rand_like(lib.zeros(2, 5, 7).transpose(0, 2))",
    "randn_like transposed": lambda r: "lib.randn_like(lib.zeros(5, 7).T)",
    "randn_like strided": lambda r: "lib.randn_like(lib.zeros(6, 8)[:, ::2])",
    "randint_like": lambda r: "lib.randint_like(lib.zeros(3, 7).T, 3, 90)",
    "rand_like expanded": lambda r: "lib.rand_like(lib.zeros(3, 1, 4).expand(3, 5, 4).mT)",
    "bernoulli transposed": lambda r: "lib.bernoulli(lib.full((3, 7), 0.4).T)",
    "bernoulli double": lambda r: f"lib.bernoulli(lib.full({shape(r)}, 0.4, dtype=lib.float64))",
    "bernoulli_ tensor": lambda r: "lib.zeros(3, 7).T.bernoulli_(lib.full((7, 3), 0.4))",
    "dropout transposed": lambda r: "lib.nn.functional.dropout(lib.ones(3, 7).T, 0.3)",
    "multinomial": lambda r: "lib.multinomial(lib.tensor([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]]), 2)",
    "multinomial again": lambda r: "lib.multinomial(lib.tensor([0.1, 0.9]), 9, replacement=True)",
    "linear": lambda r: "lib.nn.Linear(5, 3).weight.detach()",
    "kaiming": lambda r: "lib.nn.init.kaiming_normal_(lib.zeros(4, 6))",
    "transposed normal": lambda r: "lib.zeros(5, 7).T.normal_()",
    "strided uniform": lambda r: "lib.zeros(6, 8)[:, ::2].uniform_()",
}  # fmt: skip


def exact(call: str) -> bool:
    """Uniform numbers and integers are equal to the bit; those with a logarithm nearly."""
    return not any(w in call for w in ("randn", "normal", "exponential", "multinomial"))


@pytest.mark.parametrize("kind", CALLS)
def test_first_call(kind: str, seed: int) -> None:
    r = random.Random(f"{seed}{kind}")
    failures = []
    for _ in range(12):
        call, start = CALLS[kind](r), r.randrange(1 << 40)

        def program(lib: Any, call: str = call, start: int = start) -> Any:
            lib.manual_seed(start)
            x = eval(call, {"lib": lib})
            return x, lib.rand(2)  # the stream stands where PyTorch's stands

        told = compared(program, None if exact(call) else 1e-5, strides=False)
        if told:
            failures.append(f"manual_seed({start}); {call}: {told}")
    assert not failures, "\n".join(failures)


def test_sequences(seed: int, rounds: int) -> None:
    r = random.Random(seed)
    failures = []
    for _ in range(rounds // 5):
        calls = [CALLS[r.choice([*CALLS])](r) for _ in range(r.randint(2, 8))]

        def program(lib: Any, calls: list[str] = calls) -> Any:
            lib.manual_seed(5)
            return [eval(call, {"lib": lib}) for call in calls]

        told = compared(program, 1e-5, strides=False)
        if told:
            failures.append(f"{calls}: {told}")
    assert not failures, "\n".join(failures)


def test_state_is_pytorchs() -> None:
    """A generator's state moves from PyTorch to us and back."""
    torch.manual_seed(11)
    torch.randn(7)
    torch.rand(630)
    state = torch.get_rng_state()
    tabgrad.set_rng_state(tabgrad.tensor(state.tolist(), dtype=tabgrad.uint8))
    assert tabgrad.get_rng_state().tolist() == state.tolist()
    before = torch.manual_seed(7).get_state().tolist()
    assert tabgrad.Generator().manual_seed(7).get_state().tolist() == before
    torch.set_rng_state(state)
    assert tabgrad.randn(3).tolist() == pytest.approx(torch.randn(3).tolist(), rel=1e-6)
    assert tabgrad.rand(5).tolist() == torch.rand(5).tolist()
    back = torch.tensor(tabgrad.get_rng_state().tolist(), dtype=torch.uint8)
    torch.set_rng_state(back)
    assert tabgrad.rand(5).tolist() == torch.rand(5).tolist()


def test_generators() -> None:
    def program(lib: Any) -> Any:
        g = lib.Generator()
        g.manual_seed(99)
        a = lib.rand(3, generator=g)
        h = lib.Generator()
        h.set_state(g.get_state())
        return a, lib.rand(3, generator=g), lib.randperm(6, generator=h), g.initial_seed()

    assert not compared(program)
