"""`edge-gateway doctor` tries as a device, and reads what the broker would read again: on whichever Mosquitto is there.

What a reload does is not assumed: the file is broken, and then the broker gets its SIGHUP.
"""

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.demo.brokers.address import BrokerLogin
from gateway.doctor.checks.reload import check_reload
from gateway.doctor.probes import mosquitto_files
from gateway.doctor.result import Level
from gateway.provisioning.board_file import BoardFile
from gateway.provisioning.certificate_authority import NOT_AFTER, CertificateAuthority
from gateway.provisioning.device_names import PROBE
from gateway.provisioning.site import Site
from tests.integration.broken_services import Altered, Report, cutting, examined
from tests.integration.site_files import PATTERNS, USERS, acl, entry, hashed, long_salted, plain_board, write
from tests.support.needs import program
from tests.support.processes import environment
from tests.support.site import HOST

AWS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-west-1"}


STRANGERS = CertificateAuthority.generate("edge-gateway site")
"""Another site's, of the same name."""


def binary() -> str:
    return program("mosquitto")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Altered]:
    with Altered(tmp_path_factory.mktemp("site"), binary()) as running:
        yield running


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Altered]:
    """For one test, which may break it."""
    with Altered(tmp_path, binary()) as running:
        yield running


@pytest.fixture
def rules(site: Altered) -> Iterator[Callable[[str], None]]:
    """Gives the broker of all another ACL, for one test."""

    def give(text: str) -> None:
        write(site.site / "broker" / "acl", text)
        assert site.outlives_a_reload()

    yield give
    give(acl(str(PROBE)))


def report_of(site: Altered, *arguments: str, **variables: str) -> Report:
    """Of the broker; nobody is there in the cloud's place."""
    password = (site.site / "gateway" / "password").read_text().strip()
    url = f"mqtt://gateway:{password}@{HOST}:{site.ports['gateway-loopback']}"
    nobody = "http://127.0.0.1:9"
    more = {"AWS_ENDPOINT_URL_SAGEMAKER_EDGE": nobody, "AWS_ENDPOINT_URL_S3": nobody, "GATEWAY_MQTT_URL": url}
    made = environment(**AWS, **more, **variables, EDGE_SITE=str(site.site), GATEWAY_STATE_DIR=str(site.site / "state"))
    conf = str(site.site.parent / "mosquitto.conf")
    return examined(made, *([] if "--conf" in arguments else ["--conf", conf]), "--devices", "10", *arguments)


# -- as a device --


def test_a_device_reaches_its_own_topics_alone(site: Altered) -> None:
    report = report_of(site)
    assert (report.levels["devices"], report.levels["isolation"], report.levels["reload"]) == ("pass",) * 3
    assert f"doctor/probe at localhost:{site.ports['password']}" in report.texts["devices"]


def test_a_device_may_join_a_group_whose_name_it_knows(site: Altered) -> None:
    """By the acl_file of every Mosquitto: `init` draws a name, and no line of the report shows it."""
    assert "group" not in report_of(site).levels
    name = site.site / "gateway" / "group"
    report = report_of(site, GATEWAY_GROUP_FILE=str(name))
    assert report.levels["group"] == "warn"
    assert "a device may join any group" in report.texts["group"]
    assert name.read_text().strip() not in str(report)


def test_the_patterns_of_older_sites(site: Altered, rules: Callable[[str], None], newer: bool) -> None:
    """The operator may read which broker it is: so the file is checked as this one reads it."""
    rules(USERS + PATTERNS)
    report = report_of(site)
    assert report.levels["devices"] == ("fail" if newer else "pass")
    assert report.levels["isolation"] == ("fail" if newer else "warn")
    assert "devices convert" in report.texts["isolation"]
    if newer:
        assert "writing hello (reason 135) and reading ack" in report.texts["devices"]
        assert "devices convert --conf" in report.texts["devices"]


def test_a_device_without_an_entry(site: Altered, rules: Callable[[str], None]) -> None:
    rules(USERS + entry("fleet-a/dev-1"))
    report = report_of(site)
    assert (report.levels["devices"], report.levels["isolation"]) == ("fail", "fail")
    assert "reason 135" in report.texts["devices"]
    assert "doctor/probe is without an entry in the acl_file" in report.texts["isolation"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("topic read edge/+/+/ack\n", "may read edge/doctor/other/ack, edge/doctor/prob/ack"),
        ("topic write edge/doctor/+/hello\n", "may write edge/doctor/other/hello, edge/doctor/prob/hello"),
        ("topic readwrite edge/doctor/probe2/#\n", "edge/doctor/probe2/hello and read edge/doctor/probe2/ack"),
        ("topic read edge/doctor2/probe/ack\n", "may read edge/doctor2/probe/ack"),
    ],
    ids=range(4),
)
def test_a_device_that_reaches_another(site: Altered, rules: Callable[[str], None], more: str, said: str) -> None:
    rules(acl(str(PROBE)) + more)
    report = report_of(site)
    assert (report.levels["devices"], report.levels["isolation"]) == ("fail", "fail")
    assert said in report.texts["devices"]
    assert "doctor/probe may" in report.texts["isolation"]


def test_a_board_with_a_certificate(site: Altered, tmp_path: Path) -> None:
    authority = Site(site.site).authority()
    assert authority is not None
    made = authority.issue_device(str(PROBE), NOT_AFTER)
    ca, port = authority.identity.certificate_der, site.ports["certificate"]
    board = BoardFile(PROBE, "localhost", port, ca, None, made.certificate_der, made.key_der)
    (tmp_path / "board.json").write_bytes(board.to_json())
    report = report_of(site, "--board", str(tmp_path / "board.json"))
    assert report.levels["devices"] == "pass", report
    assert f"localhost:{port}" in report.texts["devices"]


@pytest.mark.parametrize(
    ("changed", "level", "said"),
    [
        ({"password": "wrong"}, "fail", "it is refused"),
        ({"port": 1}, "warn", "its listener is not reached"),
        ({"device": "other"}, "warn", "its board file cannot be used"),
        ({"password": ""}, "warn", "no password"),
        ({"ca": b64encode(STRANGERS.identity.certificate_der).decode()}, "fail", "TLS fails"),
    ],
    ids=range(5),
)
def test_a_board_that_does_not_fit(
    site: Altered, tmp_path: Path, changed: dict[str, object], level: str, said: str
) -> None:
    board = json.loads((site.site / "gateway" / "probe.json").read_text()) | changed
    (tmp_path / "board.json").write_text(json.dumps(board))
    report = report_of(site, "--board", str(tmp_path / "board.json"))
    assert report.levels["devices"] == level, report
    assert said in report.texts["devices"]


def test_a_broker_that_ends_the_connection_says_no(site: Altered, rules: Callable[[str], None], tmp_path: Path) -> None:
    """To one of the topics that are another's; the others are tried all the same."""
    login = BrokerLogin(str(PROBE), json.loads((site.site / "gateway" / "probe.json").read_text())["password"])
    with cutting(site.ports["plain"], b"edge/doctor/other/hello") as port:
        board = str(plain_board(tmp_path / "board.json", HOST, port, login))
        report = report_of(site, "--board", board)
        assert report.levels["devices"] == "pass", report
        rules(acl(str(PROBE)) + "topic write edge/doctor/+/hello\n")
        report = report_of(site, "--board", board)
        assert "doctor/probe may write edge/doctor/prob/hello, edge/doctor/probe2/hello" in report.texts["devices"]


def test_no_board(site: Altered, tmp_path: Path) -> None:
    report = report_of(site, "--board", str(tmp_path / "none"))
    assert report.levels["devices"] == "warn"
    assert "not tried" in report.texts["devices"]
    assert "devices init" in report.texts["devices"]


# -- the files --


def test_plugins_that_read_the_same_files(site: Altered, tmp_path: Path) -> None:
    """Of 2.1; that they mean the same to the broker was tried with it."""
    conf = (site.site.parent / "mosquitto.conf").read_text()
    for word, option in (("global_plugin", "acl_file"), ("plugin", "password_file")):
        plugin = f"\\n{word} /usr/lib/mosquitto_{option}.so\\nplugin_opt_{option} "
        conf, found = re.subn(rf"^{option} ", plugin, conf, flags=re.MULTILINE)
        assert found == 1
    (tmp_path / "mosquitto.conf").write_text(conf)
    report = report_of(site, "--conf", str(tmp_path / "mosquitto.conf"))
    assert (report.levels["isolation"], report.levels["reload"]) == ("pass", "pass"), report


def checked(site: Altered, newer: bool | None) -> tuple[Level, str]:
    conf = mosquitto_files.read_conf(site.site.parent / "mosquitto.conf")
    files = mosquitto_files.read_reloaded_files(conf, None, None)
    result = check_reload(files, mosquitto_files.broker_account(conf), "root", newer)
    return result.level, result.found


def appended(name: str, text: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        with (folder / name).open("a") as file:
            file.write(text)

    return spoil


def missing_file(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def linked(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).rename(folder / "real")
        (folder / name).symlink_to(folder / "real")

    return spoil


HAZARDS = {
    "acl missing": (missing_file("acl"), True),
    "acl unknown word": (appended("acl", "topics read t\n"), True),
    "acl no filter": (appended("acl", "topic read a/#/b\n"), True),
    "acl unknown access": (appended("acl", "topic may t\n"), True),
    "acl indented comment": (appended("acl", "  # a comment\n"), True),
    "acl link": (linked("acl"), False),
    "passwords missing": (missing_file("passwords"), True),
    "passwords link": (linked("passwords"), False),
    "passwords user twice": (appended("passwords", hashed(["doctor/probe"])), False),
    "passwords no hash": (appended("passwords", "f/1:secret\n"), False),
    "passwords no user": (appended("passwords", ":x\n"), False),
    "certificate missing": (missing_file("broker.pem"), False),
    "key is none": (lambda folder: write(folder / "broker.key", "nothing\n"), False),
    "revocations missing": (missing_file("crl.pem"), False),
}
"""How a file is broken, and whether that fails in 2.0 too."""


@pytest.mark.parametrize("hazard", HAZARDS)
def test_what_ends_the_broker_at_a_reload_is_named_before(own_site: Altered, hazard: str, newer: bool) -> None:
    spoil, fails_always = HAZARDS[hazard]
    assert checked(own_site, newer)[0] is Level.PASS
    spoil(own_site.site / "broker")
    level, found = checked(own_site, newer)
    assert level is (Level.FAIL if newer or fails_always else Level.WARN), found
    assert own_site.outlives_a_reload() is not newer


HARMLESS: dict[str, Callable[[Path], object]] = {
    "acl deny and spaces": appended("acl", "  topic deny t\n\n# a comment\nuser a b\ntopic read\n"),
    "passwords comment": appended("passwords", "# a comment\n\nno colon\n"),
    "key link": linked("broker.key"),
    "world": lambda folder: (folder / "acl").chmod(0o644),
}


@pytest.mark.parametrize("change", HARMLESS)
def test_what_the_broker_accepts_is_no_failure(own_site: Altered, change: str, newer: bool) -> None:
    HARMLESS[change](own_site.site / "broker")
    level, found = checked(own_site, newer)
    assert level is (Level.WARN if change == "world" else Level.PASS), found
    assert own_site.outlives_a_reload()


def test_a_salt_of_2_1_is_a_warning_in_2_0(own_site: Altered, newer: bool) -> None:
    appended("passwords", long_salted("f/1"))(own_site.site / "broker")
    assert checked(own_site, newer)[0] is (Level.PASS if newer else Level.WARN)
    assert own_site.outlives_a_reload()


def test_2_0_opens_every_topic_where_it_cannot_read_its_acl(own_site: Altered, newer: bool) -> None:
    """Why an ACL with a mistake fails in each version."""
    appended("acl", "topics read t\n")(own_site.site / "broker")
    if not own_site.outlives_a_reload():
        assert newer
        return
    report = report_of(own_site)
    assert report.levels["devices"] == report.levels["reload"] == "fail"
    assert "doctor/probe may write edge/doctor/other/hello" in report.texts["devices"]
