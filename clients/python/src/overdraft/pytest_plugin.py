"""A fixture for tests of software that uses this package: `overdraft_stack`, a stack in memory."""

from __future__ import annotations

import pytest

from overdraft.testing import FakeStack


@pytest.fixture
def overdraft_stack() -> FakeStack:
    """A stack in memory, with nothing sold yet; see `overdraft.testing`."""
    return FakeStack()
