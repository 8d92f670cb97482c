"""The ACL as `edge-gateway devices` keeps it: made, repaired, and taken over from a site with `pattern` lines."""

import json
import os
import re
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.provisioning.cli import app
from gateway.provisioning.password_file import PasswordFile, new_line
from tests.support.needs import root
from tests.unit.provisioning.conftest import KINDS, Desk

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
def old(desk: Desk, tmp_path: Path) -> Path:
    """A mosquitto.conf whose acl_file has patterns, beside a site without an ACL but with devices."""
    desk("add", "f", "by-password")
    desk("add", "f", "by-certificate", "--certificate")
    (desk.site / "broker" / "acl").unlink()
    (tmp_path / "patterns").write_text(PATTERNS)
    conf = tmp_path / "mosquitto.conf"
    conf.write_text(f"# a comment\nacl_file {tmp_path}/patterns\nlistener 1883\n")
    conf.chmod(0o640)
    return conf


def test_a_site_begins_with_an_acl_for_gateway_operator_and_probe(desk: Desk) -> None:
    text = (desk.site / "broker" / "acl").read_text()
    assert [line for line in text.splitlines() if line.startswith("user ")] == [
        "user gateway",
        "user operator",
        "user doctor/probe",
    ]
    assert "pattern" not in text
    assert desk("list", "--json").stdout == "[]\n"
    assert (desk.site / "gateway" / "probe.json").exists()


@KINDS
def test_a_device_without_an_entry_gets_it_by_the_same_command_again(desk: Desk, options: list[str]) -> None:
    desk("add", "f", "one", *options)
    whole = (desk.site / "broker" / "acl").read_text()
    (desk.site / "broker" / "acl").write_text(whole.replace("topic write edge/f/one/hb\n", ""))
    assert "reload" in desk("add", "f", "one", *options).stdout
    assert "f/one" in desk.acl()
    (desk.site / "devices" / "f.one.json").unlink()
    (desk.site / "broker" / "acl").write_text(whole.replace("topic write edge/f/one/hb\n", ""))
    assert "reload" in desk("add", "f", "one", *options).stdout
    assert "f/one" in desk.acl()


def test_init_makes_an_acl_that_is_missing_with_all_devices(desk: Desk, old: Path) -> None:
    assert "made the ACL, in" in desk("init").stdout
    assert set(desk.acl().users()) == {"f/by-password", "f/by-certificate", "doctor/probe"}
    assert desk("init").stdout == "nothing to make: all is there\n"


def test_init_gives_an_entry_to_who_lacks_it(desk: Desk) -> None:
    desk("add", "f", "one", "two")
    path = desk.site / "broker" / "acl"
    path.write_text(re.sub(r"(?m)^.*f/two.*\n", "", path.read_text()))
    assert "made entries in the ACL for 1 devices" in desk("init").stdout
    assert "f/two" in desk.acl()


def test_another_root_is_another_acl(tmp_path: Path) -> None:
    made = Desk(tmp_path / "site", tmp_path / "data")
    made("init", "broker.example", "--root", "site-7/edge")
    assert "topic write site-7/edge/doctor/probe/hb" in (tmp_path / "site" / "broker" / "acl").read_text()
    assert "is for the root site-7/edge" in made.refused("init", "--root", "edge")
    assert "'a/#' is no root of topics" in Desk(tmp_path / "b", tmp_path).refused("init", "x.example", "--root", "a/#")


def test_a_site_with_patterns_is_taken_over(desk: Desk, old: Path) -> None:
    text = old.read_text()
    done = desk.plain("convert", "--conf", str(old))
    assert "wrote the entries of 3 devices" in done.stdout
    assert "left as it is: pattern read other/%u/x" in done.stdout
    acl = (desk.site / "broker" / "acl").read_text()
    kept = PATTERNS.splitlines()[:6] + PATTERNS.splitlines()[9:]
    assert [line for line in kept if line not in acl.splitlines()] == []
    assert "%u/hb" not in acl
    assert set(desk.acl().users()) == {"f/by-password", "f/by-certificate", "doctor/probe"}
    assert old.read_text() == text.replace(f"{old.parent}/patterns", f"{desk.site}/broker/acl")
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    before = desk.everything()
    desk.plain("convert", "--conf", str(old))
    assert desk.everything() == before


def test_lines_of_its_own_that_the_sites_acl_had_are_kept_beside(desk: Desk, old: Path) -> None:
    desk("init")
    path = desk.site / "broker" / "acl"
    path.write_text(path.read_text() + "user grafana\ntopic read edge/#\n")
    before = path.read_text()
    assert "acl.before" in desk.plain("convert", "--conf", str(old)).stdout
    assert (path.with_name("acl.before")).read_text() == before


def test_a_site_that_is_named_by_a_relative_path(desk: Desk, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk.site.parent)
    done = CliRunner().invoke(app, ["convert", "--conf", str(old), "--site", desk.site.name])
    assert done.exit_code == 0, done.output
    assert f"acl_file {desk.site}/broker/acl\n" in old.read_text()


def test_no_more_of_a_configuration_changes_than_one_path(desk: Desk, old: Path) -> None:
    """Whatever its line ends, its encoding, and where a link leads."""
    text = b"# \xfc\r\n  acl_file   %s/link \r\nlistener 1883\r\n" % os.fsencode(old.parent)
    (old.parent / "link").symlink_to(old.parent / "patterns")
    old.write_bytes(text)
    if os.geteuid() == 0:
        os.chown(old, 0, 8)
    owner = (old.stat().st_uid, old.stat().st_gid)
    desk.plain("convert", "--conf", str(old))
    names = [os.fsencode(path) for path in (old.parent / "link", desk.site / "broker" / "acl")]
    assert old.read_bytes() == text.replace(*names)
    assert (old.stat().st_uid, old.stat().st_gid) == owner


def test_a_probe_that_could_not_connect_is_made_anew(desk: Desk) -> None:
    board = desk.site / "gateway" / "probe.json"

    def draw_another() -> None:
        board.write_text(board.read_text().replace('"password": "', '"password": "x'))

    for spoil in (board.unlink, lambda: board.write_text("{}"), draw_another):
        spoil()
        assert "an identity for the doctor's probe" in desk("init").stdout
        assert desk.passwords().matches("doctor/probe", json.loads(board.read_text())["password"])
        assert desk("init").stdout == "nothing to make: all is there\n"


def test_a_removal_that_broke_off_asks_for_the_reload_when_it_is_repeated(desk: Desk) -> None:
    desk("add", "f", "one")
    passwords = desk.passwords()
    passwords.drop("f/one")
    (desk.site / "broker" / "passwords").write_text(str(passwords))
    assert "reload" in desk("remove", "f", "one").stdout
    assert "f/one" not in desk.acl().users()
    assert "reload" not in desk("remove", "f", "one").stdout


def test_users_of_another_password_file_are_taken_over_too(desk: Desk, old: Path, tmp_path: Path) -> None:
    (tmp_path / "users").write_text("".join(f"{new_line(user, 'x')}\n" for user in ("f/elsewhere", "tool")))
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.conf").write_text(f"password_file {tmp_path}/users\n")
    old.write_text(old.read_text() + f"include_dir {tmp_path}/more\n")
    desk.plain("convert", "--conf", str(old))
    assert "f/elsewhere" in desk.acl()
    assert "tool" not in desk.acl().users()


def test_without_an_acl_adding_says_what_is_missing(desk: Desk, old: Path) -> None:
    assert "`edge-gateway devices convert` makes it" in desk("add", "f", "new").stdout
    assert not (desk.site / "broker" / "acl").exists()


@pytest.mark.parametrize(
    ("conf", "reason"),
    [
        ("listener 1\n", "must name one acl_file, and names none"),
        ("acl_file /a\nacl_file /b\n", "must name one acl_file, and names /a in"),
        ("acl_file acl\n", "where that is depends on the folder in which the broker runs"),
        ("acl_file /no/such/acl\n", "names /no/such/acl, which is not there"),
        ("acl_file /dev/null\npassword_file /no/such/file\n", "names /no/such/file, which is not there"),
    ],
)
def test_a_configuration_that_cannot_be_converted(desk: Desk, tmp_path: Path, conf: str, reason: str) -> None:
    path = tmp_path / "mosquitto.conf"
    path.write_text(conf)
    before = desk.everything()
    assert reason in desk.plain("convert", "--conf", str(path), status=2).stderr
    assert "No such file" in desk.plain("convert", "--conf", "/no/such/file", status=2).stderr
    assert (desk.everything(), path.read_text()) == (before, conf)


def test_an_acl_that_is_no_gateways(desk: Desk) -> None:
    (desk.site / "broker" / "acl").write_text("user x\n")
    assert "has no line `topic read ROOT/+/+/hb`" in desk.refused("add", "f", "one")


def test_a_user_that_stands_twice_stands_once_after_any_change(desk: Desk) -> None:
    path = desk.site / "broker" / "passwords"
    path.write_text(path.read_text() + new_line("gateway", "other") + "\n")
    desk("add", "f", "one", "--certificate")
    assert len(PasswordFile.parse(path.read_text()).users()) == path.read_text().count("\n")


def test_a_folder_that_is_older_than_the_account_is_given_to_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mosquitto's package was installed after `init`: without that the broker could not read its files."""
    root("only root gives files away")
    monkeypatch.setattr("gateway.provisioning.site.ACCOUNTS", {"broker": "nobody"})
    desk("init")
    owners = {path.stat().st_uid for path in [desk.site / "broker", *(desk.site / "broker").iterdir()]}
    assert owners == {os.stat(desk.site / "broker").st_uid} != {0}
