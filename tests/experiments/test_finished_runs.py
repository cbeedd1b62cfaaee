"""The scripts that read a finished run refuse what a stranger has altered in it."""

import shutil

import adapt
import evaluate
import pytest

from tests.support.runs.script_runs import assert_one_error_names, script_of


@pytest.fixture(params=[adapt.main, evaluate.main], ids=["adapt", "evaluate"])
def script(request, capsys):
    return script_of(request.param, capsys)


def test_a_damaged_checkpoint_is_named(script, damaged):
    folder, file = damaged
    code, printed = script(folder)
    assert code == 2
    assert_one_error_names(file, printed)


def test_a_folder_of_pictures_that_is_a_link_is_refused(script, copied, tmp_path):
    shutil.rmtree(copied / "plots")
    (copied / "plots").symlink_to(tmp_path)
    before = sorted(tmp_path.iterdir())
    code, printed = script(copied)
    assert code == 2
    assert f"{copied}/plots is a link to {tmp_path}" in printed
    assert not (copied / "evaluation.json").exists()
    assert sorted(tmp_path.iterdir()) == before
