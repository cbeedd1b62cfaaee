"""Studies: variants of the presets, each against the preset as it is."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import study
from pages import with_table

from pearl.config.reading import ConfigError, from_mapping
from pearl.config.run import PEARLConfig, load_preset
from pearl.studies import runner
from pearl.studies.published_table import PUBLISHED
from pearl.studies.results import Setting, read_results, store_run
from pearl.studies.variants import by_variant
from tests.support.processes import ROOT

SMALL = """
families:
  point-robot:
    training: {total_steps: 400, n_train_tasks: 4, meta_batch: 2, initial_episodes: 1, episodes_per_trial: 1}
    evaluation: {interval: 200, n_test_tasks: 2}
  sparse-point-robot:
variants:
  layer-norm:
    others: {agent: {critic_layer_norm: true}}
    sparse-point-robot: null
  learned-temperature:
    sparse-point-robot: {agent: {temperature: null}}
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """The results of a study of the point robot with two seeds."""
    folder = tmp_path_factory.mktemp("studied")
    path = folder / "small.yaml"
    path.write_text(SMALL)
    study.main(path, families=("point-robot",), seeds=(0, 1), out=folder, runs=folder / "runs")
    return folder


def runs_of(folder):
    """The runs of each variant in the folder's results of the point robot."""
    return by_variant(read_results(folder / "point-robot"), "small")


def test_every_variant_has_every_seeds_curve_and_a_picture(studied):
    for name in ("plain", "layer-norm"):
        runs = runs_of(studied)[name]
        assert list(runs) == [0, 1]
        for run in runs.values():
            assert run.curve["env_steps"][0] == 0
            assert run.curve["env_steps"][-1] >= 400
            assert {len(values) for values in run.curve.values()} == {len(run.curve["env_steps"])}
            assert np.isfinite(run.curve["test/score"]).all()
            assert len(run.measured["returns"]) == 2
        assert runs[0].curve["test/score"].tolist() != runs[1].curve["test/score"].tolist()
    assert (studied / "point-robot" / "small.png").is_file()


def test_a_variant_is_told_apart_from_the_plain_setting(studied):
    plain, variant = (from_mapping(PEARLConfig, runs_of(studied)[name][0].config) for name in ("plain", "layer-norm"))
    assert not plain.agent.critic_layer_norm
    assert variant.agent.critic_layer_norm
    assert variant.encoder == load_preset("point-robot").encoder


def test_runs_that_are_there_are_not_run_again(studied, small, tmp_path, monkeypatch):
    shutil.copytree(studied / "point-robot", tmp_path / "point-robot")
    monkeypatch.setattr(runner, "train", lambda *arguments, **settings: pytest.fail("trained"))
    before = (tmp_path / "point-robot" / "runs.json").read_bytes()
    study.main(small, families=("point-robot",), seeds=(0, 1), out=tmp_path)
    assert (tmp_path / "point-robot" / "runs.json").read_bytes() == before


def test_runs_with_other_settings_are_not_mixed_with_new_ones(studied, small, tmp_path):
    shutil.copytree(studied / "point-robot", tmp_path / "point-robot")
    small.write_text(SMALL.replace("total_steps: 400", "total_steps: 600"))
    with pytest.raises(ConfigError, match=r"runs\.json holds runs with other settings \(small, plain, pearl\)"):
        study.main(small, families=("point-robot",), seeds=(0,), out=tmp_path)


def test_only_the_variants_that_are_named_are_trained(small, tmp_path):
    study.main(
        small, families=("point-robot",), variants=("layer-norm",), seeds=(0,), out=tmp_path, runs=tmp_path / "runs"
    )
    assert list(runs_of(tmp_path)) == ["layer-norm"]


def test_a_variant_from_the_defaults_keeps_only_the_presets_steps_tasks_and_protocol(small):
    small.write_text(
        SMALL.replace(
            "layer-norm:", "untuned:\n    point-robot: {from: defaults, agent: {n_critics: 3}}\n  layer-norm:"
        )
    )
    point_robot, _ = study.read_study(small)
    found, usual = study.variant_config(point_robot, "untuned"), PEARLConfig()
    assert found.encoder == usual.encoder
    assert found.agent == replace(usual.agent, n_critics=3)
    assert (found.training.total_steps, found.training.n_train_tasks, found.training.episodes_per_trial) == (400, 4, 1)
    assert found.training.gradient_steps_per_env_step == usual.training.gradient_steps_per_env_step
    assert (found.evaluation.interval, found.evaluation.n_test_tasks) == (200, 2)


def test_a_variant_from_the_defaults_is_compared_with_the_published_runs_in_a_page(small, tmp_path):
    small.write_text(SMALL.replace("layer-norm:", "untuned:\n    point-robot: {from: defaults}\n  layer-norm:"))
    page = tmp_path / "page.md"
    chosen = {"families": ("point-robot",), "variants": ("untuned",), "seeds": (0,), "out": tmp_path, "page": page}
    chosen["runs"] = tmp_path / "runs"
    page.write_text("Text.\n<!-- untuned -->\nold\n<!-- / -->\n")
    study.main(small, **chosen)
    assert page.read_text().count("\n|") == 2  # No run of the preset is published here: the head alone.
    folder = tmp_path / "point-robot"
    ((setting, runs),) = read_results(folder).runs.items()
    assert setting == Setting("small", "untuned", "pearl")
    store_run(folder, PUBLISHED, PEARLConfig(), 0, runs[0])
    study.main(small, **chosen)
    assert "| point-robot | 400 | " in page.read_text()
    assert re.search(r" \| 1\.00 \| 1\.00 \| −?\d+\.\d\d \| 0, 0 \| –, – \|\n\n<!-- / -->\n$", page.read_text())


def test_a_variant_starts_from_the_preset_or_the_defaults_alone(small):
    small.write_text(SMALL.replace("{agent: {critic_layer_norm: true}}", "{from: scratch}"))
    with pytest.raises(ConfigError, match="'layer-norm' starts from 'scratch'; it may start from preset or defaults"):
        study.read_study(small)


def test_a_family_has_the_variants_that_name_it_or_others(small):
    point_robot, sparse = study.read_study(small)
    assert list(point_robot.variants) == ["plain", "layer-norm"]
    assert list(sparse.variants) == ["plain", "learned-temperature"]


@pytest.mark.parametrize(
    ("given", "wrong", "message"),
    [
        ("temperature: null", "temperture: null", "temperture"),
        ("critic_layer_norm: true", "critic_layer_norm: false", "'layer-norm' changes none"),
        ("variants:", "variant:", "families and variants"),
        ("families:", "families: [", "is not valid YAML"),
        ("families:", "families: []\nothers:", "families and variants"),
        (
            "    sparse-point-robot: null",
            "    sparse-point-robto: null",
            "names sparse-point-robto, no family of the study",
        ),
        ("    others: {agent: {critic_layer_norm: true}}\n    sparse-point-robot: null", "", "must be a mapping"),
    ],
)
def test_a_slip_in_the_file_shows_before_anything_is_trained(small, given, wrong, message, tmp_path, monkeypatch):
    small.write_text(SMALL.replace(given, wrong))
    monkeypatch.setattr(runner, "train", lambda *arguments, **settings: pytest.fail("trained"))
    with pytest.raises(ConfigError, match=message):
        study.main(small, out=tmp_path)


def test_an_unknown_variant_is_an_error_before_anything_is_trained(small, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "train", lambda *arguments, **settings: pytest.fail("trained"))
    with pytest.raises(ConfigError, match="no variants layr-norm; it has plain, layer-norm, learned-temperature"):
        study.main(small, variants=("layr-norm",), out=tmp_path)


def test_an_unknown_family_is_an_error_that_names_the_known_ones(small, tmp_path):
    with pytest.raises(ConfigError, match="no families reacher; it has point-robot, sparse-point-robot"):
        study.main(small, families=("reacher",), out=tmp_path)


def test_a_table_takes_its_place_on_a_page_and_leaves_the_rest():
    text = "a\n<!-- x -->\nold\n<!-- / -->\nb\n<!-- y -->\n<!-- / -->\n"
    assert with_table(text, "x", "| new |") == text.replace("old\n", "\n| new |\n\n")
    with pytest.raises(ConfigError, match="no place for z's table"):
        with_table(text, "z", "| new |")
    with pytest.raises(ConfigError, match="no place for x's table"):
        with_table(text.replace("<!-- / -->", "", 1), "x", "| new |")


def test_the_published_study_reads():
    """Every variant of the file in the repository differs from its family's preset."""
    path = ROOT / "experiments" / "configs" / "what-helps.yaml"
    assert {"point-robot", "sparse-point-robot", "varying-pendulum", "varying-cartpole"} <= {
        family.name for family in study.read_study(path)
    }
