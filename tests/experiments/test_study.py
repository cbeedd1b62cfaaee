"""Studies: variants of the presets, each against the preset as it is."""

import json
import shutil

import pytest
import study
from pages import with_table

from pearl.config.reading import ConfigError, from_mapping
from pearl.config.run import PEARLConfig, load_preset
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
    study.main(path, families=("point-robot",), seeds=(0, 1), out=folder)
    return folder / "small"


def test_every_variant_has_every_seeds_curve_and_a_picture(studied):
    for name in ("plain", "layer-norm"):
        written = json.loads((studied / "point-robot" / f"{name}.json").read_text())
        assert list(written["runs"]) == ["0", "1"]
        for run in written["runs"].values():
            assert run["env_steps"][0] == 0
            assert run["env_steps"][-1] >= 400
            assert len(run["value"]) == len(run["gradient_steps"]) == len(run["wall_s"]) == len(run["env_steps"])
        assert written["runs"]["0"]["value"] != written["runs"]["1"]["value"]
    assert (studied / "point-robot.png").is_file()


def test_a_variant_is_told_apart_from_the_plain_setting(studied):
    plain, variant = (
        from_mapping(PEARLConfig, json.loads((studied / "point-robot" / f"{name}.json").read_text())["config"])
        for name in ("plain", "layer-norm")
    )
    assert not plain.agent.critic_layer_norm
    assert variant.agent.critic_layer_norm
    assert variant.encoder == load_preset("point-robot").encoder


def test_runs_that_are_there_are_not_run_again(studied, small, tmp_path, monkeypatch):
    shutil.copytree(studied, tmp_path / "small")
    trained = []
    monkeypatch.setattr(study, "train", lambda family, config, seed: trained.append(seed))
    study.main(small, families=("point-robot",), seeds=(0, 1), out=tmp_path)
    assert not trained


def test_runs_with_other_settings_are_not_mixed_with_new_ones(studied, small, tmp_path):
    shutil.copytree(studied, tmp_path / "small")
    small.write_text(SMALL.replace("total_steps: 400", "total_steps: 600"))
    with pytest.raises(ConfigError, match=r"plain\.json holds runs with other settings"):
        study.main(small, families=("point-robot",), seeds=(0,), out=tmp_path)


def test_a_family_has_the_variants_that_name_it_or_others(small):
    point_robot, sparse = study.read_study(small)
    assert list(point_robot.variants) == ["plain", "layer-norm"]
    assert list(sparse.variants) == ["plain", "learned-temperature"]


@pytest.mark.parametrize(
    ("given", "wrong", "message"),
    [
        ("temperature: null", "temperture: null", "temperture"),
        ("critic_layer_norm: true", "critic_layer_norm: false", "'layer-norm' changes nothing"),
        ("variants:", "variant:", "families and variants"),
        ("families:", "families: [", "is not valid YAML"),
        ("families:", "families: []\nothers:", "families and variants"),
        ("    sparse-point-robot: null", "    sparse-point-robto: null", "names sparse-point-robto, which is none"),
        ("    others: {agent: {critic_layer_norm: true}}\n    sparse-point-robot: null", "", "must be a mapping"),
    ],
)
def test_a_slip_in_the_file_shows_before_anything_is_trained(small, given, wrong, message, tmp_path, monkeypatch):
    small.write_text(SMALL.replace(given, wrong))
    monkeypatch.setattr(study, "train", lambda *arguments: pytest.fail("trained"))
    with pytest.raises(ConfigError, match=message):
        study.main(small, out=tmp_path)


def test_an_unknown_variant_is_an_error_before_anything_is_trained(small, tmp_path, monkeypatch):
    monkeypatch.setattr(study, "train", lambda *arguments: pytest.fail("trained"))
    with pytest.raises(ConfigError, match="no variants layr-norm; it has plain, layer-norm, learned-temperature"):
        study.main(small, variants=("layr-norm",), out=tmp_path)


def test_an_unknown_family_is_an_error_that_names_the_known_ones(small, tmp_path):
    with pytest.raises(ConfigError, match="no families reacher; it has point-robot, sparse-point-robot"):
        study.main(small, families=("reacher",), out=tmp_path)


def test_the_value_on_the_way_is_the_mean_over_environment_steps():
    runs = {"0": {"env_steps": [0, 10, 40], "value": [0.0, 1.0, 1.0]}}
    assert study.on_the_way(runs).tolist() == [(5 + 30) / 40]
    assert study.final(runs).tolist() == [1.0]


def run_of(*value, steps=(0, 10, 20)):
    return {"env_steps": list(steps), "value": list(value)}


def test_the_table_counts_the_seeds_ahead_of_the_plain_setting_with_the_same_seed():
    found = {
        "plain": {"0": run_of(0.0, 0.0, 1.0), "1": run_of(0.0, 0.5, 0.5)},
        "two-fold": {"1": run_of(0.0, 0.25, 0.75), "0": run_of(0.0, 0.25, 0.75), "2": run_of(0.0, 1.0, 1.0)},
    }
    assert study.table(found).splitlines()[2:] == [
        "| plain | 0.500 (0.500 to 0.500) | 0.312 (0.250 to 0.375) | |",
        "| two fold | 0.667 (0.500 to 1.000) | 0.458 (0.312 to 0.750) | +0.000, 1 of 2 |",
    ]


def test_the_table_gives_returns_in_whole_numbers_and_a_single_seed_without_a_range():
    found = {"plain": {"0": run_of(-1200.0, -400.4, -200.4)}, "worse": {"0": run_of(-1200.0, -600.0, -400.0)}}
    assert study.table(found).splitlines()[2:] == [
        "| plain | −300 | −550 | |",
        "| worse | −500 | −700 | −150, 0 of 1 |",
    ]


def test_a_variant_that_shares_no_seed_with_the_plain_setting_is_compared_with_nothing():
    found = {"plain": {"0": run_of(0.0, 0.0, 1.0)}, "other": {"3": run_of(0.0, 0.0, 1.0)}}
    assert study.table(found).splitlines()[3] == "| other | 0.500 | 0.250 | |"


def test_all_of_a_familys_files_are_found_the_plain_one_first_then_the_best_on_the_way(tmp_path):
    for name, value in (("b", 0.1), ("plain", 0.2), ("c", 0.3), ("a", 0.3)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"runs": {"0": run_of(0.0, value, value)}}))
    assert list(study.all_runs(tmp_path)) == ["plain", "a", "c", "b"]


def test_a_table_takes_its_place_on_a_page_and_leaves_the_rest():
    text = "a\n<!-- x -->\nold\n<!-- / -->\nb\n<!-- y -->\n<!-- / -->\n"
    assert with_table(text, "x", "| new |") == text.replace("old\n", "\n| new |\n\n")
    with pytest.raises(ConfigError, match="no place for z's table"):
        with_table(text, "z", "| new |")
    with pytest.raises(ConfigError, match="no place for x's table"):
        with_table(text.replace("<!-- / -->", "", 1), "x", "| new |")


PUBLISHED = sorted(path for path in (ROOT / "results" / "what-helps").iterdir() if path.is_dir())


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_the_page_has_the_figures_of_the_results(folder):
    page = (ROOT / "docs" / "what-helps.md").read_text()
    assert with_table(page, folder.name, study.table(study.all_runs(folder))) == page
    assert f"../results/what-helps/{folder.name}.png" in page


def test_the_published_study_reads():
    """Every variant of the file in the repository differs from its family's preset."""
    path = ROOT / "experiments" / "configs" / "what-helps.yaml"
    assert {"point-robot", "sparse-point-robot", "varying-pendulum", "varying-cartpole"} <= {
        family.name for family in study.read_study(path)
    }
