"""A family's results: what is stored is read back, by several writers at the same time, and damage is named."""

import json
import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest

from pearl.config.reading import ConfigError
from pearl.config.run import PEARLConfig, RL2Config
from pearl.files.lock import FolderInUseError, FolderLock
from pearl.runs.folder import RunError
from pearl.studies import results
from pearl.studies.results import (
    CURVES,
    PLAIN,
    RUNS,
    FamilyResults,
    RunRecord,
    Setting,
    check_settings,
    read_results,
    settings_of,
    store_run,
    store_specialists,
)
from tests.support.runs.run_records import assert_same_runs

SETTING = Setting("comparison", PLAIN, "pearl")
CONFIG = PEARLConfig()


def record(value=0.1, *, columns=("test/return_ep1",), config=CONFIG):
    curve = {"env_steps": np.array([0.0, 100.0]), "gradient_steps": np.array([0.0, 7.0])}
    curve |= {name: np.array([np.nan, value]) for name in columns}
    return RunRecord(commit="a" * 40, config=settings_of(config), curve=curve, measured={"returns": [[value, 2.5]]})


def test_a_folder_without_results_has_none(tmp_path):
    assert read_results(tmp_path) == read_results(tmp_path / "missing") == FamilyResults()


def test_what_is_stored_is_read_back_to_the_last_digit(tmp_path):
    first, second = record(0.1 + 0.2), record(-1e-17, columns=("test/return_ep1", "test/score", "train/kl"))
    store_run(tmp_path / "family", SETTING, CONFIG, 10, first)
    store_run(tmp_path / "family", SETTING, CONFIG, 2, second)
    config = RL2Config()
    store_run(tmp_path / "family", Setting("s", 'a, "b"', "rl2"), config, 0, record(config=config))
    found = read_results(tmp_path / "family")
    assert list(found.runs) == [SETTING, ("s", 'a, "b"', "rl2")]
    assert_same_runs(found.runs[SETTING], {2: second, 10: first})


def test_the_files_are_for_readers_too(tmp_path):
    store_run(tmp_path, SETTING, CONFIG, 3, record(0.25))
    assert (tmp_path / CURVES).read_text().splitlines() == [
        "study,setting,algorithm,seed,commit,env_steps,gradient_steps,test/return_ep1",
        f"comparison,plain,pearl,3,{'a' * 40},0,0,",
        f"comparison,plain,pearl,3,{'a' * 40},100,7,0.25",
    ]
    assert '"returns": [[0.25, 2.5]]' in (tmp_path / RUNS).read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == [CURVES, RUNS]


def test_a_stored_run_stays_unless_it_is_to_be_replaced(tmp_path):
    store_run(tmp_path, SETTING, CONFIG, 0, record(1.0))
    store_run(tmp_path, SETTING, CONFIG, 1, record(2.0))
    store_run(tmp_path, SETTING, CONFIG, 0, record(3.0))
    assert_same_runs(read_results(tmp_path).runs[SETTING], {0: record(1.0), 1: record(2.0)})
    store_run(tmp_path, SETTING, CONFIG, 0, record(3.0), replace=True)
    assert_same_runs(read_results(tmp_path).runs[SETTING], {0: record(3.0), 1: record(2.0)})


def test_runs_with_other_settings_are_not_mixed(tmp_path):
    store_run(tmp_path, SETTING, CONFIG, 0, record())
    check_settings(tmp_path, SETTING, CONFIG)
    check_settings(tmp_path, SETTING._replace(name="other"), RL2Config())
    other = PEARLConfig(evaluation=type(CONFIG.evaluation)(interval=7))
    message = r"runs\.json holds runs with other settings \(comparison, plain, pearl\)\. Remove them from its list"
    with pytest.raises(ConfigError, match=message):
        check_settings(tmp_path, SETTING, other)
    with pytest.raises(ConfigError, match=message):
        store_run(tmp_path, SETTING, other, 1, record(config=other))
    assert list(read_results(tmp_path).runs[SETTING]) == [0]


def test_settings_that_no_longer_read_are_other_settings(tmp_path):
    store_run(tmp_path, SETTING, CONFIG, 0, record())
    document = json.loads((tmp_path / RUNS).read_text())
    document["runs"][0]["config"] = {"agent": {"gone": 1}}
    (tmp_path / RUNS).write_text(json.dumps(document))
    with pytest.raises(ConfigError, match="holds runs with other settings"):
        check_settings(tmp_path, SETTING, CONFIG)


def test_settings_that_were_moved_are_read_under_their_present_names(tmp_path):
    store_run(tmp_path, SETTING, CONFIG, 0, record())
    document = json.loads((tmp_path / RUNS).read_text())
    document["runs"][0]["config"] = {"training": {"max_context": CONFIG.training.context.max_length}}
    (tmp_path / RUNS).write_text(json.dumps(document))
    check_settings(tmp_path, SETTING, CONFIG)


def test_a_run_removed_from_the_list_as_the_error_says_is_gone_and_its_curve_with_the_next_write(tmp_path):
    store_run(tmp_path, SETTING, CONFIG, 0, record(1.0))
    store_run(tmp_path, SETTING, CONFIG, 1, record(2.0))
    document = json.loads((tmp_path / RUNS).read_text())
    document["runs"].pop(0)
    (tmp_path / RUNS).write_text(json.dumps(document))
    assert list(read_results(tmp_path).runs[SETTING]) == [1]
    store_run(tmp_path, SETTING, CONFIG, 2, record(3.0))
    assert {line.split(",")[3] for line in (tmp_path / CURVES).read_text().splitlines()[1:]} == {"1", "2"}


def test_a_writer_that_dies_between_the_two_files_damages_nothing(tmp_path, monkeypatch):
    store_run(tmp_path, SETTING, CONFIG, 0, record(1.0))
    write_text = results.write_text
    written: list[Path] = []

    def dying(path, text):
        if written:
            raise KeyboardInterrupt
        written.append(path)
        write_text(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(results, "write_text", dying)
        with pytest.raises(KeyboardInterrupt):
            store_run(tmp_path, SETTING, CONFIG, 1, record(2.0))
    assert written == [tmp_path / CURVES]
    assert_same_runs(read_results(tmp_path).runs[SETTING], {0: record(1.0)})
    store_run(tmp_path, SETTING, CONFIG, 1, record(3.0))
    assert_same_runs(read_results(tmp_path).runs[SETTING], {0: record(1.0), 1: record(3.0)})


def store_many(folder, algorithm, start):
    start.wait()
    for seed in range(8):
        store_run(folder, SETTING._replace(algorithm=algorithm), CONFIG, seed, record(float(seed)))
        store_specialists(folder, lambda held: {"count": (held or {"count": 0})["count"] + 1})


def test_two_processes_that_write_to_one_family_lose_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    writers = [context.Process(target=store_many, args=(tmp_path, name, start)) for name in ("pearl", "maml")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
        assert writer.exitcode == 0
    found = read_results(tmp_path)
    for name in ("pearl", "maml"):
        runs = {seed: record(float(seed)) for seed in range(8)}
        assert_same_runs(found.runs[SETTING._replace(algorithm=name)], runs)
    assert found.specialists == {"count": 16}


def test_a_writer_waits_for_another_one_and_gives_up_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "LONGEST_WAIT_S", 0.2)
    with FolderLock(tmp_path):
        begun = time.monotonic()
        with pytest.raises(FolderInUseError, match="is in use by process"):
            store_run(tmp_path, SETTING, CONFIG, 0, record())
        assert time.monotonic() - begun >= 0.2
    assert not (tmp_path / RUNS).exists()
    store_run(tmp_path, SETTING, CONFIG, 0, record())


def test_specialists_and_runs_leave_each_other_as_they_are(tmp_path):
    figures = {"specialist": "SAC", "specialist_curves": [[0.1, 1.0 / 3.0]]}
    store_specialists(tmp_path, lambda held: figures if held is None else pytest.fail("held"))
    store_run(tmp_path, SETTING, CONFIG, 0, record())
    changed = store_specialists(tmp_path, lambda held: {**(held or {}), "specialist": "PPO"})
    found = read_results(tmp_path)
    assert found.specialists == changed == {**figures, "specialist": "PPO"}
    assert_same_runs(found.runs[SETTING], {0: record()})


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        (RUNS, lambda path: path.write_text("{"), r"Cannot read .*runs\.json"),
        (RUNS, lambda path: path.write_text('{"runs": [{"study": "s"}]}'), "damaged results.*'setting'"),
        (CURVES, lambda path: path.unlink(), r"Cannot read .*curves\.csv.*Restore it from a copy"),
        (CURVES, lambda path: path.write_text("study,seed\ns,1\n"), r"Cannot read .*curves\.csv.*'setting'"),
        (CURVES, lambda path: path.write_text(path.read_text().replace("100,7", "100,x")), r"curves\.csv.*'x'"),
        (CURVES, lambda path: path.write_text(path.read_text().splitlines()[0] + "\n"), "damaged results"),
    ],
)
def test_damage_is_named_and_not_overwritten(tmp_path, name, damage, message):
    store_run(tmp_path, SETTING, CONFIG, 0, record())
    damage(tmp_path / name)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RunError, match=message):
        store_run(tmp_path, SETTING, CONFIG, 1, record())
    assert {path: path.read_bytes() for path in Path(tmp_path).iterdir()} == before
