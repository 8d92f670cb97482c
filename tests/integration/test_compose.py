"""The image and compose.yaml: all of it in containers, from `devices add` to the last block of a model."""

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from testcontainers.core.image import DockerImage

from gateway.demo.brokers.address import free_ports
from tests.support import brokers, commands, needs, pages
from tests.support.compose_site import KINDS, ComposedSite, compose_command
from tests.support.locks import exclusive
from tests.support.paths import ROOT
from tests.support.payloads import EPOCH, LAYOUT, TAG
from tests.support.plain_device import PlainDevice

pytestmark = pytest.mark.container

MODEL = b"not a real model, but its bytes are counted and summed" * 40
SERVICES = {"mosquitto", "gateway", "manager"}
CONF = "/etc/mosquitto/mosquitto.conf"
END = "docker compose down --volumes"
OURS_AT_MOST = 135_000_000


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The image, built: on GATEWAY_TEST_BASE where that is set, else on the Dockerfile's own base.

    Workers that share this module build one image under a tag of each. A worker takes only its tag away, and builds
    while no other takes one away: the engine refuses to remove an image by its id while containers of another tag run.
    """
    if (reason := brokers.no_container()) is not None:
        needs.missing(reason)
    base = os.environ.get("GATEWAY_TEST_BASE")
    tag = f"gateway-test/edge-gateway:{os.getpid()}"
    arguments = {} if base is None else {"BASE": base}
    built = DockerImage(path=Path(), tag=tag, buildargs=arguments, network_mode="host", rm=True)
    engine = built.get_docker_client().client
    lock = tmp_path_factory.getbasetemp().parent / "image.lock"
    with exclusive(lock):
        built.build()
    yield tag
    with exclusive(lock):
        engine.images.remove(tag)
    engine.close()


@pytest.fixture(scope="module")
def composed(image: str) -> Iterator[ComposedSite]:
    command = compose_command()
    if command is None:
        needs.missing("neither `docker compose` nor docker-compose")
    with ComposedSite(command, image, brokers.IMAGE, f"gateway-test-{os.getpid()}") as site:
        yield site


@pytest.mark.parametrize("kind", KINDS)
def test_from_devices_add_to_the_last_block(composed: ComposedSite, kind: str) -> None:
    fleet = f"fleet-{kind}"
    with PlainDevice(composed.add(kind, fleet, "dev"), f"{fleet}/dev") as device:
        device.hello(TAG, LAYOUT, EPOCH)
        device.heartbeat(TAG, 89, [81344], [[4, 2, [12]]], None, None, 1)
        assert device.ack(1) == (0, "")
        report = composed.status(fleet)
        assert (report["accepted"], report["metrics"][0]["value"]) == (1, 81344)

        composed.manager("deploy", fleet, "dev", "kws=/dev/stdin", "--name", "deploy-7", stdin=MODEL)
        device.get(0, 2)
        found, ((_, _, ((handle, _, checksum, size, _),)),) = device.plan().content
        assert (handle, size) == ("kws", len(MODEL))
        assert device.ack(2) == (0, "")

        assert hashlib.sha1(file_of(device, found, size), usedforsecurity=False).digest() == checksum
        result = ["deploy-7", "SUCCESS", None, 9, 1, [["kws", "keyword-spotting", "1.0", 1, 1, 1]]]
        device.heartbeat(TAG, 209, None, None, found, result, 3)
        assert device.ack(3) == (0, "")
    assert composed.status(fleet)["results"][0]["result"]["DeploymentStatus"] == "SUCCESS"


def file_of(device: PlainDevice, plan: int, size: int) -> bytes:
    """The first file of a plan, by one read."""
    step = 512
    device.read(plan, 0, 0, step, -(-size // step))
    blocks = [device.block() for _ in range(0, size, step)]
    return b"".join(data for _, _, _, _, data in sorted(blocks, key=lambda block: int(block[2])))


def test_no_process_is_root_or_writes_to_its_root_file_system(composed: ComposedSite, image: str) -> None:
    running = composed.containers()
    assert SERVICES | {"init"} <= set(running)
    for each in running.values():
        host = each.attrs["HostConfig"]
        assert each.attrs["Config"]["User"] == "1883:1883"
        assert (host["ReadonlyRootfs"], host["CapDrop"], host["Privileged"]) == (True, ["ALL"], False)
        assert host["SecurityOpt"] == ["no-new-privileges:true"]


def test_only_the_listeners_of_devices_are_open_to_the_outside(composed: ComposedSite) -> None:
    published = {
        (name, port)
        for name, each in composed.containers().items()
        for port, bindings in each.attrs["NetworkSettings"]["Ports"].items()
        if bindings
    }
    assert published == {("mosquitto", "8883/tcp"), ("mosquitto", "8884/tcp")}


def test_the_gateway_and_the_manager_become_healthy(composed: ComposedSite) -> None:
    until_healthy(composed)


def until_healthy(composed: ComposedSite) -> None:
    deadline = time.monotonic() + 60
    while (found := health(composed)) != {"gateway": "healthy", "manager": "healthy"}:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


def health(composed: ComposedSite) -> dict[str, str]:
    states = {name: each.attrs["State"] for name, each in composed.containers().items()}
    return {name: state["Health"]["Status"] for name, state in states.items() if "Health" in state}


def test_the_doctor_finds_nothing_that_fails(composed: ComposedSite) -> None:
    """It reads the broker's files. As a device it comes to `localhost` here, where no broker is."""
    until_healthy(composed)
    report = json.loads(composed.compose("run", "--rm", "-T", "doctor", "doctor", "--conf", CONF, "--json"))
    levels = {each["check"]: each["level"] for each in report["checks"]}
    assert "fail" not in levels.values(), report
    assert (levels["isolation"], levels["reload"]) == ("pass", "pass"), report


def test_stored_data_survives_the_containers(composed: ComposedSite) -> None:
    """The plan, the hello and the registered device are there in new containers; nothing is sent again."""
    login = composed.add("password", "fleet-kept", "dev")
    with PlainDevice(login, "fleet-kept/dev") as device:
        device.hello(TAG, LAYOUT, EPOCH)
        device.heartbeat(TAG, 89, [1], None, 0, None, 1)
        assert device.ack(1) == (0, "")
        plan = device.plan()
    before = {name: each.id for name, each in composed.containers().items() if name in SERVICES}
    composed.compose("up", "-d", "--no-build", "--force-recreate")
    after = {name: each.id for name, each in composed.containers().items() if name in SERVICES}
    assert all(before[name] != after[name] for name in SERVICES)
    with PlainDevice(login, "fleet-kept/dev") as device:
        assert device.plan().content == plan.content
        device.heartbeat(TAG, 149, [2], None, None, None, 2)
        assert device.ack(2, within=30) == (0, "")
    assert composed.status("fleet-kept")["accepted"] == 2


def test_a_stop_is_graceful(composed: ComposedSite) -> None:
    """Of what has started: while Python still reads its modules, the first process of a container ignores SIGTERM."""
    until_healthy(composed)
    composed.compose("stop", *sorted(SERVICES))
    ends = {name: each.attrs["State"]["ExitCode"] for name, each in composed.containers().items() if name in SERVICES}
    composed.compose("up", "-d", "--no-build")
    assert ends == dict.fromkeys(SERVICES, 0)


def test_the_image_is_small_and_has_no_pip(image: str) -> None:
    engine = docker.from_env()
    history = engine.images.get(image).history()
    ours = [layer["Size"] for layer in history if "COPY" in layer["CreatedBy"] or "install -d" in layer["CreatedBy"]]
    assert 0 < sum(ours) < OURS_AT_MOST
    script = "import importlib.util as u; print(u.find_spec('pip'), u.find_spec('boto3') is None)"
    output = engine.containers.run(image, ["-c", script], entrypoint="python", read_only=True, remove=True)
    engine.close()
    assert output.decode().split() == ["None", "False"]


CONTEXT = ("compose.yaml", "Dockerfile", ".dockerignore", *"pyproject.toml constraints.txt README.md LICENSE".split())


@pytest.mark.parametrize("page", ["README.md", "mosquitto/README.md"])
def test_a_site_by_the_lines_of_a_page(image: str, tmp_path: Path, page: str) -> None:
    """All but the end, in a folder with what they name; only image, project and ports are others."""
    command = compose_command()
    if command is None:
        needs.missing("neither `docker compose` nor docker-compose")
    for name in CONTEXT:
        shutil.copy(ROOT / name, tmp_path)
    for name in ("mosquitto", "gateway", "device_sdk"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "model.tflite").write_bytes(MODEL)
    ports = free_ports(2)
    variables = os.environ | {
        "COMPOSE_PROJECT_NAME": f"gateway-test-page-{os.getpid()}",
        "GATEWAY_IMAGE": image,
        "MOSQUITTO_IMAGE": brokers.IMAGE,
        "PASSWORD_PORT": f"127.0.0.1:{ports[0]}",
        "CERTIFICATE_PORT": f"127.0.0.1:{ports[1]}",
        "BUILD_NETWORK": "host",
    }
    if base := os.environ.get("GATEWAY_TEST_BASE"):
        variables["BASE"] = base

    def run(line: str) -> str:
        shell = ["bash", "-euo", "pipefail", "-c", line.replace("docker compose", " ".join(command))]
        done = subprocess.run(shell, cwd=tmp_path, env=variables, capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        return done.stdout.decode()

    blocks = [block for block in pages.page(page).blocks() if "docker compose" in block.text and END not in block.text]
    status = ""
    try:
        for block in blocks:
            if "<site.tar" in block.text:  # a backup is restored where nothing is left
                run(END)
            for line in commands.lines(block.text):
                run(line)
        status = run("docker compose exec -T manager edge-gateway manager status --json")
    finally:
        run(END)
    (found,) = json.loads(status)
    assert (found["fleet"], found["device"]) == ("fleet-a", "dev-1")
    assert [each["DeploymentName"] for each in found["deployments"]] == ["wake-word-1"]
