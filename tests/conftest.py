"""Every file and every test starts from the same random numbers; fixtures for the files that ask for them by name."""

from collections.abc import Iterator

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("busy-machine", parent=hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("busy-machine")


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Weights drawn while a file is imported are the same in every run, whichever files are run beside it."""
    if isinstance(collector, pytest.Module):
        seed_global_generators()


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    """Weights drawn in a test are the same in every run: none fails once in a thousand, for weights that are all 0."""
    seed_global_generators()


def seed_global_generators() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Let PyTorch compute in one thread: networks as small as the tests' gain nothing from more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
