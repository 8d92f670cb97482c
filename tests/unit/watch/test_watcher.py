"""What may be watched: checked before anything connects."""

import pytest

from gateway.config import Settings
from gateway.errors import ConfigError
from gateway.watch import WatchOptions, watch


@pytest.mark.parametrize("target", ["fleet a", "f/d/hb", "f/+", "#", "/d", "f/", ""])
async def test_a_name_that_cannot_be_one_is_a_mistake(target: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await watch(Settings(), WatchOptions(target))
    assert str(caught.value).startswith(f"{target!r} is not FLEET or FLEET/DEVICE: ")
