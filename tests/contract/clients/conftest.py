"""A manager for clients that nobody here wrote, each as its own documentation sets it up: by AWS's environment."""

from collections.abc import Iterator

import pytest

from gateway.manager import Place
from tests.support.manager_process import ACCESS, SECRET
from tests.support.processes import environment
from tests.support.served_manager import ServedManager


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedManager]:
    with ServedManager(Place(tmp_path_factory.mktemp("manager"))) as served:
        yield served


@pytest.fixture(scope="module")
def settings(served: ServedManager) -> dict[str, str]:
    """The environment of a client: AWS's settings, and nothing of this machine's."""
    keys = {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "eu-west-1"}
    return environment(AWS_ENDPOINT_URL=served.url, AWS_REGION="eu-west-1", AWS_PAGER="", **keys)
