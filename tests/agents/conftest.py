from typing import Any

import pytest
import torch

from tests.support.agent_tester import MakeAgent


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Tests that draw without a generator of their own draw the same in every run."""
    torch.manual_seed(0)


@pytest.fixture
def agent(make: MakeAgent) -> Any:
    """An agent of the kind that the file's fixture ``make`` makes."""
    return make(0)
