"""The engine as most tests of this folder begin with it."""

import pytest

from tests.support.engine import EngineHarness


@pytest.fixture
def harness() -> EngineHarness:
    """Registration is not asked for, the hello of DEVICE is known."""
    harness = EngineHarness()
    harness.restore_hello()
    return harness
