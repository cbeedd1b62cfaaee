"""Which uint8 Boxes are images, and how networks read each layout: by hand, against stacks that Gymnasium builds."""

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from agents import AuxiliaryConfig, ObservationsConfig, PEARLAgent, PEARLAgentConfig, check_spaces
from agents.images import MIN_SIDE, height_axis
from agents.networks.features import ImageFeatures, VectorFeatures, make_features
from agents.spaces import is_image, observation_row, observation_rows
from encoders import EncoderConfig
from tests.support.agent_tester import all_of, generator

ACTION = spaces.Box(-1.0, 1.0, (2,))
H, W = 18, 21
LAYOUTS: dict[tuple[int, ...], tuple[int, ...]] = {
    # Shape of the observation, and the axes that lead from it to (channel, height, width).
    (H, W): (0, 1),
    **{(H, W, channels): (2, 0, 1) for channels in (1, 2, 3, 4, 6, 9, 12, 15)},
    **{(channels, H, W): (0, 1, 2) for channels in (1, 2, 3, 4, 6, 9, 12, 15)},
    (4, H, W, 3): (0, 3, 1, 2),
    (4, 3, H, W): (0, 1, 2, 3),
    (H, W, 3, 4): (2, 3, 0, 1),
    (1, H, W, 1): (0, 3, 1, 2),
    (2, 4, H, W, 3): (0, 1, 4, 2, 3),
    (16, 84, 84): (0, 1, 2),
    (84, 84, 16): (2, 0, 1),
    (16, 32, 40): (0, 1, 2),
    (84, 16): (0, 1),
    (16, 84, 84, 3): (0, 3, 1, 2),
}
VECTORS = [
    (7, 7, 3),  # MiniGrid
    (8, 8, 3),
    (15, 84, 3),
    (84, 84, 3)[:1],
    (4, 128),  # frames of Atari's memory
    (15, 15),
    (3, 3, 3, 3),
    (64, 1, 3),
    (),
    (0, 3),
    (0, 20, 20),
]
AMBIGUOUS = [
    (84, 84, 84),
    (84, 84, 60),
    (60, 84, 84),
    (16, 16, 16),
    (17, 32, 40),
    (84, 3, 84),
    (84, 84, 84, 3),
    (84, 4, 84, 3),
    (16, 16, 84),
]


def box(shape: tuple[int, ...], **changed: Any) -> spaces.Box[Any]:
    return spaces.Box(**{"low": 0, "high": 255, "shape": shape, "dtype": np.uint8, **changed})


def sampled(shape: tuple[int, ...], n: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(256, size=(n, *shape), dtype=np.uint8)


@pytest.mark.parametrize("shape", LAYOUTS)
def test_height_width_and_channels_are_read_where_they_are_in_every_layout(shape: tuple[int, ...]) -> None:
    space, batch = box(shape), sampled(shape, 3)
    assert is_image(space)
    assert check_spaces(space, ACTION) == (math.prod(shape), 2)
    rows = observation_rows(space, batch)
    assert rows.dtype == np.uint8
    features = make_features(
        space, PEARLAgentConfig(observations=ObservationsConfig(image_channels=(4,), image_features=6))
    )
    assert isinstance(features, ImageFeatures)
    read: list[Tensor] = []
    features.network[0].register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    assert features(torch.from_numpy(rows)).shape == (3, 6)
    order = LAYOUTS[shape]
    upright = batch.transpose(0, *(1 + axis for axis in order))
    upright = upright.reshape(3, -1, *upright.shape[-2:])
    np.testing.assert_allclose(read[0].numpy(), upright / np.float32(255) - np.float32(0.5), atol=1e-6)


def test_one_picture_gives_the_same_features_in_every_layout_of_three_axes() -> None:
    picture = sampled((H, W, 3), 2)
    last, first = (ImageFeatures(shape, (4,), 6) for shape in ((H, W, 3), (3, H, W)))
    first.load_state_dict(last.state_dict())
    found = first(torch.from_numpy(np.moveaxis(picture, -1, 1).reshape(2, -1).copy()))
    torch.testing.assert_close(found, last(torch.from_numpy(picture.reshape(2, -1))))


class Camera(gym.Env[Any, Any]):
    """Shows random colour pictures."""

    observation_space, action_space = box((H, W, 3)), ACTION

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.np_random.integers(256, size=(H, W, 3), dtype=np.uint8), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.reset()[0], 0.0, False, False, {}


@pytest.mark.parametrize("keep_dim", [True, False])
@pytest.mark.parametrize("grey", [True, False])
def test_gymnasiums_grey_pictures_and_stacks_of_frames_are_images(grey: bool, keep_dim: bool) -> None:
    env: gym.Env[Any, Any] = Camera()
    if grey:
        env = gym.wrappers.GrayscaleObservation(env, keep_dim=keep_dim)
    for wrapped in (env, gym.wrappers.FrameStackObservation(env, 4)):
        space = wrapped.observation_space
        row = observation_row(space, wrapped.reset(seed=0)[0])
        assert is_image(space), space
        assert row.dtype == np.uint8
        assert make_features(space, PEARLAgentConfig())(torch.from_numpy(row)).shape == (1, 64)


@pytest.mark.parametrize("shape", VECTORS)
def test_bytes_too_small_for_a_picture_are_a_vector_of_numbers(shape: tuple[int, ...]) -> None:
    space, batch = box(shape), sampled(shape, 2)
    assert not is_image(space)
    assert check_spaces(space, ACTION)[0] == np.prod(shape)
    rows = observation_rows(space, batch)
    assert rows.dtype == np.float32
    assert np.array_equal(rows, batch.reshape(2, -1))
    assert isinstance(
        make_features(space, PEARLAgentConfig(observations=ObservationsConfig(normalise=True))), VectorFeatures
    )


@pytest.mark.parametrize("changed", [{"high": 10}, {"low": 1}, {"dtype": np.int16}, {"dtype": np.float32}])
def test_what_is_not_uint8_from_0_to_255_is_a_vector_whatever_its_shape(changed: dict[str, Any]) -> None:
    for shape in ((32, 32, 3), (84, 84, 84), (84, 3, 84)):
        space = box(shape, **changed)
        assert not is_image(space)
        assert check_spaces(space, ACTION)[0] == np.prod(shape)
        assert observation_row(space, space.sample()).dtype == np.float32


@pytest.mark.parametrize("shape", AMBIGUOUS)
def test_a_picture_whose_channels_cannot_be_told_from_its_sides_is_refused_by_name(shape: tuple[int, ...]) -> None:
    assert not is_image(box(shape))
    for space, name in (
        (box(shape), "observation"),
        (spaces.Dict({"arm": ACTION, "eye": box(shape)}), r"observation\['eye'\]"),
    ):
        with pytest.raises(ValueError, match=rf"^The {name} space Box\(0, 255, .* could be an image in more") as raised:
            check_spaces(space, ACTION)
        assert str(box(shape)) in str(raised.value)
        for advice in ("TransformObservation", "ReshapeObservation", "FlattenObservation"):
            assert hasattr(gym.wrappers, advice)
            assert advice in str(raised.value)


@pytest.mark.parametrize("bound", ["low", "high"])
def test_an_image_that_is_bounded_otherwise_in_places_is_refused(bound: str) -> None:
    limits = np.full((H, W), {"low": 0, "high": 255}[bound], np.uint8)
    limits[3, 4] = 7
    bounds: dict[str, Any] = {"low": 0, "high": 255, bound: limits}
    with pytest.raises(
        ValueError, match=r"^The observation space of the shape .18, 21. .* bounds other than 0 and 255 in places"
    ):
        check_spaces(spaces.Box(**bounds, dtype=np.uint8, shape=(H, W)), ACTION)


@pytest.mark.parametrize(
    ("refused", "taken"), [((84, 3, 84), (84, 84, 3)), ((84, 84, 84), (28, 84, 84, 3)), ((84, 84, 84), (84 * 84 * 84,))]
)
def test_the_advice_for_a_refused_picture_leads_to_one_that_is_taken(
    refused: tuple[int, ...], taken: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="could be an image"):
        check_spaces(box(refused), ACTION)
    check_spaces(box(taken), ACTION)
    assert is_image(box(taken)) == (len(taken) > 1)


@pytest.mark.parametrize("shape", [(H, W), (3, H, W), (4, H, W, 3)])
def test_an_image_of_any_layout_among_other_observations_is_refused_by_its_place(shape: tuple[int, ...]) -> None:
    with pytest.raises(TypeError, match=r"^observation\['eye'\] is an image"):
        check_spaces(spaces.Dict({"arm": ACTION, "eye": box(shape)}), ACTION)


def test_a_small_grid_may_be_a_part_of_an_observation() -> None:
    space = spaces.Dict({"image": box((7, 7, 3)), "direction": spaces.Discrete(4)})
    assert check_spaces(space, ACTION)[0] == 7 * 7 * 3 + 4
    grid = sampled((7, 7, 3), 1)[0]
    row = observation_row(space, {"image": grid, "direction": 2})
    assert row.tolist() == [[0, 0, 1, 0, *grid.ravel().tolist()]]


def test_an_axis_of_height_is_found_in_at_most_one_place() -> None:
    for shape in np.ndindex(*[12] * 4):
        sizes = tuple(4 * size + 1 for size in shape)
        pairs = [
            axis
            for axis in range(3)
            if min(pair := sizes[axis : axis + 2]) >= MIN_SIDE
            and all(size < MIN_SIDE or 2 * size <= min(pair) for size in (*sizes[:axis], *sizes[axis + 2 :]))
        ]
        assert len(pairs) <= 1
        assert height_axis(sizes) == (pairs[0] if pairs else None)


def test_every_picture_is_large_enough_for_the_default_convolutions() -> None:
    config = PEARLAgentConfig()
    assert 2 ** (len(config.observations.image_channels) + 1) == MIN_SIDE
    make_features(box((MIN_SIDE, MIN_SIDE)), config)


@pytest.mark.parametrize("shape", [(H, W), (3, H, W), (4, H, W, 3)])
def test_an_agent_acts_on_pictures_of_any_layout_and_a_decoder_leaves_them_out(shape: tuple[int, ...]) -> None:
    def make(**settings: Any) -> PEARLAgent:
        config = PEARLAgentConfig(
            observations=ObservationsConfig(image_channels=(4,)),
            auxiliary=AuxiliaryConfig(reconstruction_weight=1.0, **settings),
        )
        return PEARLAgent(box(shape), ACTION, EncoderConfig(), config, generator(0))

    agent = make(reconstructed=("reward",))
    rows = torch.from_numpy(observation_rows(box(shape), sampled(shape, 2)))
    action = agent.act(rows, agent.begin(2, generator(0)), all_of(2, True), generator(0)).action
    assert action.shape == (2, 2)
    with pytest.raises(ValueError, match="next_observation of an image is not reconstructed"):
        make(reconstructed=("next_observation",))
