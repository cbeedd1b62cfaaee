import pytest
import torch


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Tests that draw without a generator of their own draw the same in every run."""
    torch.manual_seed(0)
