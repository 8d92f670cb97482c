"""`python -m gateway run` with settings that cannot work: exit status 2, each mistake on its line, at once."""

import os
import subprocess
from pathlib import Path

from gateway.storage import StateStore
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
    page = (ROOT / "gateway/README.md").read_text("utf-8")
    *_, settings = done.stderr.partition(
        "AWS settings: no region; set AWS_REGION or AWS_PROFILE. For the embedded Edge Manager: "
    )
    assert len(settings.split()) == 4
    assert all(each in page for each in settings.split()), "as the page says"


def test_a_second_gateway_says_that_one_runs(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    done = run(GATEWAY_STATE_DIR=str(tmp_path), GATEWAY_HTTP_PORT="off", AWS_REGION="eu-central-1")
    store.close()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"state_dir {tmp_path}: a gateway runs with it (process {os.getpid()} on ")
    assert done.stderr.count("\n") == 1
