"""`edge-gateway devices` as an operator types it: twice, half done, wrongly; and who may read what it wrote."""

import json
import stat
import time
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner

from gateway.manager import open_database
from gateway.provisioning import atomic_files
from gateway.provisioning.cli import app
from tests.unit.provisioning.conftest import KINDS, Desk


def serial(board: dict[str, str]) -> int:
    return x509.load_der_x509_certificate(b64decode(board["cert"])).serial_number


def test_a_password_in_one_step(desk: Desk) -> None:
    done = desk("add", "f", "one")
    board = desk.board("one")
    assert {name: board[name] for name in ("host", "port", "fleet", "device")} == {
        "host": "broker.example",
        "port": 8883,
        "fleet": "f",
        "device": "one",
    }
    assert desk.passwords().matches("f/one", board["password"])
    assert desk.registered() == ["one"]
    assert "f/one: password in" in done.stdout
    assert "systemctl reload mosquitto" in done.stdout
    assert board["password"] not in done.stdout


def test_a_certificate_in_one_step(desk: Desk) -> None:
    done = desk("add", "f", "one", "--certificate")
    board = desk.board("one")
    assert (board["port"], "password" in board, "f/one" in desk.passwords()) == (8884, False, False)
    certificate = x509.load_der_x509_certificate(b64decode(board["cert"]))
    certificate.verify_directly_issued_by(x509.load_der_x509_certificate(b64decode(board["ca"])))
    assert certificate.subject.rfc4514_string() == "CN=f/one"
    assert desk.registered() == ["one"]
    assert desk.acl().users() == ["doctor/probe", "f/one"]
    assert "systemctl reload mosquitto" in done.stdout


@KINDS
def test_only_the_owner_reads_what_is_secret(desk: Desk, options: list[str]) -> None:
    desk("add", "f", "one", *options)
    public = {"ca.pem", "crl.pem", "broker.pem", "f.one.pem"}
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in desk.everything()}
    assert {mode for name, mode in modes.items() if name not in public} == {0o600}
    assert not any(b"PRIVATE" in content for path, content in desk.everything().items() if path.name in public)


@KINDS
def test_adding_twice_changes_nothing(desk: Desk, options: list[str]) -> None:
    desk("add", "f", "one", *options)
    before = desk.everything()
    done = desk("add", "f", "one", *options)
    assert "already, in" in done.stdout
    assert "was registered already" in done.stdout
    assert "reload" not in done.stdout
    assert desk.everything() == before


@KINDS
@pytest.mark.parametrize("breaks_at", range(1, 5))
def test_what_was_interrupted_is_completed(
    desk: Desk, options: list[str], breaks_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever write of a file fails: the same command again ends with one credential, the one in the board file."""
    write: Callable[[Path, bytes, int], None] = atomic_files.write
    writes: list[Path] = []

    def failing(path: Path, content: bytes, mode: int) -> None:
        writes.append(path)
        if len(writes) == breaks_at:
            raise OSError(28, "No space left on device")
        write(path, content, mode)

    monkeypatch.setattr(atomic_files, "write", failing)
    desk.data.rename(desk.data.with_name("away"))  # and the manager fails where no write does
    CliRunner().invoke(app, ["add", "f", "one", *options, "--site", str(desk.site), "--no-register"])
    desk.data.with_name("away").rename(desk.data)
    monkeypatch.undo()
    desk("add", "f", "one", *options)
    board = desk.board("one")
    record = desk.site / "ca" / "issued" / "f.one.pem"
    if options:
        assert x509.load_pem_x509_certificate(record.read_bytes()).serial_number == serial(board)
    else:
        assert desk.passwords().matches("f/one", board["password"])
    assert "f/one" in desk.acl()
    assert desk.registered() == ["one"]


@KINDS
def test_the_board_file_may_be_deleted_once_it_is_flashed(desk: Desk, options: list[str]) -> None:
    desk("add", "f", "one", *options)
    (desk.site / "devices" / "f.one.json").unlink()
    before = desk.everything()
    assert "no board file: --renew draws both anew" in desk("add", "f", "one", *options).stdout
    assert desk.everything() == before
    assert "--renew" in desk.refused("add", "f", "one", *options, "--print")


@KINDS
def test_renewing_draws_anew_and_ends_the_old(desk: Desk, options: list[str]) -> None:
    desk("add", "f", "one", *options)
    old = desk.board("one")
    assert "reload" in desk("add", "f", "one", "--renew", *options).stdout
    new = desk.board("one")
    if options:
        assert desk.revoked() == {serial(old)} != {serial(new)}
    else:
        assert [desk.passwords().matches("f/one", each["password"]) for each in (old, new)] == [False, True]


def test_a_device_has_one_credential(desk: Desk) -> None:
    desk("add", "f", "one")
    assert "f/one has a password: --renew puts a certificate" in desk.refused("add", "f", "one", "--certificate")
    desk("add", "f", "one", "--certificate", "--renew")
    assert "f/one" not in desk.passwords()
    old = serial(desk.board("one"))
    assert "f/one has a certificate: --renew puts a password" in desk.refused("add", "f", "one")
    desk("add", "f", "one", "--renew")
    assert desk.revoked() == {old}
    assert not (desk.site / "ca" / "issued" / "f.one.pem").exists()


def test_the_file_follows_where_the_broker_is(desk: Desk) -> None:
    desk("add", "f", "one")
    password = desk.board("one")["password"]
    desk("add", "f", "one", "--broker", "mqtts://other.example:9999")
    assert (desk.board("one")["host"], desk.board("one")["port"]) == ("other.example", 9999)
    desk("add", "f", "one", "--broker", "mqtt://10.0.0.1")
    board = desk.board("one")
    assert (board["port"], board["password"], "ca" in board) == (1883, password, False)


@KINDS
def test_removing_takes_all_away_and_twice_is_once(desk: Desk, options: list[str]) -> None:
    desk("add", "f", "one", "two", *options)
    gone = desk.board("one")
    told = desk("remove", "f", "one").stdout
    assert "f/one: lost its" in told
    assert "deregistered" in told
    assert "reload" in told
    assert ("may publish and receive nothing" in told) == bool(options)
    assert desk.registered() == ["two"]
    assert "f/one" not in desk.passwords()
    assert "f/one" not in desk.acl().users()
    assert desk.revoked() == ({serial(gone)} if options else set())
    assert not list(desk.site.rglob("f.one.*"))
    before = desk.everything()
    again = desk("remove", "f", "one").stdout
    assert again == "f/one: had no credential; was not registered\n"
    assert desk.everything() == before


def test_a_certificate_that_nobody_recorded_is_revoked_too(desk: Desk) -> None:
    desk("add", "f", "one", "--certificate")
    board = desk.board("one")
    (desk.site / "ca" / "issued" / "f.one.pem").unlink()
    desk("remove", "f", "one")
    assert desk.revoked() == {serial(board)}


def test_a_board_file_that_cannot_be_read(desk: Desk) -> None:
    desk("add", "f", "one", "two")
    path = desk.site / "devices" / "f.one.json"
    path.write_bytes((desk.site / "devices" / "f.two.json").read_bytes())
    assert "is that of f/two; --renew makes it anew" in desk.refused("add", "f", "one")
    path.write_text("{}")
    assert "cannot be read" in desk.refused("add", "f", "one")
    desk("add", "f", "one", "--renew")
    assert desk.passwords().matches("f/one", desk.board("one")["password"])
    path.write_text("{}")
    desk("remove", "f", "one")
    assert not path.exists()


def test_many_from_a_file(desk: Desk, tmp_path: Path) -> None:
    csv = tmp_path / "devices.csv"
    csv.write_text("fleet,device\n" + "".join(f"f,d{n}\n" for n in range(50)))
    assert desk("add", "--csv", str(csv)).stdout.count("reload") == 1
    assert len(desk.registered()) == 50
    listed = json.loads(desk("list", "--json").stdout)
    assert {(row["credential"], row["registered"], row["board_file"]) for row in listed} == {("password", True, True)}
    desk("remove", "--csv", str(csv))
    assert json.loads(desk("list", "--json").stdout) == []


def test_the_list_tells_what_each_lacks(desk: Desk) -> None:
    desk("add", "f", "by-certificate", "--certificate", "--days", "30")
    desk("add", "f", "by-password")
    desk("add", "f", "unregistered", "--no-register")
    store = open_database(desk.data, create=False)
    store.register("f", "nobody", 0.0)
    store.close()
    (desk.site / "devices" / "f.by-password.json").unlink()
    rows = {row["device"]: row for row in json.loads(desk("list", "--json").stdout)}
    until = rows["by-certificate"].pop("until")
    assert abs(until - time.time() - 30 * 86_400) < 3600
    facts = {name: (row["credential"], row["registered"], row["board_file"]) for name, row in rows.items()}
    assert facts == {
        "by-certificate": ("certificate", True, True),
        "by-password": ("password", True, False),
        "nobody": (None, True, False),
        "unregistered": ("password", False, True),
    }
    table = desk("list").stdout
    assert all(name in table for name in rows)


def test_the_board_file_alone_on_stdout(desk: Desk) -> None:
    done = desk("add", "f", "one", "--print")
    assert json.loads(done.stdout) == desk.board("one")
    assert "f/one: password in" in done.stderr


def test_init_keeps_what_is_there(desk: Desk) -> None:
    before = desk.everything()
    assert desk("init").stdout == "nothing to make: all is there\n"
    assert desk("init", "broker.example", "10.0.0.1").stdout == "nothing to make: all is there\n"
    assert desk.everything() == before


def test_init_with_another_name_makes_another_certificate_of_the_same_authority(desk: Desk) -> None:
    before = desk.everything()
    assert "made the broker's certificate for new.example" in desk("init", "new.example").stdout
    changed = {path.name for path, content in desk.everything().items() if before[path] != content}
    assert changed == {"broker.pem", "broker.key"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["add", "f", "+"], "'+' does not match DeviceName's pattern"),
        (["add", "doctor", "probe"], "doctor/probe is the doctor's own"),
        (["add", "f/g", "one"], "does not match DeviceFleetName's pattern"),
        (["add", "f"], "name a fleet and its devices, or give --csv"),
        (["add", "f", "one", "--csv", "x"], "name a fleet and its devices, or give --csv; not both"),
        (["add", "--csv", "/no/such/file"], "No such file"),
        (["add", "f", "one", "two", "--print"], "--print prints the board file of one device, and here are 2"),
        (["add", "f", "one", "--broker", "http://x"], "must be mqtts://host:port or mqtt://host:port"),
        (["add", "f", "one", "--broker", "mqtts://x:port"], "is no URL of a broker"),
        (["add", "f", "one", "--certificate", "--broker", "mqtt://x"], "a certificate needs TLS"),
        (["add", "f", "x" * 63, "--certificate"], "takes 64; a password has no such limit"),
        (["add", "f", "one", "--data", "/no/such/folder"], "or --no-register, where another Edge Manager"),
        (["list", "--site", "/no/such/site"], "no site in /no/such/site: `edge-gateway devices init` makes one"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(desk: Desk, arguments: list[str], told: str) -> None:
    before = desk.everything()
    options = [] if "--site" in arguments else ["--site", str(desk.site)]
    data = [] if "--data" in arguments else ["--data", str(desk.data)]
    done = CliRunner().invoke(app, [*arguments, *options, *data])
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert told in done.stderr
    assert desk.everything() == before
    assert desk.registered() == []


def test_a_site_begins_with_a_name_for_the_broker(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["init", "--site", str(tmp_path / "site")])
    assert done.exit_code == 2
    assert "under which host names and addresses" in done.stderr
