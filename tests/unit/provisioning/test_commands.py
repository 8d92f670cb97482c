"""The commands of `edge-gateway devices`: repeated, interrupted, with mistakes; and the modes of their files."""

import errno
import json
import stat
import time
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner

from gateway.manager import Place, open_store
from gateway.provisioning import atomic_files
from gateway.provisioning.cli import app
from tests.unit.provisioning.conftest import KINDS, SiteCli


def serial(board: dict[str, str]) -> int:
    return x509.load_der_x509_certificate(b64decode(board["cert"])).serial_number


def test_a_password_in_one_step(cli: SiteCli) -> None:
    done = cli("add", "f", "one")
    board = cli.board("one")
    assert {name: board[name] for name in ("host", "port", "fleet", "device")} == {
        "host": "broker.example",
        "port": 8883,
        "fleet": "f",
        "device": "one",
    }
    assert cli.passwords().matches("f/one", board["password"])
    assert cli.registered() == ["one"]
    assert "f/one: password in" in done.stdout
    assert "systemctl reload mosquitto" in done.stdout
    assert board["password"] not in done.stdout


def test_a_certificate_in_one_step(cli: SiteCli) -> None:
    done = cli("add", "f", "one", "--certificate")
    board = cli.board("one")
    assert (board["port"], "password" in board, "f/one" in cli.passwords()) == (8884, False, False)
    certificate = x509.load_der_x509_certificate(b64decode(board["cert"]))
    certificate.verify_directly_issued_by(x509.load_der_x509_certificate(b64decode(board["ca"])))
    assert certificate.subject.rfc4514_string() == "CN=f/one"
    assert cli.registered() == ["one"]
    assert cli.acl().users() == ["doctor/probe", "f/one"]
    assert "systemctl reload mosquitto" in done.stdout


@KINDS
def test_only_the_owner_reads_what_is_secret(cli: SiteCli, options: list[str]) -> None:
    cli("add", "f", "one", *options)
    public = {"ca.pem", "crl.pem", "broker.pem", "f.one.pem"}
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in cli.all_files()}
    assert {mode for name, mode in modes.items() if name not in public} == {0o600}
    assert not any(b"PRIVATE" in content for path, content in cli.all_files().items() if path.name in public)


@KINDS
def test_adding_twice_changes_nothing(cli: SiteCli, options: list[str]) -> None:
    cli("add", "f", "one", *options)
    before = cli.all_files()
    done = cli("add", "f", "one", *options)
    assert "already, in" in done.stdout
    assert "was registered already" in done.stdout
    assert "reload" not in done.stdout
    assert cli.all_files() == before


@KINDS
@pytest.mark.parametrize("breaks_at", range(1, 5))
def test_what_was_interrupted_is_completed(
    cli: SiteCli, options: list[str], breaks_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After any failed write the repeated command ends with one credential, that of the board file."""
    write: Callable[[Path, bytes, int], None] = atomic_files.write
    writes: list[Path] = []

    def failing(path: Path, content: bytes, mode: int) -> None:
        writes.append(path)
        if len(writes) == breaks_at:
            raise OSError(28, "No space left on device")
        write(path, content, mode)

    monkeypatch.setattr(atomic_files, "write", failing)
    cli.data.rename(cli.data.with_name("moved"))  # and the manager fails where no write does
    CliRunner().invoke(app, ["add", "f", "one", *options, "--site", str(cli.site), "--no-register"])
    cli.data.with_name("moved").rename(cli.data)
    monkeypatch.undo()
    cli("add", "f", "one", *options)
    board = cli.board("one")
    record = cli.site / "ca" / "issued" / "f.one.pem"
    if options:
        assert x509.load_pem_x509_certificate(record.read_bytes()).serial_number == serial(board)
    else:
        assert cli.passwords().matches("f/one", board["password"])
    assert "f/one" in cli.acl()
    assert cli.registered() == ["one"]


@KINDS
def test_the_board_file_may_be_deleted_once_it_is_flashed(cli: SiteCli, options: list[str]) -> None:
    cli("add", "f", "one", *options)
    (cli.site / "devices" / "f.one.json").unlink()
    before = cli.all_files()
    assert "no board file: --renew makes both again" in cli("add", "f", "one", *options).stdout
    assert cli.all_files() == before
    assert "--renew" in cli.error("add", "f", "one", *options, "--print")


@KINDS
def test_renewing_makes_a_new_credential_and_revokes_the_old(cli: SiteCli, options: list[str]) -> None:
    cli("add", "f", "one", *options)
    old = cli.board("one")
    assert "reload" in cli("add", "f", "one", "--renew", *options).stdout
    new = cli.board("one")
    if options:
        assert cli.revoked() == {serial(old)} != {serial(new)}
    else:
        assert [cli.passwords().matches("f/one", each["password"]) for each in (old, new)] == [False, True]


def test_a_device_has_one_credential(cli: SiteCli) -> None:
    cli("add", "f", "one")
    assert "f/one has a password: --renew puts a certificate" in cli.error("add", "f", "one", "--certificate")
    cli("add", "f", "one", "--certificate", "--renew")
    assert "f/one" not in cli.passwords()
    old = serial(cli.board("one"))
    assert "f/one has a certificate: --renew puts a password" in cli.error("add", "f", "one")
    cli("add", "f", "one", "--renew")
    assert cli.revoked() == {old}
    assert not (cli.site / "ca" / "issued" / "f.one.pem").exists()


def test_the_board_file_gets_the_new_address_of_the_broker(cli: SiteCli) -> None:
    cli("add", "f", "one")
    password = cli.board("one")["password"]
    cli("add", "f", "one", "--broker", "mqtts://other.example:9999")
    assert (cli.board("one")["host"], cli.board("one")["port"]) == ("other.example", 9999)
    cli("add", "f", "one", "--broker", "mqtt://10.0.0.1")
    board = cli.board("one")
    assert (board["port"], board["password"], "ca" in board) == (1883, password, False)


@KINDS
def test_removing_deletes_everything_and_a_second_call_changes_nothing(cli: SiteCli, options: list[str]) -> None:
    cli("add", "f", "one", "two", *options)
    gone = cli.board("one")
    output = cli("remove", "f", "one").stdout
    assert "f/one: lost its" in output
    assert "deregistered" in output
    assert "reload" in output
    assert ("may publish and receive nothing" in output) == bool(options)
    assert cli.registered() == ["two"]
    assert "f/one" not in cli.passwords()
    assert "f/one" not in cli.acl().users()
    assert cli.revoked() == ({serial(gone)} if options else set())
    assert not list(cli.site.rglob("f.one.*"))
    before = cli.all_files()
    assert cli("remove", "f", "one").stdout == "f/one: had no credential; was not registered\n"
    assert cli.all_files() == before


def test_a_certificate_that_nobody_recorded_is_revoked_too(cli: SiteCli) -> None:
    cli("add", "f", "one", "--certificate")
    board = cli.board("one")
    (cli.site / "ca" / "issued" / "f.one.pem").unlink()
    cli("remove", "f", "one")
    assert cli.revoked() == {serial(board)}


def test_a_board_file_that_cannot_be_read(cli: SiteCli) -> None:
    cli("add", "f", "one", "two")
    path = cli.site / "devices" / "f.one.json"
    path.write_bytes((cli.site / "devices" / "f.two.json").read_bytes())
    assert "is that of f/two; --renew makes a new one" in cli.error("add", "f", "one")
    path.write_text("{}")
    assert "cannot be read" in cli.error("add", "f", "one")
    cli("add", "f", "one", "--renew")
    assert cli.passwords().matches("f/one", cli.board("one")["password"])
    path.write_text("{}")
    cli("remove", "f", "one")
    assert not path.exists()


def test_many_from_a_file(cli: SiteCli, tmp_path: Path) -> None:
    csv = tmp_path / "devices.csv"
    csv.write_text("fleet,device\n" + "".join(f"f,d{n}\n" for n in range(50)))
    assert cli("add", "--csv", str(csv)).stdout.count("reload") == 1
    assert len(cli.registered()) == 50
    listed = json.loads(cli("list", "--json").stdout)
    assert {(row["credential"], row["registered"], row["board_file"]) for row in listed} == {("password", True, True)}
    cli("remove", "--csv", str(csv))
    assert json.loads(cli("list", "--json").stdout) == []


def test_the_list_shows_what_each_device_lacks(cli: SiteCli) -> None:
    cli("add", "f", "by-certificate", "--certificate", "--days", "30")
    cli("add", "f", "by-password")
    cli("add", "f", "unregistered", "--no-register")
    store = open_store(Place(cli.data), create=False)
    store.write(lambda transaction: transaction.register("f", ["nobody"], 0.0))
    store.close()
    (cli.site / "devices" / "f.by-password.json").unlink()
    rows = {row["device"]: row for row in json.loads(cli("list", "--json").stdout)}
    until = rows["by-certificate"].pop("until")
    assert abs(until - time.time() - 30 * 86_400) < 3600
    facts = {name: (row["credential"], row["registered"], row["board_file"]) for name, row in rows.items()}
    assert facts == {
        "by-certificate": ("certificate", True, True),
        "by-password": ("password", True, False),
        "nobody": (None, True, False),
        "unregistered": ("password", False, True),
    }
    table = cli("list").stdout
    assert all(name in table for name in rows)


def test_the_board_file_alone_on_stdout(cli: SiteCli) -> None:
    done = cli("add", "f", "one", "--print")
    assert json.loads(done.stdout) == cli.board("one")
    assert "f/one: password in" in done.stderr


def test_init_keeps_what_is_there(cli: SiteCli) -> None:
    before = cli.all_files()
    assert cli("init").stdout == "nothing to make: all files exist\n"
    assert cli("init", "broker.example", "10.0.0.1").stdout == "nothing to make: all files exist\n"
    assert cli.all_files() == before


def test_init_with_another_name_makes_another_certificate_of_the_same_authority(cli: SiteCli) -> None:
    before = cli.all_files()
    assert "made the broker's certificate for new.example" in cli("init", "new.example").stdout
    changed = {path.name for path, content in cli.all_files().items() if before[path] != content}
    assert changed == {"broker.pem", "broker.key"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "f", "+"], "f/+: device: '+' does not match DeviceName's pattern"),
        (["add", "f", "_a"], "A name has 1 to 63 letters, digits, - and _, a letter or digit first and last"),
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
        (["add", "f", "one", "--data", "/no/such/folder"], "or --no-register, where the devices are registered"),
        (["list", "--site", "/no/such/site"], "no site in /no/such/site: `edge-gateway devices init` makes one"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(cli: SiteCli, arguments: list[str], message: str) -> None:
    before = cli.all_files()
    options = [] if "--site" in arguments else ["--site", str(cli.site)]
    data = [] if "--data" in arguments else ["--data", str(cli.data)]
    done = CliRunner().invoke(app, [*arguments, *options, *data])
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert message in done.stderr
    assert cli.all_files() == before
    assert cli.registered() == []


@pytest.mark.parametrize("others", [["two", "--certificate"], ["two", "x" * 63, "--certificate", "--renew"]])
def test_devices_are_added_all_or_none(cli: SiteCli, others: list[str]) -> None:
    """The last one has a credential of the other kind, or a name that is too long for a certificate."""
    cli("add", "f", "one")
    before = cli.all_files()
    cli.error("add", "f", *others[:1], *(["one"] if "--renew" not in others else []), *others[1:])
    assert cli.all_files() == before
    assert cli.registered() == ["one"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [],
            "under which host names and addresses do devices and the gateway find the broker? Name them: edge-gateway",
        ),
        (["broker.example:8883"], "'broker.example:8883' is not a host name or an address"),
        (["broker.example", "--root", "a/+"], "'a/+'"),
    ],
)
def test_a_refused_init_makes_nothing(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["init", *arguments, "--site", str(tmp_path / "site")])
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_init_with_a_bad_name_changes_nothing(cli: SiteCli) -> None:
    before = cli.all_files()
    assert "is not a host name" in cli.error("init", "new.example", "mqtts://other.example")
    assert "is for the root edge" in cli.error("init", "new.example", "--root", "other")
    assert cli.all_files() == before


def test_an_init_that_fails_says_what_it_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So an operator hears of the authority, of which a copy is to be kept, whichever call has made it."""
    site, write = tmp_path / "site", atomic_files.write

    def failing(path: Path, content: bytes, mode: int) -> None:
        if path.name == "broker.key":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, content, mode)

    monkeypatch.setattr(atomic_files, "write", failing)
    done = CliRunner().invoke(app, ["init", "broker.example", "--site", str(site)])
    assert done.exit_code == 2
    assert f"{site}/broker/broker.key: No space left on device; make room on the disk" in done.stderr
    assert done.stdout == f"made a certificate authority, in {site}/ca: keep a copy of it where nobody else reads it\n"
    monkeypatch.undo()
    done = CliRunner().invoke(app, ["init", "--site", str(site), "broker.example"])
    assert (done.exit_code, "authority" in done.stdout) == (0, False)


def test_listing_writes_nothing(cli: SiteCli) -> None:
    """Not even a lock. Nor does it need the key of the authority, which few may read."""
    cli("add", "f", "one")
    for path in (cli.site / "ca" / ".lock", cli.data / "opening.lock", cli.site / "ca" / "ca.key"):
        path.unlink()
    before, data = cli.all_files(), sorted(cli.data.iterdir())
    assert [each["registered"] for each in json.loads(cli("list", "--json").stdout)] == [True]
    assert (cli.all_files(), sorted(cli.data.iterdir())) == (before, data)
