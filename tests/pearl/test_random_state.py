import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pearl.random_state import numpy_generator_from_json, random_state_to_json, restore_random_state

BIT_GENERATORS = [np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.SFC64, np.random.MT19937]


def through_json(generator):
    return json.loads(json.dumps(random_state_to_json(generator), allow_nan=False))


def numpy_draws(rng):
    draws = [rng.random(3).tolist(), rng.integers(0, 9, 3, dtype=np.int32).tolist(), rng.standard_normal(3).tolist()]
    return draws + [child.random() for child in rng.spawn(2)]


def torch_draws(generator):
    return [torch.randn(3, generator=generator).tolist(), torch.randint(9, (3,), generator=generator).tolist()]


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**200), kind=st.sampled_from(BIT_GENERATORS), draws=st.integers(0, 5), spawns=st.integers(0, 3)
)
def test_a_numpy_generator_made_from_json_draws_and_spawns_as_the_saved_one(seed, kind, draws, spawns):
    rng = np.random.Generator(kind(seed))
    rng.integers(0, 9, draws, dtype=np.int32)
    rng.spawn(spawns)
    state = through_json(rng)
    assert numpy_draws(numpy_generator_from_json(state)) == numpy_draws(rng)


@pytest.mark.parametrize("kind", BIT_GENERATORS)
def test_a_numpy_generator_of_the_same_seed_is_restored_in_place(kind):
    rng, fresh = np.random.Generator(kind(5)), np.random.Generator(kind(5))
    rng.spawn(2)
    rng.integers(0, 9, 3, dtype=np.int32)
    fresh.spawn(1)
    restore_random_state(fresh, through_json(rng))
    assert numpy_draws(fresh) == numpy_draws(rng)


def test_a_spawned_generator_spawns_on_as_the_saved_one():
    (child,) = np.random.default_rng([1, 2]).spawn(1)
    child.spawn(1)
    assert numpy_draws(numpy_generator_from_json(through_json(child))) == numpy_draws(child)


def test_generators_seeded_with_numpy_integers_are_described_as_json():
    rng = np.random.default_rng(np.int64(3))
    assert numpy_draws(numpy_generator_from_json(through_json(rng))) == numpy_draws(rng)


def test_restoring_in_place_into_another_seed_is_an_error_that_leaves_it_unchanged():
    saved, other = np.random.default_rng(0), np.random.default_rng(1)
    with pytest.raises(ValueError, match="Use numpy_generator_from_json"):
        restore_random_state(other, through_json(saved))
    assert other.random() == np.random.default_rng(1).random()


def test_restoring_in_place_cannot_take_back_a_spawn():
    saved, later = np.random.default_rng(0), np.random.default_rng(0)
    later.spawn(1)
    with pytest.raises(ValueError, match="earlier moment than this one's last spawn"):
        restore_random_state(later, through_json(saved))


def test_a_state_of_another_bit_generator_is_refused():
    with pytest.raises(ValueError, match="state is one of Philox; this generator is a PCG64"):
        restore_random_state(np.random.default_rng(0), through_json(np.random.Generator(np.random.Philox(0))))


@pytest.mark.parametrize("warm_up", [0, 1, 17])
def test_a_torch_generator_draws_on_as_the_saved_one(warm_up):
    generator = torch.Generator().manual_seed(3)
    torch.randn(warm_up, generator=generator)
    fresh = torch.Generator()
    restore_random_state(fresh, through_json(generator))
    assert torch_draws(fresh) == torch_draws(generator)


@pytest.mark.parametrize(
    ("generator", "foreign"),
    [(torch.Generator(), np.random.default_rng(0)), (np.random.default_rng(0), torch.Generator())],
)
def test_a_state_of_the_other_library_is_refused(generator, foreign):
    with pytest.raises(ValueError, match=r"the random state describes '(numpy|torch)', where one of a"):
        restore_random_state(generator, through_json(foreign))


def test_a_torch_state_of_another_device_is_refused():
    state = {**through_json(torch.Generator()), "device": "cuda"}
    with pytest.raises(ValueError, match="one of a generator on 'cuda'; this one is on 'cpu'"):
        restore_random_state(torch.Generator(), state)


@pytest.mark.parametrize("content", [None, 3, "", "!", "AAAA", "A" * 6744])
def test_a_damaged_torch_state_is_refused_and_leaves_the_generator_unchanged(content):
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(ValueError, match="the random state is damaged"):
        restore_random_state(generator, {**through_json(generator), "state": content})
    assert torch_draws(generator) == torch_draws(torch.Generator().manual_seed(0))


@pytest.mark.parametrize("integer", [-1, 2**200, 1.5, "7", None, True])
@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.MT19937])
def test_a_damaged_numpy_state_is_refused(kind, integer):
    state = through_json(np.random.Generator(kind(0)))
    inner = state["state"]["state"]
    if "key" in inner:
        inner["key"][5] = integer
    else:
        inner["state"] = integer
    with pytest.raises(ValueError, match="the random state is damaged"):
        numpy_generator_from_json(state)


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state.pop("state"),
        lambda state: state.pop("seed_sequence"),
        lambda state: state["seed_sequence"].update(entropy=None),
        lambda state: state["seed_sequence"].update(pool_size="4"),
        lambda state: state["seed_sequence"].update(more=1),
        lambda state: state["state"].update(bit_generator="BitGenerator"),
        lambda state: state["state"]["state"].pop("inc"),
        lambda state: state["state"].update(has_uint32="no"),
    ],
)
def test_a_numpy_state_that_lacks_a_part_is_refused(damage):
    state = through_json(np.random.default_rng(0))
    damage(state)
    with pytest.raises(ValueError, match="the random state is damaged"):
        numpy_generator_from_json(state)
