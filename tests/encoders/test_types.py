import pytest
import torch

from encoders import GaussianBelief, PooledBelief, choose
from tests.support.encoder_tester import KINDS, build_encoder, random_context


@pytest.mark.parametrize("kind", KINDS)
def test_choosing_takes_each_tasks_row_from_one_belief_or_the_other(kind: str) -> None:
    encoder = build_encoder(kind)
    first, second = encoder.encode(random_context(3, 4, seed=1)), encoder.encode(random_context(3, 4, seed=2))
    chosen = choose(torch.tensor([True, False, True]), first, second)
    assert type(chosen) is type(first)
    for row, source in enumerate((first, second, first)):
        assert all(torch.equal(values[row], given[row]) for values, given in zip(chosen, source, strict=True))


def test_choosing_between_beliefs_equals_the_rows_worked_out_by_hand() -> None:
    mask = torch.tensor([False, True])
    pooled = choose(
        mask, PooledBelief(torch.ones(2, 1), torch.ones(2)), PooledBelief(torch.zeros(2, 1), torch.zeros(2))
    )
    assert pooled.feature_sum.tolist() == [[0.0], [1.0]]
    assert pooled.n_seen.tolist() == [0.0, 1.0]
    ones, zeros = torch.ones(2, 1, 1), torch.zeros(2, 1, 1)
    one, zero = GaussianBelief(ones, ones[:, 0], ones[:, 0, 0]), GaussianBelief(zeros, zeros[:, 0], zeros[:, 0, 0])
    gaussian = choose(mask, one, zero)
    assert gaussian.precision.tolist() == [[[0.0]], [[1.0]]]
