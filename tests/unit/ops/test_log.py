"""The log: JSON for machines, text for people, no control character of a device and no secret."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from gateway.config import Settings
from gateway.ops import log


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def own_configuration() -> Iterator[None]:
    """structlog and logging are configured for the process: restore them after a test."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("form", "stream", "is_json"),
    [
        ("auto", io.StringIO, True),
        ("auto", Terminal, False),
        ("json", Terminal, True),
        ("human", io.StringIO, False),
    ],
)
def test_the_form_follows_the_stream_unless_it_is_set(form: str, stream: type[io.StringIO], is_json: bool) -> None:
    target = stream()
    log.configure_log("info", form, target)
    structlog.get_logger().info("hello", device="fleet/dev")
    line = target.getvalue()
    assert line.startswith("{") is is_json
    assert "fleet/dev" in line


def test_json_has_time_level_and_fields() -> None:
    target = io.StringIO()
    log.configure_log("info", "json", target)
    structlog.get_logger().warning("rejected", code=4)
    entry = json.loads(target.getvalue())
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {"event": "rejected", "level": "warning", "code": 4}


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_is_the_least_that_is_logged(level: str, count: int) -> None:
    target = io.StringIO()
    log.configure_log(level, "json", target)
    logger = structlog.get_logger()
    for log_line in (logger.debug, logger.info, logger.warning, logger.error):
        log_line("x")
    assert len(target.getvalue().splitlines()) == count


def test_a_device_cannot_write_to_the_terminal() -> None:
    target = io.StringIO()
    log.configure_log("info", "human", target)
    structlog.get_logger().info("rejected", detail="\x1b[2Jgone\nforged line")
    assert "\x1b[2J" not in target.getvalue()
    assert len(target.getvalue().splitlines()) == 1


@pytest.mark.parametrize("form", ["human", "json"])
def test_a_traceback_shows_no_local_variable_and_settings_no_secret(form: str) -> None:
    target = io.StringIO()
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


def test_libraries_log_in_the_same_form_from_warning_on() -> None:
    target = io.StringIO()
    log.configure_log("debug", "json", target)
    logging.getLogger("asyncio").info("not this")
    logging.getLogger("asyncio").error("task %s died", "x")
    entry = json.loads(target.getvalue())
    assert (entry["event"], entry["level"], entry["logger"]) == ("task x died", "error", "asyncio")
