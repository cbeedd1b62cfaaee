"""The perceptron: padding to whole cache lines changes nothing but the time it takes."""

import pytest
import torch
from torch.nn import functional

from encoders import mlp
from encoders.mlp import CACHE_LINE, MANY_ROWS, line_padding


@pytest.mark.parametrize("activation", [torch.nn.ReLU, torch.nn.SiLU])
@pytest.mark.parametrize("hidden_sizes", [(30,), (30, 20), (32, 20), (20, 32)])
def test_values_and_gradients_are_those_without_padding(hidden_sizes, activation):
    network = mlp(7, hidden_sizes, 3, activation)
    rows = torch.randn(MANY_ROWS, 7, requires_grad=True)
    network(rows).square().sum().backward()
    found = [rows.grad.clone(), *(parameter.grad.clone() for parameter in network.parameters())]
    for tensor in (rows, *network.parameters()):
        tensor.grad = None

    hidden = rows
    for layer in network:
        linear = isinstance(layer, torch.nn.Linear)
        hidden = functional.linear(hidden, layer.weight, layer.bias) if linear else layer(hidden)
    hidden.square().sum().backward()
    for padded, plain in zip(found, [rows, *network.parameters()], strict=True):
        torch.testing.assert_close(padded, plain.grad, rtol=1e-4, atol=1e-4)


def test_hidden_layers_of_many_rows_fill_whole_cache_lines():
    network = mlp(7, (30, 40), 3)
    assert network[:2](torch.randn(MANY_ROWS, 7)).shape == (MANY_ROWS, 32)
    assert network[:4](torch.randn(4, MANY_ROWS // 4, 7)).shape == (4, MANY_ROWS // 4, 48)
    assert network(torch.randn(MANY_ROWS, 7)).shape == (MANY_ROWS, 3)


def test_few_rows_and_lower_precision_are_not_padded():
    assert line_padding(torch.zeros(MANY_ROWS - 1, 7), 30) == 0
    assert line_padding(torch.zeros(MANY_ROWS, 7), 2 * CACHE_LINE) == 0
    with torch.autocast("cpu", torch.bfloat16):
        assert line_padding(torch.zeros(MANY_ROWS, 7), 30) == 0
    assert line_padding(torch.zeros(MANY_ROWS, 7), 30) == 2
