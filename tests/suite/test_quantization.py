"""Weights of 16, 8 and 4 bits: products that decode them agree with products of decoded weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tabgrad as torch
from tabgrad import nn
from tabgrad.quantization import (
    Int4WeightOnlyConfig,
    Int8WeightOnlyConfig,
    QuantizedLinear,
    int4_weight_only,
    int8_weight_only,
    quantize_,
)

CONFIGS = [int8_weight_only(), int8_weight_only(group_size=32), int4_weight_only(group_size=32),
           int4_weight_only(group_size=64), int4_weight_only()]  # fmt: skip
SHAPES = [(), (1,), (3,), (64,), (70,), (0,), (2, 0), (2, 3), (2, 1, 5)]


def array(x: Any) -> Any:
    return np.array(x.detach().tolist(), dtype="float64").reshape(*x.shape)


def layer(k: int, n: int, config: Any, bias: bool = True) -> Any:
    torch.manual_seed(k * n)
    out = nn.Linear(k, n, bias=bias)
    quantize_(out, config)
    return out


def agrees(got: Any, want: Any, tol: float = 1e-5) -> None:
    got = array(got)
    assert got.shape == want.shape
    if want.size:
        assert np.abs(got - want).max() <= tol * np.abs(want).max()


def by_hand(made: Any, x: Any) -> Any:
    y = array(x) @ array(made.dequantize()).T
    return y if made.bias is None else y + array(made.bias)


@pytest.mark.parametrize("config", CONFIGS, ids=repr)
@pytest.mark.parametrize("n", [1, 6, 37])
def test_a_product_is_that_of_the_decoded_weight(config: Any, n: int) -> None:
    made = layer(256, n, config)
    for shape in SHAPES:
        x = torch.randn(*shape, 256)
        agrees(made(x), by_hand(made, x))


@pytest.mark.parametrize("k", [1, 5, 31, 33, 70, 257])
def test_inputs_that_are_no_multiple_of_32(k: int) -> None:
    made = layer(k, 7, int8_weight_only())
    for shape in SHAPES:
        x = torch.randn(*shape, k)
        agrees(made(x), by_hand(made, x))


@pytest.mark.parametrize("config", CONFIGS, ids=repr)
def test_weights_are_off_by_half_a_step_at_most(config: Any) -> None:
    torch.manual_seed(3)
    plain = nn.Linear(256, 9)
    weight = array(plain.weight)
    quantize_(plain, config)
    group = config.group_size or 256
    largest = np.abs(weight.reshape(9, -1, group)).max(-1).repeat(group, 1)
    steps = {8: 254, 4: 14}[config.bits]
    error = np.abs(array(plain.dequantize()) - weight)
    assert (error <= largest / steps * 1.00001).all()
    assert error.max() > 0


def test_what_needs_no_rounding_is_exact() -> None:
    for config, most in ((int8_weight_only(), 127), (int4_weight_only(32), 7)):
        whole = torch.arange(64 * 4).reshape(4, 64) % (2 * most + 1) - most
        whole[:, ::32] = most
        plain = nn.Linear(64, 4, bias=False)
        plain.load_state_dict({"weight": whole.float() * 0.5})
        quantize_(plain, config)
        assert plain.dequantize().tolist() == (whole.float() * 0.5).tolist()
        assert plain(torch.eye(64)[5]).tolist() == (whole[:, 5].float() * 0.5).tolist()


def test_rows_of_zeros_stay_zeros() -> None:
    plain = nn.Linear(32, 2, bias=False)
    plain.load_state_dict({"weight": torch.zeros(2, 32)})
    quantize_(plain, int4_weight_only(32))
    assert plain(torch.ones(32)).tolist() == [0, 0]


def test_inputs_that_are_not_contiguous() -> None:
    made = layer(64, 5, int4_weight_only(32))
    for x in (torch.randn(64, 3).t(), torch.randn(8, 128)[1::2, ::2], torch.randn(64).expand(4, 64),
              torch.randn(2, 64, 3).transpose(1, 2), torch.randn(3, 64).flip(1)):  # fmt: skip
        agrees(made(x), by_hand(made, x))


@pytest.mark.parametrize("config", [int8_weight_only(), int4_weight_only(32)], ids=repr)
@pytest.mark.parametrize("rows", [2, 70])
def test_infinite_inputs_stay_in_their_row(config: Any, rows: int) -> None:
    made = layer(96, 33, config, bias=False)
    x = torch.randn(rows, 96)
    x[0, 95], x[1, 0] = math.inf, math.nan
    y = array(made(x))
    assert not np.isfinite(y[0]).any() and np.isnan(y[1]).all()
    decoded = array(made.dequantize())
    known = decoded[:, 95] != 0  # zero times infinity is no number
    np.testing.assert_array_equal(y[0][known], np.copysign(math.inf, decoded[known, 95]))
    assert np.isfinite(y[2:]).all()


def test_padding_reads_no_neighbour() -> None:
    made = layer(33, 4, int8_weight_only())
    x = torch.randn(2, 33)
    x[1] = math.inf
    assert np.isfinite(array(made(x)[0])).all()


@pytest.mark.parametrize("rows", [3, 70])
def test_gradients_reach_inputs_and_biases(rows: int) -> None:
    made = layer(70, 9, int8_weight_only())
    x, g = torch.randn(rows, 70, requires_grad=True), torch.randn(rows, 9)
    (made(x) * g).sum().backward()
    agrees(x.grad, array(g) @ array(made.dequantize()))
    agrees(made.bias.grad, array(g).sum(0))
    assert [n for n, _ in made.named_parameters()] == ["bias"]
    assert made.weight.grad is None and not made.weight.requires_grad
    with pytest.raises(RuntimeError, match="floating"):
        made.weight.requires_grad_()


def test_the_gradient_is_differentiable() -> None:
    made = layer(32, 3, int8_weight_only())
    x = torch.randn(2, 32, requires_grad=True)
    (g,) = torch.autograd.grad((made(x) ** 2).sum(), x, create_graph=True)
    (h,) = torch.autograd.grad(g.sum(), x)
    w = array(made.dequantize())
    agrees(h, np.ones((2, 32)) @ (2 * w.T @ w), 1e-4)


def test_a_state_dict_is_saved_and_loaded(tmp_path: Any) -> None:
    def model(seed: int) -> Any:
        torch.manual_seed(seed)
        made = nn.Sequential(nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 10, bias=False))
        quantize_(made, int8_weight_only())
        return made

    first, second = model(0), model(1)
    torch.io.save_file(first.state_dict(), str(tmp_path / "m.safetensors"))
    found = torch.io.load_file(str(tmp_path / "m.safetensors"))
    assert sorted(found) == ["0.bias", "0.scale", "0.weight", "2.scale", "2.weight"]
    assert found["0.weight"].dtype is torch.int32 and found["0.weight"].shape == (40, 16)
    second.load_state_dict(found)
    x = torch.randn(2, 64)
    assert second(x).tolist() == first(x).tolist()
    with pytest.raises(RuntimeError, match="size mismatch"):
        second.load_state_dict(nn.Sequential(nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 10,
                               bias=False)).state_dict(), strict=False)  # fmt: skip


def test_layers_are_chosen() -> None:
    attention = nn.MultiheadAttention(32, 2)
    model = nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 32), nn.Conv2d(1, 1, 1), attention)
    shared = model[0]
    quantize_(model, Int8WeightOnlyConfig(), lambda m, name: name == "0")
    assert model[0] is shared and isinstance(shared, QuantizedLinear)
    assert type(model[1]) is nn.Linear
    quantize_(model, Int4WeightOnlyConfig(32))  # what is quantized already stays
    assert (model[0].bits, model[1].bits) == (8, 4)
    q = torch.randn(3, 1, 32)
    assert attention(q, q, q)[0].shape == (3, 1, 32)
    assert repr(model[1]) == (
        "QuantizedLinear(in_features=32, out_features=32, bias=True, bits=4, group_size=32)"
    )


def test_mistakes_are_named() -> None:
    model = nn.Sequential(nn.Linear(64, 8), nn.Linear(70, 8))
    with pytest.raises(ValueError, match="1 has 70 and group_size is 32"):
        quantize_(model, int4_weight_only(group_size=32))
    assert type(model[0]) is nn.Linear  # nothing was done
    for size in (0, -32, 16, 48, 128):
        with pytest.raises(ValueError, match="multiple of 32 that divides"):
            quantize_(model[0], int8_weight_only(group_size=size))
    with pytest.raises(TypeError, match=r"model is Sequential, not nn\.Linear"):
        quantize_(model, int8_weight_only(), lambda m, name: True)
    quantize_(model[0], int8_weight_only())
    with pytest.raises(RuntimeError, match=r"shape \(..., 64\), but got torch.float32 \[2, 63\]"):
        model[0](torch.ones(2, 63))
    with pytest.raises(RuntimeError, match="expected floats"):
        model[0](torch.ones(2, 64, dtype=torch.int32))


def test_models_in_half_precision() -> None:
    made = layer(64, 5, int4_weight_only(32))
    want = by_hand(made, x := torch.randn(3, 64))
    y = made.half()(x.half())
    assert y.dtype is torch.float16
    agrees(y, want, 4e-3)


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_empty_layers_stay_as_they_are() -> None:
    for k, n in ((0, 3), (3, 0)):
        empty = nn.Linear(k, n)
        quantize_(empty, int8_weight_only())
        assert type(empty) is nn.Linear and empty(torch.ones(2, k)).shape == (2, n)


def test_compiled() -> None:
    made = layer(64, 5, int4_weight_only(32))
    run = torch.compile(lambda x: made(x).relu())
    for _ in range(4):
        x = torch.randn(2, 64)
        agrees(run(x), by_hand(made, x).clip(0))


# --- 16 bits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=repr)
@pytest.mark.parametrize("k, n", [(32, 1), (64, 37), (96, 2), (70, 5), (1, 1)])
def test_weights_of_16_bits(dtype: Any, k: int, n: int) -> None:
    torch.manual_seed(k)
    small = torch.tensor([1.0, 1e-6] * k)[:k]  # subnormal in float16
    w = (torch.randn(n, k) * small).to(dtype)
    wide = array(w)
    for m in (1, 3, 64, 65):
        x = torch.randn(m, k)
        agrees(x @ w.float().t(), array(x) @ wide.T)
        agrees(x[0] @ w.float().t(), array(x[0]) @ wide.T)
        h = x.to(dtype)
        got = h @ w.t()
        assert got.dtype is dtype
        agrees(got, array(h) @ wide.T, 1e-2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=repr)
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_weights_of_16_bits_that_are_no_numbers(dtype: Any, value: float) -> None:
    w = torch.ones(5, 64).to(dtype)
    w[2, 63] = value
    w.tolist()
    want = np.full((3, 5), 64.0)
    want[:, 2] = value
    for x in (torch.ones(3, 64), torch.ones(3, 64, dtype=dtype)):
        np.testing.assert_array_equal(array(x.float() @ w.float().t()), want)
        np.testing.assert_array_equal(array(x @ w.to(x.dtype).t()), want)


def test_a_narrow_weight_keeps_its_rounding() -> None:
    w = torch.tensor([1.001] * 32).reshape(1, 32).half()
    w.tolist()
    x = torch.ones(1, 32)
    assert (x.bfloat16() @ w.bfloat16().t()).tolist() == [[32.0]]
    assert (x @ w.bfloat16().float().t()).tolist() == [[32.0]]


def test_windows_of_weights_of_16_bits() -> None:
    w = torch.randn(40, 64).half()
    w.tolist()
    x = torch.randn(2, 32)
    for part in (w[8:16, :32], w[:, 32:], w[::2, :32], w[:32].t()[:32]):
        agrees(x @ part.float().t(), array(x) @ array(part).T)
