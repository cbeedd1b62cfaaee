"""A checkpoint with right checksums and wrong content is refused by file and field, in little time and memory."""

import json
import math
import re
import resource
import time
from typing import Any

import pytest
import torch

import pearl
from pearl import CheckpointError
from pearl.checkpoint.safetensors_header import Form
from pearl.checkpoint.store import read_checkpoint, write_checkpoint
from pearl.config.reading import ConfigError
from pearl.model.document import VERSION
from pearl.model.meta_learner import MetaLearner, learner_of
from pearl.model.shapes import check_weights
from tests.support.algorithms import CONFIGS
from tests.support.checkpoint.forgeries import MISSING, changed, places, put_and_seal, put_state, read_state
from tests.support.small import LENGTH, Counting, load, small_model

pytestmark = pytest.mark.usefixtures("one_thread")

BAD = [
    *(MISSING, None, True, "", "x", "x" * 10**5, [], [[]], {}, {"x": 1}, [None], ["x"]),
    *(-1, 0, 10**18, 10**90, -5.0, 0.5, 1e18, 1e308, math.nan, math.inf, -math.inf),
]
"""Each is wrong in nearly every place"""


def save(folder, algorithm="pearl"):
    config = CONFIGS[algorithm]
    learner_of(config)(Counting(), config).learn(8 * LENGTH).save(folder)
    return folder


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A folder and its document; each test puts its own document in the place of that."""
    folder = save(tmp_path_factory.mktemp("sound"))
    return folder, read_state(folder)


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def refused(folder, document):
    """The message with which a document is refused; None where it loads."""
    put_state(folder, document)
    try:
        load(folder)
    except CheckpointError as error:
        message = str(error)
    else:
        return None
    assert str(folder) in message
    assert len(message) < 1_500 + len(str(folder))
    return message


@pytest.mark.parametrize("algorithm", CONFIGS)
def test_whatever_stands_in_a_place_of_the_document_it_loads_or_is_refused_by_name(algorithm, tmp_path):
    folder = save(tmp_path, algorithm)
    document = read_state(folder)
    before, step = peak_mb(), 3 if algorithm == "pearl" else 7
    changes = [(path, value) for path in places(document) for value in BAD]
    messages = []
    for path, value in changes[::step]:
        try:
            messages.append(refused(folder, changed(document, path, value)))
        except Exception as error:
            raise AssertionError(f"{path} as {value!r}") from error
    assert messages.count(None) < 0.4 * len(messages)
    assert peak_mb() - before < 300


WHOLE = ["x", None, True, -5, 0.5, math.nan, math.inf, 10**90, [1], MISSING]
SECONDS = ["x", None, True, -5.0, math.nan, math.inf, [1.0], MISSING]
GENERATOR = ["x", None, 3, {}, [], {"generator": "torch", "device": "cpu", "state": "AAAA"}, MISSING]
FIELDS: dict[str, list[Any]] = {
    "family": [3, None, [], MISSING],
    "version": [*WHOLE[:-1], 0, VERSION + 1],
    "algorithm": [3, None, [], MISSING],
    "seed": ["x", None, True, -5, 0.5, MISSING],
    "config": [3, None, [], "x", MISSING],
    "train_tasks": [3, None, {}, [], [3], [None], [[]], [{"number": math.nan}], MISSING],
    "test_tasks": [3, None, {}, [3], [None], [[]], [{"number": math.inf}], MISSING],
    "spaces": [3, None, [], {}, {"observation": 3, "action": "x"}, MISSING],
    "horizon": [*WHOLE, 0],
    "training": [3, None, [], {}, MISSING],
    "training.env_steps": WHOLE,
    "training.gradient_steps": WHOLE,
    "training.collection_s": SECONDS,
    "training.learning_s": SECONDS,
    "training.owed_gradient_steps": [*SECONDS, 1e18],
    "training.collect_rng": GENERATOR,
    "training.learn_rng": GENERATOR,
    "training.metrics": [3, None, [], {"kl": math.nan}, {"kl": "x"}],
    "acting_rng": GENERATOR,
    "wall_s": SECONDS,
    "next_evaluation": [*WHOLE, 10**15],
    "versions": [3, None, [], {"torch": 3}],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in FIELDS.items() for value in values])
def test_a_field_that_is_not_what_it_has_to_be_is_named_with_its_file(sound, field, value):
    folder, document = sound
    message = refused(folder, changed(document, field.split("."), value))
    assert message is not None
    assert "state-000001.json" in message
    assert field in message or "is no number that JSON knows" in message


def test_every_field_of_the_document_is_among_these(sound):
    _, document = sound
    inner = {f"training.{name}" for name in document["training"]}
    assert document.keys() | inner == FIELDS.keys()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"seed": 1, "seed": 2}', "the key 'seed' appears twice"),
        (b'{"wall_s": NaN}', "NaN is no number"),
        (b'{"a":' * 10**5, "more than 50 levels deep"),
        (b'{"seed": ' + b"7" * 5_000 + b"}", "a whole number has 5,000 characters"),
        (b"\xff", "can't decode"),
    ],
)
def test_a_document_that_is_no_plain_json_is_named(sound, content, message):
    folder, _ = sound
    put_and_seal(folder, "state", content)
    with pytest.raises(CheckpointError, match=rf"state-000001\.json is not valid JSON \(.*{message}"):
        load(folder)


ABSURD = [
    ("agent.hidden_sizes", [6_000, 6_000]),
    ("agent.hidden_sizes", [10**9, 10**9]),
    ("agent.hidden_sizes", [2**62, 2**62]),
    ("agent.hidden_sizes", [8] * 10**5),
    ("agent.n_critics", 10**12),
    ("encoder.latent_dim", 10**6),
    ("encoder.latent_dim", 10**18),
    ("encoder.hidden_sizes", [20_000, 20_000]),
    ("encoder.hidden_sizes", [1] * 10**5),
    ("encoder.kind", "gru"),
]


@pytest.mark.parametrize(("setting", "value"), ABSURD)
def test_settings_that_describe_other_weights_are_refused_before_anything_is_built(sound, setting, value, monkeypatch):
    def not_called(config):
        raise AssertionError("A model is built.")

    monkeypatch.setattr(MetaLearner, "class_of", not_called)
    folder, document = sound
    before, begun = peak_mb(), time.perf_counter()
    message = refused(folder, changed(document, ["config", *setting.split(".")], value))
    assert message is not None
    assert "weights-000001.safetensors does not match its config" in message
    assert peak_mb() - before < 50
    assert time.perf_counter() - begun < 30


@pytest.mark.parametrize(
    ("algorithm", "setting", "value"),
    [
        ("rl2", "memory_width", 10**8),
        ("transformer", "width", 10**8),
        ("transformer", "layers", 10**9),
        ("recurrent_sac", "memory_width", 10**8),
        ("maml", "hidden_sizes", [10**5, 10**5]),
        ("reptile", "hidden_sizes", [8] * 10**5),
    ],
)
def test_so_are_those_of_other_algorithms(algorithm, setting, value, tmp_path):
    folder = save(tmp_path, algorithm)
    before, begun = peak_mb(), time.perf_counter()
    message = refused(folder, changed(read_state(folder), ["config", "agent", setting], value))
    assert message is not None
    assert "weights-000001.safetensors does not match its config" in message
    assert peak_mb() - before < 50
    assert time.perf_counter() - begun < 30


def test_so_are_those_of_images(tmp_path):
    reading = {"image_channels": (4,), "image_features": 4}
    small_model("image-point-robot", agent={"observations": reading}).save(tmp_path)
    for setting, value in (("image_channels", [10**6]), ("image_channels", [4, 10**9]), ("image_features", 10**9)):
        sound = read_state(tmp_path)
        put_state(tmp_path, changed(sound, ["config", "agent", "observations", setting], value))
        with pytest.raises(CheckpointError, match="does not match its config"):
            pearl.load(tmp_path)
        put_state(tmp_path, sound)
    assert pearl.load(tmp_path).family == "image-point-robot"


@pytest.mark.parametrize("algorithm", CONFIGS)
def test_an_agent_that_is_built_without_memory_has_the_weights_of_one_that_is_built_with_it(algorithm):
    model = learner_of(CONFIGS[algorithm])(Counting(), CONFIGS[algorithm])
    agent, config = model.agent, model.config
    forms = {name: Form.of(tensor) for name, tensor in agent.state_dict().items()}
    spaces = agent.observation_space, agent.action_space
    check_weights(forms, config, *spaces)
    for missing in forms:
        with pytest.raises(ValueError, match=re.escape(f"{missing!r} is missing")):
            check_weights({name: form for name, form in forms.items() if name != missing}, config, *spaces)
    with pytest.raises(ValueError, match=r"is F16 .*, expected F(32|64)"):
        check_weights({name: form._replace(dtype="F16") for name, form in forms.items()}, config, *spaces)
    with pytest.raises(ValueError, match=r"'more' is F32 \(1,\), expected no such tensor"):
        check_weights(forms | {"more": Form("F32", (1,))}, config, *spaces)


@pytest.mark.parametrize("algorithm", ["pearl", "recurrent_sac"])
def test_a_replay_takes_no_memory_before_it_is_filled(algorithm, tmp_path):
    """Whatever capacity a stranger's settings ask for."""
    config = CONFIGS[algorithm]
    learner_of(config)(Counting(), config).save(tmp_path, training_state=False)
    document = read_state(tmp_path)
    document["config"]["training"] |= {"replay_capacity": 2 * 10**7, "replay_budget_mb": 10**12}
    before = peak_mb()
    refused(tmp_path, document)
    assert peak_mb() - before < 200


@pytest.mark.parametrize("capacity", [10**10, 10**15, 2**62])
def test_a_replay_that_no_memory_holds_is_refused_by_name(sound, capacity):
    folder, document = sound
    document = changed(document, ["config", "training", "replay_budget_mb"], 2**62)
    message = refused(folder, changed(document, ["config", "training", "replay_capacity"], capacity))
    assert message is not None
    message = refused(folder, changed(document, ["config", "training", "replay_budget_mb"], 1))
    assert message is None  # it is small enough


def test_a_replay_beyond_its_budget_is_refused_with_the_document_named(sound):
    folder, document = sound
    message = refused(folder, changed(document, ["config", "training", "replay_capacity"], 10**9))
    assert message is not None
    assert "state-000001.json describes a model that cannot be built: A replay of" in message


def test_a_device_that_is_not_there_is_no_fault_of_the_checkpoints(sound):
    folder, document = sound
    put_state(folder, changed(document, ["config", "training", "device"], "cuda"))
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ConfigError, match=r"training\.device is cuda"):
        load(folder)
    assert pearl.load(folder, distribution=Counting(), device="cpu").family == "Counting"


def test_a_task_that_is_none_of_the_familys_is_named(tmp_path):
    small_model("point-robot").save(tmp_path)
    put_state(tmp_path, changed(read_state(tmp_path), ["train_tasks", 0], {"gaol": [0, 1]}))
    with pytest.raises(CheckpointError, match=r"state-000001\.json has the training task \{'gaol': \[0, 1\]\}"):
        pearl.load(tmp_path)


def test_documents_of_old_without_newer_fields_load(sound):
    folder, document = sound
    for path in (["versions"], ["config", "agent", "precision"], ["config", "training", "device"]):
        document = changed(document, path, MISSING)
    assert refused(folder, document) is None


@pytest.mark.parametrize("name", [{"system": "pearl"}, {}])
def test_documents_of_version_1_name_their_algorithm_otherwise_or_not_at_all(sound, name):
    folder, document = sound
    rest = {key: value for key, value in document.items() if key not in ("version", "algorithm")}
    assert refused(folder, name | rest) is None


TENSORS = {
    "optimizers": {
        "1.exp_avg": [lambda t: t * math.nan, lambda t: t.half(), lambda t: t[:0], lambda t: t.unsqueeze(0)],
        "1.exp_avg_sq": [lambda t: t * math.inf, lambda t: t - 1.0],
        "1.step": [lambda t: t * math.nan, lambda t: t - 100.0, lambda t: t.view(1)],
        "lr.0": [lambda t: t * math.nan, lambda t: -t, lambda t: t.repeat(10**5)],
    },
    "replay": {
        "store": [
            lambda t: t * math.nan,
            lambda t: t.double(),
            lambda t: t[0],
            lambda t: t[:, :-1],
            lambda t: t[..., 1:],
        ],
        "n_added": [
            lambda t: -t,
            lambda t: t + 2**60,
            lambda t: t.float(),
            lambda t: t[:1],
            lambda t: t[0],
            lambda t: t[:0],
        ],
        "trial_start": [lambda t: t - 100, lambda t: t + 100, lambda t: t.int(), lambda t: t[0], lambda t: t[:, :-1]],
    },
}


@pytest.mark.parametrize(
    ("group", "name", "change"),
    [(group, name, change) for group, names in TENSORS.items() for name, found in names.items() for change in found],
)
def test_a_tensor_of_another_form_or_content_is_refused(group, name, change, tmp_path):
    folder = save(tmp_path)
    checkpoint = read_checkpoint(folder)
    checkpoint.groups[group][name] = change(checkpoint.groups[group][name])
    write_checkpoint(folder, checkpoint.groups, checkpoint.document)
    with pytest.raises(CheckpointError, match=r"does not match its config|NaN or infinite") as error:
        load(folder)
    assert len(str(error.value)) < 1_000 + len(str(folder))


TRIALS = {
    "store": [lambda t: t * math.nan, lambda t: t + 0.5, lambda t: t[0], lambda t: t[:-1], lambda t: t.double()],
    "starts": [lambda t: t - 1, lambda t: t + 1000, lambda t: t.flip(0), lambda t: t.float(), lambda t: t.unsqueeze(0)],
    "n_added": [lambda t: -t, lambda t: t + 2**60, lambda t: t.float(), lambda t: t.view(1)],
}


@pytest.mark.parametrize(("name", "change"), [(name, change) for name, found in TRIALS.items() for change in found])
def test_so_is_one_of_a_replay_of_trials(name, change, tmp_path):
    folder = save(tmp_path, "recurrent_sac")
    checkpoint = read_checkpoint(folder)
    checkpoint.groups["replay"][name] = change(checkpoint.groups["replay"][name])
    write_checkpoint(folder, checkpoint.groups, checkpoint.document)
    with pytest.raises(CheckpointError, match=r"does not match its config|NaN or infinite"):
        load(folder)


def test_groups_without_their_like_are_refused(tmp_path):
    for group in ("weights", "optimizers", "replay"):
        folder = save(tmp_path / group)
        checkpoint = read_checkpoint(folder)
        del checkpoint.groups[group]
        write_checkpoint(folder, checkpoint.groups, checkpoint.document)
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["files"].pop(group, None)
        with pytest.raises(CheckpointError, match=group):
            load(folder)
