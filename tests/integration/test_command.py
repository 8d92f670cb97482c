"""`python -m gateway run` with settings that cannot work: exit status 2, each mistake on its line, at once."""

import subprocess
from pathlib import Path

from tests.support.gateway_process import COMMAND
from tests.support.paths import ROOT
from tests.support.processes import environment


def run(**variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        COMMAND, env=environment(**variables), cwd=ROOT, capture_output=True, text=True, timeout=29, check=False
    )


def test_every_mistake_is_reported_at_once(tmp_path: Path) -> None:
    done = run(
        GATEWAY_MQTT_URL="http://gw:hunter2@broker",
        GATEWAY_FLEETS="fleet-a,fleet a",
        GATEWAY_INTAKE="0",
        GATEWAY_KEEPALIVE="soon",
        GATEWAY_HTTP_PORT="70000",
        GATEWAY_HTPT_HOST="127.0.0.1",
        GATEWAY_MQTT_PASSWORD_FILE=str(tmp_path / "missing"),
    )
    assert (done.returncode, done.stdout) == (2, "")
    places = {line.split(":")[0] for line in done.stderr.splitlines()}
    assert places == {
        *("GATEWAY_MQTT_URL", "GATEWAY_FLEETS", "GATEWAY_INTAKE", "GATEWAY_KEEPALIVE", "GATEWAY_HTTP_PORT"),
        *("GATEWAY_HTPT_HOST", "GATEWAY_MQTT_PASSWORD_FILE"),
    }
    assert len(done.stderr.splitlines()) == len(places)
    assert "hunter2" not in done.stderr


def test_a_state_folder_that_cannot_be_used_is_a_mistake(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    done = run(GATEWAY_STATE_DIR=str(file), GATEWAY_HTTP_PORT="off", AWS_REGION="eu-central-1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("state_dir ")


def test_no_region_is_a_mistake(tmp_path: Path) -> None:
    done = run(GATEWAY_STATE_DIR=str(tmp_path), GATEWAY_HTTP_PORT="off")
    assert (done.returncode, done.stdout) == (2, "")
    assert "region" in done.stderr
    assert "Traceback" not in done.stderr
