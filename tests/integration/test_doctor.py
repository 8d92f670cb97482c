"""`edge-gateway doctor`: a good site passes, each that is broken in one way is reported for that alone.

The good site is the shipped files as `devices init` completes them, and the embedded manager with signatures.
"""

import signal
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from gateway.demo.brokers import rumqttd
from gateway.demo.brokers.address import free_ports
from gateway.demo.brokers.mosquitto import Mosquitto
from gateway.demo.brokers.rumqttd import Rumqttd
from gateway.provisioning.certificate_authority import NOT_AFTER, CertificateAuthority
from gateway.provisioning.site import Site
from tests.integration.broken_services import DOCTOR, Altered, Report, endpoint, examined, forgetful, tls_listener
from tests.integration.site_files import DOCTORS, acl, plain_board, write
from tests.integration.testbed import Testbed
from tests.support.gateway_process import settings
from tests.support.host_names import DEAD, NAME, black_hole, command
from tests.support.manager_process import ACCESS, SECRET, Manager
from tests.support.needs import missing, program
from tests.support.paths import ROOT
from tests.support.payloads import EPOCH, LAYOUT
from tests.support.polling import until
from tests.support.processes import environment
from tests.support.site import HOST

PASSED = "pass"
NOT_KEPT = {"Receive Maximum"}
"""What a Mosquitto before 2.0.13 is warned of."""


def altered(directory: Path, *lines: str, without: str = "") -> Altered:
    return Altered(directory, program("mosquitto"), *lines, without=without)


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    """One that checks signatures."""
    folder = tmp_path_factory.mktemp("manager")
    (folder / "secret").write_text(SECRET)
    made = Manager(folder / "data", ["--access-key", ACCESS, "--secret-key-file", str(folder / "secret")])
    made.start()
    yield made
    made.end(signal.SIGTERM)


@pytest.fixture(scope="module")
def model(manager: Manager, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a model file that the manager serves."""
    file = tmp_path_factory.mktemp("model") / "kws.tflite"
    file.write_bytes(bytes(1000))
    manager.run("register", "f", "d")
    manager.run("deploy", "f", "d", f"kws={file}")
    plan = manager.client("sagemaker-edge").get_deployments(DeviceFleetName="f", DeviceName="d")["Deployments"][0]
    return str(plan["Definitions"][0]["S3Url"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Altered]:
    with altered(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture
def variables(site: Altered, manager: Manager, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Makes the environment of a gateway on the site, with `more` settings, against the manager."""
    aws = {
        "AWS_ENDPOINT_URL_SAGEMAKER_EDGE": manager.url,
        "AWS_ENDPOINT_URL_S3": manager.url,
        "AWS_ACCESS_KEY_ID": ACCESS,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "eu-west-1",
    }

    def make(broker: Altered = site, port: int | None = None, scheme: str = "mqtt", **more: str) -> dict[str, str]:
        password = (broker.site / "gateway" / "password").read_text().strip()
        url = f"{scheme}://gateway:{quote(password, safe='')}@{HOST}:{port or broker.ports['gateway-loopback']}"
        ca = {"GATEWAY_MQTT_CA_FILE": str(broker.site / "gateway" / "ca.pem")} if scheme == "mqtts" else {}
        ours = {"GATEWAY_MQTT_URL": url, "GATEWAY_STATE_DIR": str(tmp_path / "state"), "EDGE_SITE": str(broker.site)}
        return environment(**(aws | ours | ca | more))

    return make


def conf_of(broker: Altered) -> str:
    return str(broker.site.parent / "mosquitto.conf")


def assert_only(report: Report, check: str, said: str) -> None:
    """That it fails, and nothing else does."""
    assert report.of("fail") == {check}, report
    assert said in report.texts[check]
    assert report.status == 1


# -- a good site --


@pytest.mark.parametrize("listener", ["gateway-loopback", "gateway"])
def test_a_good_site_passes(
    site: Altered, model: str, variables: Callable[..., dict[str, str]], listener: str, tmp_path: Path
) -> None:
    made = variables(port=site.ports[listener], scheme="mqtts" if listener == "gateway" else "mqtt")
    report = examined(made, "--conf", conf_of(site), "--devices", "100000", "--model", model)
    assert report.of("fail") == set()
    assert report.of("warn") <= NOT_KEPT
    assert report.status == 0
    assert report.of(PASSED) >= {"broker", "TLS", "MQTT 5", "anonymous", "client ids", "session", "retained messages"}
    assert report.of(PASSED) >= {"shared subscriptions", "persistence", "queues", "listeners", "isolation"}
    assert report.of(PASSED) >= {"devices", "reload"}
    assert report.of(PASSED) >= {"credentials", "endpoint", "clock", "calls", "models (S3)", "disk"}
    assert ("TLSv1" in report.texts["TLS"]) is (listener == "gateway")
    assert not (tmp_path / "state").exists(), "it looks at the disk, and leaves it as it was"


def test_each_address_of_a_name_is_reported(
    site: Altered, manager: Manager, variables: Callable[..., dict[str, str]]
) -> None:
    """The first one answers nothing: the second is reached, by each protocol."""
    made, port = variables(), site.ports["gateway-loopback"]
    service = urlsplit(manager.url)
    assert service.port is not None
    named = {name: value.replace(f"@{HOST}:", f"@{NAME}:") for name, value in made.items()}
    for name in ("AWS_ENDPOINT_URL_SAGEMAKER_EDGE", "AWS_ENDPOINT_URL_S3"):
        named[name] = f"http://{NAME}:{service.port}"
    with black_hole(port), black_hole(service.port):
        report = examined(named, doctor=command([DEAD, HOST], "doctor"))
    assert report.of("fail") == set()
    for check in ("broker", "endpoint", "models (S3)"):
        assert report.levels[check] == "warn"
        assert f"({DEAD}: no answer in 5 s, {HOST}: reached)" in report.texts[check]


def test_what_is_in_files_alone_is_reported_as_unknown(variables: Callable[..., dict[str, str]]) -> None:
    report = examined(variables())
    assert report.status == 0
    assert report.of("warn") - NOT_KEPT == {"persistence", "queues", "listeners", "isolation", "reload"}
    assert all("cannot know" in report.texts[check] for check in report.of("warn") - NOT_KEPT)


def test_a_person_gets_lines(variables: Callable[..., dict[str, str]]) -> None:
    made = variables(port=free_ports(1)[0])
    done = subprocess.run(DOCTOR, env=made, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("FAIL  broker")
    assert "PASS  credentials" in done.stdout
    assert done.stdout.rstrip().endswith("1 fail")


@pytest.mark.parametrize(
    ("more", "arguments", "said"),
    [
        ({"GATEWAY_INTAKE": "0"}, [], "GATEWAY_INTAKE"),
        ({"AWS_REGION": ""}, [], "region"),
        ({"AWS_ENDPOINT_URL_S3": "nowhere"}, [], "AWS_ENDPOINT_URL_S3"),
        ({}, ["--conf", "/nowhere/mosquitto.conf"], "--conf"),
        ({}, ["--devices", "0"], "--devices"),
    ],
    ids=range(5),
)
def test_settings_that_cannot_work_have_a_status_of_their_own(
    variables: Callable[..., dict[str, str]], more: dict[str, str], arguments: list[str], said: str
) -> None:
    command = [*DOCTOR, *arguments]
    done = subprocess.run(
        command, env=variables(**more), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


# -- brokers that are broken in one way --


def test_nobody_listens(variables: Callable[..., dict[str, str]]) -> None:
    (port,) = free_ports(1)
    assert_only(examined(variables(port=port)), "broker", "nobody listens")


def test_a_broker_of_mqtt_3_1_1_alone(variables: Callable[..., dict[str, str]], tmp_path: Path) -> None:
    if not rumqttd.is_installed():
        missing("iotcore is not installed")
    with Rumqttd(tmp_path) as old:
        assert_only(examined(variables(port=old.address.device_port)), "MQTT 5", "only MQTT 3.1.1")


def test_a_broker_that_grants_less(variables: Callable[..., dict[str, str]], tmp_path: Path) -> None:
    """What its CONNACK stops is said, and that no message is retained."""
    granted = "retain_available false", "max_packet_size 4096", "max_keepalive 10"
    with altered(tmp_path, *granted) as limited:
        report = examined(variables(limited))
    assert report.of("fail") == {"retained messages"}
    assert report.levels["limits"] == "warn"
    assert "packets of 4,096 bytes at most, and max_payload is 65,536" in report.texts["limits"]
    assert "no retained messages" in report.texts["limits"]


def test_a_port_of_something_else(variables: Callable[..., dict[str, str]], manager: Manager) -> None:
    port = int(manager.url.rpartition(":")[2])
    assert_only(examined(variables(port=port)), "MQTT 5", "no MQTT broker answers")


@pytest.mark.parametrize(
    ("end", "host", "said"),
    [
        (datetime(2020, 1, 1, tzinfo=UTC), HOST, "has expired"),
        (NOT_AFTER, "elsewhere.example", "another host name"),
    ],
)
def test_a_certificate_that_does_not_hold(
    site: Altered, variables: Callable[..., dict[str, str]], end: datetime, host: str, said: str
) -> None:
    authority = Site(site.site).authority()
    assert authority is not None
    with tls_listener(authority.issue_broker([host], end)) as port:
        assert_only(examined(variables(port=port, scheme="mqtts")), "TLS", said)


def test_a_certificate_of_someone_else(variables: Callable[..., dict[str, str]]) -> None:
    with tls_listener(CertificateAuthority.generate("edge-gateway site").issue_broker([HOST], NOT_AFTER)) as port:
        assert_only(examined(variables(port=port, scheme="mqtts")), "TLS", "mqtt_ca_file")


def test_a_port_without_tls(site: Altered, variables: Callable[..., dict[str, str]]) -> None:
    assert_only(examined(variables(port=site.ports["plain"], scheme="mqtts")), "TLS", "handshake")


def test_a_wrong_password(site: Altered, variables: Callable[..., dict[str, str]]) -> None:
    url = f"mqtt://gateway:wrong@{HOST}:{site.ports['gateway-loopback']}"
    assert_only(examined(variables(GATEWAY_MQTT_URL=url)), "login", "gateway is refused")


def test_the_devices_listener(site: Altered, variables: Callable[..., dict[str, str]]) -> None:
    assert_only(examined(variables(port=site.ports["plain"])), "client ids", "use_username_as_clientid")


def test_a_session_that_is_forgotten(site: Altered, variables: Callable[..., dict[str, str]]) -> None:
    with forgetful(site.ports["gateway-loopback"]) as port:
        assert_only(examined(variables(port=port)), "session", "gone after a disconnect")


@pytest.mark.parametrize(
    ("lines", "without", "devices", "checks", "said"),
    [
        (["retain_available false"], "", 1000, {"retained messages"}, "keeps none"),
        (["allow_anonymous true"], "", 1000, {"anonymous", "listeners"}, "without a user name"),
        (["max_queued_messages 500"], "", 1000, {"queues"}, "500 messages may wait, of 1,000 devices"),
        (["persistence false"], "", 1000, {"persistence"}, "persistence is not true"),
        ([], "acl_file", 1000, {"isolation", "devices"}, "no acl_file"),
    ],
    ids=["retained", "anonymous", "queues", "persistence", "acl"],
)
def test_a_configuration_that_breaks_a_promise(
    variables: Callable[..., dict[str, str]],
    tmp_path: Path,
    lines: list[str],
    without: str,
    devices: int,
    checks: set[str],
    said: str,
) -> None:
    with altered(tmp_path, *lines, without=without) as broken:
        report = examined(variables(broken), "--conf", conf_of(broken), "--devices", str(devices))
    assert (report.status, report.of("fail")) == (1, checks), report
    assert any(said in report.texts[check] for check in checks)


def test_an_acl_without_the_doctors_line_leaves_unknown_what_hangs_on_it(
    variables: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    write(tmp_path / "acl", acl("doctor/probe").replace(DOCTORS, ""))
    with altered(tmp_path, f"acl_file {tmp_path}/acl") as old:
        report = examined(variables(old), "--conf", conf_of(old), "--devices", "10")
    assert report.status == 0
    unknown = {"session", "Receive Maximum", "retained messages"}
    assert report.of("warn") == unknown
    assert all("topic readwrite edge/doctor/+" in report.texts[check] for check in unknown)


# -- endpoints that are broken in one way --


def test_an_endpoint_that_is_down(variables: Callable[..., dict[str, str]]) -> None:
    (port,) = free_ports(1)
    more = {"AWS_ENDPOINT_URL_SAGEMAKER_EDGE": f"http://{HOST}:{port}"}
    assert_only(examined(variables(**more)), "endpoint", "does not serve")


def test_an_endpoint_that_answers_pages(variables: Callable[..., dict[str, str]]) -> None:
    with endpoint(b"<html>Welcome</html>", "text/html") as url:
        report = examined(variables(AWS_ENDPOINT_URL_SAGEMAKER_EDGE=url))
    assert_only(report, "endpoint", "is not the API")


def test_an_endpoint_whose_clock_is_another(variables: Callable[..., dict[str, str]]) -> None:
    answer = b'{"DeviceRegistration": "NOT_REGISTERED", "CacheTTL": "60", "Deployments": []}'
    with endpoint(answer, "application/json", ahead=600) as url:
        report = examined(variables(AWS_ENDPOINT_URL_SAGEMAKER_EDGE=url))
    assert_only(report, "clock", "s behind the endpoint's")


def test_a_wrong_secret_key(variables: Callable[..., dict[str, str]]) -> None:
    report = examined(variables(AWS_SECRET_ACCESS_KEY="wrong"))
    assert_only(report, "calls", "InvalidSignatureException")
    assert report.levels["models (S3)"] == "warn"


def test_a_model_file_that_is_not_there(variables: Callable[..., dict[str, str]], model: str) -> None:
    assert_only(examined(variables(), "--model", model + "x"), "models (S3)", "NoSuchKey")


def test_no_credentials(variables: Callable[..., dict[str, str]]) -> None:
    report = examined(variables(AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY=""))
    assert_only(report, "credentials", "boto3 finds none")


def test_a_disk_that_is_too_small(variables: Callable[..., dict[str, str]]) -> None:
    assert_only(examined(variables(GATEWAY_CACHE_BYTES=str(1 << 40))), "disk", "lower cache_bytes")


# -- what it must not change --


def beside(testbed: Testbed) -> dict[str, str]:
    """The environment of the testbed's own gateway."""
    made = settings(testbed.broker.address, testbed.service.url, testbed.fleet, testbed.state)
    return made | {"AWS_ENDPOINT_URL_S3": testbed.service.url}


def test_a_gateway_that_runs_is_not_disturbed(own_testbed: Testbed, own_mosquitto: Mosquitto, tmp_path: Path) -> None:
    """With the very settings of that gateway, which serves the doctor's device too; a device's heartbeat passes."""
    fleet = own_testbed.fleet
    own_testbed.fleet = f"{fleet},doctor"
    gateway = own_testbed.open()
    own_testbed.fleet = fleet
    device = own_testbed.device("d")
    board = board_of_probe(own_mosquitto, tmp_path)
    command = subprocess.Popen(
        [*DOCTOR, "--board", board], env=beside(own_testbed), cwd=ROOT, stdout=subprocess.DEVNULL
    )
    seq = 0
    while command.poll() is None:
        seq += 1
        device.heartbeat(LAYOUT, EPOCH + seq, None, None, None, None, seq)
        assert device.ack(seq) == (0, "")
    assert command.returncode == 0
    assert gateway.metrics()["connected"] == 1
    assert not [line for line in gateway.log.so_far() if "connection to the broker" in line["event"]]
    assert "already connected" not in _lines_of_others(own_mosquitto)
    assert not [line for line in gateway.log.so_far() if line.get("level") in ("warning", "error")]


@pytest.mark.parametrize("interrupted", [False, True])
def test_nothing_is_left_behind_not_even_by_ctrl_c(
    interrupted: bool, own_testbed: Testbed, own_mosquitto: Mosquitto, tmp_path: Path
) -> None:
    command = subprocess.Popen(
        [*DOCTOR, "--board", board_of_probe(own_mosquitto, tmp_path)],
        env=beside(own_testbed),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        preexec_fn=_mind_ctrl_c,
    )
    if interrupted:
        until(lambda: " as edge-gateway-doctor" in own_mosquitto.log, lambda: "the doctor does not connect")
        command.send_signal(signal.SIGINT)
    assert command.wait(60) == (130 if interrupted else 0)
    own_mosquitto.save()
    kept = (tmp_path / "mosquitto" / "data" / "mosquitto.db").read_bytes()
    assert b"edge-gateway-doctor" not in kept
    assert b"edge/doctor/" not in kept


def board_of_probe(broker: Mosquitto, folder: Path) -> str:
    at = broker.address
    return str(plain_board(folder / "probe.json", at.host, at.device_port, broker.add_user("doctor/probe")))


def _mind_ctrl_c() -> None:
    """As a command at a terminal does, though a shell that runs these tests in its background had them ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _lines_of_others(broker: Mosquitto) -> str:
    return "\n".join(line for line in broker.log.splitlines() if "edge-gateway-doctor" not in line)
