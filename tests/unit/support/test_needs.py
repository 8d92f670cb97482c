"""A test without what it needs: skipped, in CI failed, and listed at the end of a run."""

from pathlib import Path

import pytest

from tests.support import needs


@pytest.fixture(autouse=True)
def debian(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "INSTALL", "apt-get install")
    monkeypatch.delenv("CI", raising=False)


def test_what_is_missing_skips_a_test_and_names_the_command_that_installs_it() -> None:
    with pytest.raises(pytest.skip.Exception, match=r"^no openssl here: apt-get install openssl$"):
        needs.missing("no openssl here", "openssl")


def test_in_ci_what_is_missing_fails_a_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no openssl here"):
        needs.missing("no openssl here")


def test_a_program_is_found_off_the_path_of_a_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    assert needs.find("tool") is None
    monkeypatch.setattr("gateway.demo.brokers.discovery._ADMIN_PATH", str(tmp_path))
    assert needs.program("tool") == str(tool)


def test_the_end_of_a_run_counts_each_reason_once_and_gives_one_command() -> None:
    reasons = ["a: apt-get install mosquitto", "b: apt-get install docker.io", "a: apt-get install mosquitto", "root"]
    assert needs.lacks(reasons) == [
        "    2 skipped: a: apt-get install mosquitto",
        "    1 skipped: b: apt-get install docker.io",
        "    1 skipped: root",
        "To run those too: apt-get install docker.io mosquitto",
    ]


def test_where_nothing_is_missing_nothing_is_printed() -> None:
    assert needs.lacks([]) == []
    assert needs.lacks(["root"]) == ["    1 skipped: root"]
