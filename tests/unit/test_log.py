"""The log: JSON for machines, text for people, no control character of a device and no secret."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from gateway import log
from gateway.config import Settings
from gateway.stderr import StderrWriter


class Target(StderrWriter):
    """Writes to a file, which a test reads. `terminal`: it passes for one."""

    def __init__(self, file: Path, terminal: bool = False) -> None:
        super().__init__(os.open(file, os.O_WRONLY | os.O_CREAT))
        self._file, self._terminal = file, terminal

    def isatty(self) -> bool:
        return self._terminal

    def getvalue(self) -> str:
        assert self.drain(), "it is not written"
        return self._file.read_text("utf-8")


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    made = Target(tmp_path / "log")
    yield made
    made.drain()
    os.close(made.fileno())


@pytest.fixture(autouse=True)
def own_configuration() -> Iterator[None]:
    """structlog and logging are configured for the process: restore them after a test."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    configured = structlog.get_config()
    yield
    root.handlers[:], root.level = before
    structlog.configure(**configured)


@pytest.mark.parametrize(
    ("form", "terminal", "is_json"),
    [("auto", False, True), ("auto", True, False), ("json", True, True), ("human", False, False)],
)
def test_the_form_follows_the_stream_unless_it_is_set(form: str, terminal: bool, is_json: bool, target: Target) -> None:
    target._terminal = terminal
    log.configure_log("info", form, target)
    structlog.get_logger().info("hello", device="fleet/dev")
    line = target.getvalue()
    assert line.startswith("{") is is_json
    assert "fleet/dev" in line


@pytest.mark.parametrize(
    ("environment", "has_colors"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_a_terminal_gets_colors_unless_the_environment_wants_none(
    environment: dict[str, str], has_colors: bool, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ({"NO_COLOR": "", "TERM": "xterm"} | environment).items():
        monkeypatch.setenv(name, value)
    target._terminal = True
    log.configure_log("info", "auto", target)
    structlog.get_logger().info("hello")
    assert ("\x1b[" in target.getvalue()) is has_colors


def test_json_has_time_level_and_fields(target: Target) -> None:
    log.configure_log("info", "json", target)
    structlog.get_logger().warning("rejected", code=4)
    entry = json.loads(target.getvalue())
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {"event": "rejected", "level": "warning", "code": 4}


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_is_the_least_that_is_logged(level: str, count: int, target: Target) -> None:
    log.configure_log(level, "json", target)
    logger = structlog.get_logger()
    for log_line in (logger.debug, logger.info, logger.warning, logger.error):
        log_line("x")
    assert len(target.getvalue().splitlines()) == count


def test_a_device_cannot_write_to_the_terminal(target: Target) -> None:
    log.configure_log("info", "human", target)
    structlog.get_logger().info("rejected", detail="\x1b[2Jgone\nforged line")
    assert "\x1b[2J" not in target.getvalue()
    assert len(target.getvalue().splitlines()) == 1


@pytest.mark.parametrize("form", ["human", "json"])
def test_a_traceback_shows_no_local_variable_and_settings_no_secret(form: str, target: Target) -> None:
    log.configure_log("info", form, target)

    def fail(password: str) -> None:
        raise RuntimeError("broken")

    try:
        fail("hunter2-" + "7f3a")
    except RuntimeError:
        settings = Settings(mqtt_url="mqtt://gw:hunter3@broker")  # type: ignore[arg-type]
        structlog.get_logger().exception("stopped", settings=settings, broker=settings.broker)
    assert "RuntimeError: broken" in target.getvalue()
    assert "hunter2-7f3a" not in target.getvalue()
    assert "hunter3" not in target.getvalue()


def test_libraries_log_in_the_same_form_from_warning_on(target: Target) -> None:
    log.configure_log("debug", "json", target)
    logging.getLogger("asyncio").info("not this")
    logging.getLogger("asyncio").error("task %s died", "x")
    entry = json.loads(target.getvalue())
    assert (entry["event"], entry["level"], entry["logger"]) == ("task x died", "error", "asyncio")


class Unrenderable:
    def __repr__(self) -> str:
        raise ValueError("no")


@pytest.mark.parametrize("form", ["human", "json"])
def test_an_event_that_cannot_be_rendered_raises_nothing_and_is_reported(form: str, target: Target) -> None:
    log.configure_log("info", form, target)
    logger = structlog.get_logger()
    logger.info("first", value=Unrenderable())
    logger.info("second %d", "x")
    logger.error()
    logging.getLogger("asyncio").error("third %d", "x")
    logging.getLogger("asyncio").error("fourth %s", Unrenderable())
    lines = target.getvalue().splitlines()
    assert len(lines) == 5
    assert all("internal error: a log event could not be rendered; please report it" in line for line in lines)
    assert [word for word in ("first", "second %d", "third %d", "fourth %s") if word not in target.getvalue()] == []


def test_a_stream_that_fails_raises_nothing(tmp_path: Path) -> None:
    full = StderrWriter(os.open("/dev/full", os.O_WRONLY))
    log.configure_log("info", "json", full)
    structlog.get_logger().error("x")
    logging.getLogger("asyncio").error("x")
    assert full.drain()
    assert full.lost == 2
    os.close(full.fileno())
