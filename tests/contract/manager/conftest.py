"""Managers that serve, as the tests of this folder need them."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.manager_process import ACCESS, SECRET, Manager


@pytest.fixture(scope="module")
def make_manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Manager]]:
    """Makes managers that serve, and ends them."""
    made: list[Manager] = []

    def make(*options: str) -> Manager:
        manager = Manager(tmp_path_factory.mktemp("manager") / "data", list(options))
        made.append(manager)
        manager.start()
        return manager

    yield make
    for manager in made:
        manager.stop()


@pytest.fixture(scope="module")
def manager(make_manager: Callable[..., Manager]) -> Manager:
    """One that checks no signature, with the device f/d registered."""
    made = make_manager()
    made.run("register", "f", "d")
    return made


@pytest.fixture(scope="module")
def guarded(make_manager: Callable[..., Manager], tmp_path_factory: pytest.TempPathFactory) -> Manager:
    """One that checks signatures, with the device f/d registered."""
    secret = tmp_path_factory.mktemp("secret") / "key"
    secret.write_text(SECRET + "\n")
    made = make_manager("--access-key", ACCESS, "--secret-key-file", str(secret))
    made.run("register", "f", "d")
    return made
