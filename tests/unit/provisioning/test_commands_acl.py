"""The ACL of a site: `edge-gateway devices` makes it, repairs it, and converts one with `pattern` lines."""

import json
import os
import re
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.provisioning.cli import app
from gateway.provisioning.password_file import PasswordFile, new_hash_line
from tests.support.needs import root
from tests.unit.provisioning.conftest import KINDS, SiteCli

PATTERNS = """\
# ours
user gateway
topic read edge/+/+/hb
topic write edge/+/+/ack
user tool
topic read edge/#
pattern write edge/%u/hello
pattern write edge/%u/hb
pattern read edge/%u/plan
pattern read other/%u/x
"""


@pytest.fixture
def old(cli: SiteCli, tmp_path: Path) -> Path:
    """A mosquitto.conf whose acl_file has patterns, beside a site without an ACL but with devices."""
    cli("add", "f", "by-password")
    cli("add", "f", "by-certificate", "--certificate")
    (cli.site / "broker" / "acl").unlink()
    (tmp_path / "patterns").write_text(PATTERNS)
    conf = tmp_path / "mosquitto.conf"
    conf.write_text(f"# a comment\nacl_file {tmp_path}/patterns\nlistener 1883\n")
    conf.chmod(0o640)
    return conf


def test_a_site_begins_with_an_acl_for_gateway_operator_and_probe(cli: SiteCli) -> None:
    text = (cli.site / "broker" / "acl").read_text()
    assert [line for line in text.splitlines() if line.startswith("user ")] == [
        "user gateway",
        "user operator",
        "user doctor/probe",
    ]
    assert "pattern" not in text
    assert cli("list", "--json").stdout == "[]\n"
    assert (cli.site / "gateway" / "probe.json").exists()


@KINDS
def test_a_device_without_an_entry_gets_it_when_the_command_is_repeated(cli: SiteCli, options: list[str]) -> None:
    cli("add", "f", "one", *options)
    whole = (cli.site / "broker" / "acl").read_text()
    (cli.site / "broker" / "acl").write_text(whole.replace("topic write edge/f/one/hb\n", ""))
    assert "reload" in cli("add", "f", "one", *options).stdout
    assert "f/one" in cli.acl()
    (cli.site / "devices" / "f.one.json").unlink()
    (cli.site / "broker" / "acl").write_text(whole.replace("topic write edge/f/one/hb\n", ""))
    assert "reload" in cli("add", "f", "one", *options).stdout
    assert "f/one" in cli.acl()


def test_init_makes_an_acl_that_is_missing_with_all_devices(cli: SiteCli, old: Path) -> None:
    assert "made the ACL, in" in cli("init").stdout
    assert set(cli.acl().users()) == {"f/by-password", "f/by-certificate", "doctor/probe"}
    assert cli("init").stdout == "nothing to make: all files exist\n"


def test_init_completes_the_entries_of_an_earlier_version(cli: SiteCli) -> None:
    """And leaves the other lines to the operator: the doctor says which one the gateway lacks."""
    cli("add", "f", "one", "two")
    path = cli.site / "broker" / "acl"
    whole = path.read_text()
    path.write_text(re.sub(r"(?m)^topic \w+ edge/.*/live\n", "", whole))
    assert "made entries in the ACL for 3 devices" in cli("init").stdout
    assert path.read_text() == whole.replace("topic readwrite edge/+/+/live\n", "")
    assert cli("init").stdout == "nothing to make: all files exist\n"


def test_init_gives_an_entry_to_who_lacks_it(cli: SiteCli) -> None:
    cli("add", "f", "one", "two")
    path = cli.site / "broker" / "acl"
    path.write_text(re.sub(r"(?m)^.*f/two.*\n", "", path.read_text()))
    assert "made entries in the ACL for 1 devices" in cli("init").stdout
    assert "f/two" in cli.acl()


def test_another_root_is_another_acl(tmp_path: Path) -> None:
    cli = SiteCli(tmp_path / "site", tmp_path / "data")
    cli("init", "broker.example", "--root", "site-7/edge")
    assert "topic write site-7/edge/doctor/probe/hb" in (tmp_path / "site" / "broker" / "acl").read_text()
    assert "is for the root site-7/edge" in cli.error("init", "--root", "edge")
    assert "'a/#' is not a root of topics" in SiteCli(tmp_path / "b", tmp_path).error(
        "init", "x.example", "--root", "a/#"
    )


def test_a_site_with_patterns_is_converted(cli: SiteCli, old: Path) -> None:
    text = old.read_text()
    done = cli.without_manager("convert", "--conf", str(old))
    assert "wrote the entries of 3 devices" in done.stdout
    assert "left as it is: pattern read other/%u/x" in done.stdout
    acl = (cli.site / "broker" / "acl").read_text()
    kept = PATTERNS.splitlines()[:6] + PATTERNS.splitlines()[9:]
    assert [line for line in kept if line not in acl.splitlines()] == []
    assert "%u/hb" not in acl
    assert set(cli.acl().users()) == {"f/by-password", "f/by-certificate", "doctor/probe"}
    assert old.read_text() == text.replace(f"{old.parent}/patterns", f"{cli.site}/broker/acl")
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    before = cli.all_files()
    cli.without_manager("convert", "--conf", str(old))
    assert cli.all_files() == before


def test_a_previous_acl_with_lines_of_an_operator_is_kept_beside(cli: SiteCli, old: Path) -> None:
    cli("init")
    path = cli.site / "broker" / "acl"
    path.write_text(path.read_text() + "user grafana\ntopic read edge/#\n")
    before = path.read_text()
    assert "acl.before" in cli.without_manager("convert", "--conf", str(old)).stdout
    assert (path.with_name("acl.before")).read_text() == before


def test_a_site_that_is_named_by_a_relative_path(cli: SiteCli, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(cli.site.parent)
    done = CliRunner().invoke(app, ["convert", "--conf", str(old), "--site", cli.site.name])
    assert done.exit_code == 0, done.output
    assert f"acl_file {cli.site}/broker/acl\n" in old.read_text()


def test_no_more_of_a_configuration_changes_than_one_path(cli: SiteCli, old: Path) -> None:
    """Whatever its line ends, its encoding, and where a link leads."""
    text = b"# \xfc\r\n  acl_file   %s/link \r\nlistener 1883\r\n" % os.fsencode(old.parent)
    (old.parent / "link").symlink_to(old.parent / "patterns")
    old.write_bytes(text)
    if os.geteuid() == 0:
        os.chown(old, 0, 8)
    owner = (old.stat().st_uid, old.stat().st_gid)
    cli.without_manager("convert", "--conf", str(old))
    names = [os.fsencode(path) for path in (old.parent / "link", cli.site / "broker" / "acl")]
    assert old.read_bytes() == text.replace(*names)
    assert (old.stat().st_uid, old.stat().st_gid) == owner


def test_a_probe_that_could_not_connect_is_made_anew(cli: SiteCli) -> None:
    board = cli.site / "gateway" / "probe.json"

    def change_password() -> None:
        board.write_text(board.read_text().replace('"password": "', '"password": "x'))

    for spoil in (board.unlink, lambda: board.write_text("{}"), change_password):
        spoil()
        assert "an identity for the doctor's probe" in cli("init").stdout
        assert cli.passwords().matches("doctor/probe", json.loads(board.read_text())["password"])
        assert cli("init").stdout == "nothing to make: all files exist\n"


def test_an_interrupted_removal_asks_for_the_reload_when_it_is_repeated(cli: SiteCli) -> None:
    cli("add", "f", "one")
    passwords = cli.passwords()
    passwords.remove("f/one")
    (cli.site / "broker" / "passwords").write_text(str(passwords))
    assert "reload" in cli("remove", "f", "one").stdout
    assert "f/one" not in cli.acl().users()
    assert "reload" not in cli("remove", "f", "one").stdout


def test_users_of_another_password_file_get_entries_too(cli: SiteCli, old: Path, tmp_path: Path) -> None:
    (tmp_path / "users").write_text("".join(f"{new_hash_line(user, 'x')}\n" for user in ("f/elsewhere", "tool")))
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.conf").write_text(f"password_file {tmp_path}/users\n")
    old.write_text(old.read_text() + f"include_dir {tmp_path}/more\n")
    cli.without_manager("convert", "--conf", str(old))
    assert "f/elsewhere" in cli.acl()
    assert "tool" not in cli.acl().users()


def test_without_an_acl_adding_says_what_is_missing(cli: SiteCli, old: Path) -> None:
    assert "`edge-gateway devices convert` makes it" in cli("add", "f", "new").stdout
    assert not (cli.site / "broker" / "acl").exists()


@pytest.mark.parametrize(
    ("conf", "reason"),
    [
        ("listener 1\n", "must name one acl_file, and names none"),
        ("acl_file /a\nacl_file /b\n", "must name one acl_file, and names /a in"),
        ("acl_file acl\n", "where that is depends on the folder in which the broker runs"),
        ("acl_file /no/such/acl\n", "names /no/such/acl, which does not exist"),
        ("acl_file /dev/null\npassword_file /no/such/file\n", "names /no/such/file, which does not exist"),
    ],
)
def test_a_configuration_that_cannot_be_converted(cli: SiteCli, tmp_path: Path, conf: str, reason: str) -> None:
    path = tmp_path / "mosquitto.conf"
    path.write_text(conf)
    before = cli.all_files()
    assert reason in cli.without_manager("convert", "--conf", str(path), status=2).stderr
    assert "No such file" in cli.without_manager("convert", "--conf", "/no/such/file", status=2).stderr
    assert (cli.all_files(), path.read_text()) == (before, conf)


def test_an_acl_without_the_lines_of_a_gateway(cli: SiteCli) -> None:
    (cli.site / "broker" / "acl").write_text("user x\n")
    assert "has no line `topic read ROOT/+/+/hb`" in cli.error("add", "f", "one")


def test_a_user_with_two_lines_has_one_after_any_change(cli: SiteCli) -> None:
    path = cli.site / "broker" / "passwords"
    path.write_text(path.read_text() + new_hash_line("gateway", "other") + "\n")
    cli("add", "f", "one", "--certificate")
    assert len(PasswordFile.parse(path.read_text()).users()) == path.read_text().count("\n")


def test_a_folder_that_is_older_than_the_account_is_given_to_it(cli: SiteCli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mosquitto's package was installed after `init`: without that the broker could not read its files."""
    root("only root gives files away")
    monkeypatch.setattr("gateway.provisioning.site.ACCOUNTS", {"broker": "nobody"})
    cli("init")
    owners = {path.stat().st_uid for path in [cli.site / "broker", *(cli.site / "broker").iterdir()]}
    assert owners == {os.stat(cli.site / "broker").st_uid} != {0}
