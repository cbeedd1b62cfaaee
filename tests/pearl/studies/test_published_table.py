"""The table that compares the defaults with the published runs of the presets."""

from pathlib import Path

import numpy as np

from pearl.config.run import PEARLConfig
from pearl.studies.published_table import PUBLISHED, published_table
from pearl.studies.results import RunRecord, Setting, store_run

UNTUNED = Setting("one-setting", "untuned", "pearl")


def store(
    folder: Path, setting: Setting, seed: int, steps: list[float], returns: list[float], **more: list[float]
) -> None:
    curve = more | {"env_steps": steps, "test/return_ep1": [0.0] * len(steps), "test/return_ep10": returns}
    record = RunRecord(
        commit="0" * 40,
        config={},
        curve={name: np.array(values, np.float64) for name, values in curve.items()},
        measured={"references": {"random": [-12.0, -8.0]}},
    )
    store_run(folder, setting, PEARLConfig(), seed, record)


def test_both_are_read_where_the_shorter_run_ends_and_a_share_is_of_the_way_from_random(tmp_path: Path) -> None:
    store(tmp_path / "reach", PUBLISHED, 0, [0, 2000, 4000], [-10, -2, 100])
    for seed, end in enumerate([-5.0, -3.0]):
        store(tmp_path / "reach", UNTUNED, seed, [0, 1000, 2000], [-10, -10, end])
    store(tmp_path / "alone", UNTUNED, 0, [0, 2000], [-10, -4])
    store(tmp_path / "published-alone", PUBLISHED, 0, [0, 2000], [-10, -4])
    folders = [tmp_path / name for name in ("alone", "published-alone", "reach", "without-results")]
    assert published_table(folders, UNTUNED).splitlines()[2:] == [
        "| reach | 2 000 | −10.0 | −2.0 | −4.0 (−5.0 to −3.0), 2 | 0.75 | 0.38 | 1.67 | 2 000, – | –, – |"
    ]


def test_large_returns_are_whole_numbers(tmp_path: Path) -> None:
    store(tmp_path / "swing", PUBLISHED, 0, [0, 1000], [-1200.4, -160.2])
    store(tmp_path / "swing", UNTUNED, 0, [0, 1000], [-1200.4, -150.7])
    assert published_table([tmp_path / "swing"], UNTUNED).splitlines()[2:] == [
        "| swing | 1 000 | −10 | −160 | −151, 1 | 0.94 | 0.99 | −0.07 | 0, 0 | –, – |"
    ]


def test_the_steps_to_the_presets_end_are_those_of_the_mean_over_seeds(tmp_path: Path) -> None:
    store(tmp_path / "reach", PUBLISHED, 0, [0, 50_000, 100_000], [-10, -10, 10])
    store(tmp_path / "reach", UNTUNED, 0, [0, 40_000, 100_000], [-10, 10, 10])
    store(tmp_path / "reach", UNTUNED, 1, [0, 80_000, 100_000], [-10, 8, 10])
    (row,) = published_table([tmp_path / "reach"], UNTUNED).splitlines()[2:]
    assert row.split(" | ")[8] == "98 000, 80 000"  # 95 % of the way is 9: (10 + 8) / 2 after 80 000 steps


def test_the_worst_tasks_are_a_mean_over_seeds_where_the_shorter_run_ends_if_every_run_logged_them(
    tmp_path: Path,
) -> None:
    for name in ("both", "one"):
        store(tmp_path / name, PUBLISHED, 0, [0, 2000, 4000], [-10, -2, -1], **{"test/cvar": [-20.0, -8.0, -6.0]})
    for seed, worst in enumerate([-7.0, -9.0]):
        store(tmp_path / "both", UNTUNED, seed, [0, 2000], [-10, -2], **{"test/cvar": [float("nan"), worst]})
    store(tmp_path / "one", UNTUNED, 0, [0, 2000], [-10, -2])
    store(tmp_path / "one", UNTUNED, 1, [0, 2000], [-10, -2], **{"test/cvar": [-20.0, -7.0]})
    rows = published_table([tmp_path / name for name in ("both", "one")], UNTUNED).splitlines()[2:]
    assert [row.split(" | ")[-1] for row in rows] == ["−8.0, −8.0 |", "−8.0, – |"]
