"""The floor of a meta-gradient step: the time of its matrix products, which every implementation needs."""

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from agents import PEARLAgentConfig

LAYOUTS = ((False, False, False), (False, True, False), (True, False, False), (True, False, True), (True, True, True))
"""Layouts to try: whether left operand, right operand and result are transposed in memory"""
TRIALS = 4


class Product(NamedTuple):
    """One matrix product, (rows, inner) times (inner, columns)."""

    rows: int
    inner: int
    columns: int
    dtype: torch.dtype


class StepSizes(NamedTuple):
    """Sizes of a step's matrix products."""

    observation_dim: int
    action_dim: int
    latent_dim: int
    context_rows: int
    """Transitions of context, over all tasks"""
    rows: int
    """Transitions for actor and critics, over all tasks"""
    encoder_widths: Sequence[int]
    """Widths of the encoder network's layers, from input to output"""


def step_products(sizes: StepSizes, config: PEARLAgentConfig) -> list[Product]:
    """Return the necessary products of one PEARL step, forward and backward.

    Products that only plain implementations compute are left out: gradients of data, and of the critics' weights in the
    actor's loss. So are outer products, from the gradient of a critic's single output. With bfloat16, outputs and the
    encoder stay in float32, as in the agent.
    """
    hidden = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
    state, latent, action, rows = sizes.observation_dim, sizes.latent_dim, sizes.action_dim, sizes.rows
    actor = [state + latent, *config.hidden_sizes, 2 * action]
    critic = [state + action + latent, *config.hidden_sizes, 1]
    encoding = _network(sizes.encoder_widths, sizes.context_rows, torch.float32, weights=True)
    acting = _network(actor, rows, hidden, weights=True) + _network(actor, rows, hidden, weights=False)
    one_critic = [
        *_network(critic, rows, hidden, weights=False),  # targets
        *_network(critic, rows, hidden, weights=True, read=latent),  # the Bellman error, with the gradient of z
        *_network(
            critic, rows, hidden, weights=False, read=action
        ),  # the actor's loss, with the gradient of its actions
    ]
    return encoding + acting + config.n_critics * one_critic


def floor(products: Sequence[Product]) -> Callable[[], None]:
    """Return a function that computes the products into allocated memory.

    Each product has the layout that was fastest in a test on this machine: float32 products of 300 columns, for
    example, can take 50 % longer in row order. Products of one shape share their operands.
    """
    fastest = {product: _fastest(product) for product in dict.fromkeys(products)}
    operands = [fastest[product] for product in products]

    def compute() -> None:
        for left, right, out in operands:
            torch.mm(left, right, out=out)

    return compute


def _fastest(product: Product) -> tuple[Tensor, Tensor, Tensor]:
    """Return operands and result in the product's fastest layout."""
    rows, inner, columns, dtype = product
    rng = torch.Generator().manual_seed(0)

    def matrix(height: int, width: int, transposed: bool) -> Tensor:
        shape = (width, height) if transposed else (height, width)
        drawn = torch.randn(shape, generator=rng).to(dtype)
        return drawn.t() if transposed else drawn

    tried = []
    for left_transposed, right_transposed, out_transposed in LAYOUTS:
        left = matrix(rows, inner, left_transposed)
        right = matrix(inner, columns, right_transposed)
        out = matrix(rows, columns, out_transposed)
        seconds = []
        for _ in range(TRIALS):
            begun = time.perf_counter()
            torch.mm(left, right, out=out)
            seconds.append(time.perf_counter() - begun)
        tried.append((min(seconds), (left, right, out)))
    return min(tried, key=lambda entry: entry[0])[1]


def _network(
    widths: Sequence[int], rows: int, hidden: torch.dtype, *, weights: bool, read: int | None = None
) -> list[Product]:
    """Return a network's products.

    Args:
        widths: widths of the layers, from input to output.
        rows: rows of the input.
        hidden: dtype of all layers except the last.
        weights: whether the gradients of the weights are computed.
        read: number of input columns with a gradient; None for none.
    """
    layers = list(pairwise(widths))
    found = []
    for number, (inner, columns) in enumerate(layers):
        dtype = torch.float32 if number == len(layers) - 1 else hidden
        found.append(Product(rows, inner, columns, dtype))
        if weights:
            found.append(Product(inner, rows, columns, dtype))
        reached = inner if number > 0 else read
        if (weights or read is not None) and reached is not None and columns > 1:
            found.append(Product(rows, columns, reached, dtype))
    return found
