"""The example of the C client beside a broker, the gateway and the Edge Manager: from its hello to a result."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.testbed import Testbed, gateway_before
from tests.support.arrivals import DEADLINE_S
from tests.support.manager_process import Manager
from tests.support.needs import program
from tests.support.paths import ROOT
from tests.support.polling import until
from tests.support.processes import running

CLIENT = ROOT / "device_sdk" / "c"
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-Wshadow"]
SANITIZED = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
SMALL = b"not a real model, but its bytes are summed. " * 300
LARGE = os.urandom(1_500_000)


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, compiled with the sanitizers, with a heartbeat each second."""
    made = tmp_path_factory.mktemp("c") / "device"
    source = CLIENT / "examples" / "posix.c"
    command: list[str | Path] = [program("gcc"), *STRICT, *SANITIZED, "-DINTERVAL=1", "-I", CLIENT, source, "-o", made]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return made


@contextmanager
def device(example: Path, testbed: Testbed, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    at = testbed.broker.address
    login = testbed.broker.add_user(f"{testbed.fleet}/d")
    command: list[str | Path] = [example, at.host, str(at.device_port), testbed.fleet, "d", login.password]
    with (folder / "log").open("a") as log, running(command, cwd=folder, stdout=log, stderr=log) as process:
        yield process
    assert "runtime error" not in (said := (folder / "log").read_text()), said
    assert "Sanitizer" not in said, said


def test_the_posix_example_from_hello_to_results_over_a_power_cut(
    example: Path, testbed: Testbed, manager: Manager, tmp_path: Path
) -> None:
    small, large, folder = tmp_path / "small", tmp_path / "large", tmp_path / "flash"
    small.write_bytes(SMALL)
    large.write_bytes(LARGE)
    folder.mkdir()
    manager.run("register", testbed.fleet, "d")
    gateway_before(manager, testbed)

    def said() -> str:
        return (folder / "log").read_text()

    def results() -> dict[str, Any]:
        kept = manager.state_of(testbed.fleet)["results"]
        return {each["result"]["DeploymentName"]: each["result"] for each in kept}

    with device(example, testbed, folder) as process:
        until(lambda: manager.state_of(testbed.fleet)["agent_version"] == "1.0.0", said)
        assert "uptime" in {metric["name"] for metric in manager.state_of(testbed.fleet)["metrics"]}

        manager.run("deploy", testbed.fleet, "d", f"kws={small}", "--name", "deploy-1")
        until(lambda: "deploy-1" in results(), said)
        assert (folder / "kws").read_bytes() == SMALL

        manager.run("deploy", testbed.fleet, "d", f"kws={large}", "--name", "deploy-2")
        until(lambda: (folder / "kws.new").exists() and (folder / "kws.new").stat().st_size > 10_000, said)
        process.kill()
        process.wait(DEADLINE_S)
        assert (folder / "kws.new").stat().st_size < len(LARGE)
        assert (folder / "kws").read_bytes() == SMALL, "the old model stays until the new one is verified"
    with device(example, testbed, folder):
        until(lambda: "deploy-2" in results(), said)
    assert (folder / "kws").read_bytes() == LARGE
    starts = [int(start) for start in re.findall(r"kws.new: from byte (\d+) on", said())]
    assert starts[0] == starts[1] == 0
    assert starts[2] > 10_000, "it went on where the power failed"
    for result in results().values():
        assert result["DeploymentStatus"] == "SUCCESS"
        (model,) = result["DeploymentModels"]
        assert (model["ModelHandle"], model["State"], model["Status"]) == ("kws", "DEPLOY", "SUCCESS")
