"""docs/settings.md agrees with the config classes, and names every setting once."""

import importlib.util
import re

from pearl.algorithms import ALGORITHMS
from pearl.config.documentation import ESSENTIAL, documented
from pearl.config.run import PEARLConfig, preset
from tests.support.processes import ROOT

PAGE = (ROOT / "docs" / "settings.md").read_text()
ROWS = re.findall(r"^\| `([\w.]+)` \|", PAGE.split("## Other algorithms")[0], re.MULTILINE)


def script():
    spec = importlib.util.spec_from_file_location("list_settings", ROOT / "docs" / "list_settings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_those_of_the_code():
    assert script().page(PAGE) == PAGE, "Write them anew: python docs/list_settings.py"
    assert sorted(re.findall(r"<!-- ([\w.]+) -->", PAGE)) == sorted(script().table_names())


def test_every_setting_of_pearls_stands_in_one_row():
    assert sorted(ROWS) == sorted(setting.name for setting in documented(PEARLConfig()))


def test_every_setting_of_every_algorithm_is_named():
    for algorithm in ALGORITHMS.values():
        for setting in documented(preset(algorithm.config, "")):
            assert f"| `{setting.name}` |" in PAGE


def test_every_setting_is_documented():
    for algorithm in ALGORITHMS.values():
        assert all(setting.documentation.endswith(".") for setting in documented(preset(algorithm.config, "")))


def test_a_dozen_settings_come_first_and_all_exist():
    assert len(ESSENTIAL) == 12
    assert set(ESSENTIAL) <= {setting.name for setting in documented(PEARLConfig())}
