"""What a reload does to the broker: the files as they are looked at, and what the doctor makes of it."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.doctor import conf, probe_files
from gateway.doctor.conf import Conf
from gateway.doctor.facts import Access, Account, BrokerFile
from gateway.doctor.judge_reload import reload
from gateway.doctor.verdict import Level, Verdict
from gateway.provisioning import password_file

BROKER = Account("mosquitto", 102, 105, frozenset({105, 7}))
OPEN_FOLDERS = (Access(0, 0, 0o755),)
ACL = BrokerFile("acl_file", "/b/acl", access=Access(102, 105, 0o600), folders=OPEN_FOLDERS)
PASSWORDS = replace(ACL, option="password_file", path="/b/passwords")
KEY = replace(ACL, option="keyfile", path="/b/key")
CERTIFICATE = replace(KEY, option="certfile", access=Access(0, 0, 0o644))
ALL = (PASSWORDS, ACL, KEY, CERTIFICATE)
FAIL_ALWAYS = (Level.FAIL, Level.FAIL, Level.FAIL)
WARN_IN_2_0 = (Level.WARN, Level.FAIL, Level.FAIL)
WARN_ALWAYS = (Level.WARN, Level.WARN, Level.WARN)
VERSIONS = (False, None, True)


def judged(*files: BrokerFile, account: Account | None = BROKER, is_2_1: bool | None = None) -> Verdict:
    return reload(files, account, "mosquitto", is_2_1)


def test_files_as_they_should_be() -> None:
    verdict = judged(*ALL)
    assert (verdict.level, verdict.found) == (Level.PASS, "the broker can read its 4 files again")


@pytest.mark.parametrize(
    ("file", "levels", "said", "todo"),
    [
        (replace(ACL, fault="is missing"), FAIL_ALWAYS, ": acl_file /b/acl is missing", "init"),
        (replace(PASSWORDS, fault="is missing"), FAIL_ALWAYS, ": password_file /b/passwords is missing", "init"),
        (replace(KEY, fault="is no file"), WARN_IN_2_0, "keyfile /b/key is no file", "init"),
        (replace(ACL, link=True), WARN_IN_2_0, "symbolic link", "itself"),
        (replace(PASSWORDS, link=True), WARN_IN_2_0, "symbolic link", "itself"),
        (replace(ACL, mistakes=("line 2: x",)), FAIL_ALWAYS, "/b/acl line 2: x", "lines"),
        (replace(PASSWORDS, mistakes=("line 2: x",)), WARN_IN_2_0, "/b/passwords line 2: x", "lines"),
        (replace(ACL, access=Access(0, 0, 0o600)), FAIL_ALWAYS, "cannot be read by mosquitto", "chown mosquitto:mos"),
        (replace(PASSWORDS, access=Access(0, 0, 0o640)), FAIL_ALWAYS, "cannot be read by mosquitto", "chown"),
        (replace(KEY, access=Access(0, 105, 0o600)), WARN_IN_2_0, "cannot be read by mosquitto", "chown"),
        (replace(KEY, folders=(Access(0, 0, 0o700),)), WARN_IN_2_0, "cannot be read by mosquitto", "chown"),
        (replace(ACL, access=Access(102, 105, 0o644)), WARN_ALWAYS, "by everyone on this machine", "chmod 0600 /b/acl"),
        (replace(KEY, access=Access(102, 105, 0o604)), WARN_ALWAYS, "by everyone on this machine", "chmod 0600"),
        (replace(ACL, access=Access(0, 105, 0o640)), WARN_ALWAYS, "another account or group", "chown mosquitto:mos"),
        (replace(ACL, access=Access(102, 0, 0o600)), WARN_ALWAYS, "another account or group", "chown mosquitto:mos"),
    ],
    ids=range(15),
)
def test_each_hazard_is_named(file: BrokerFile, levels: tuple[Level, ...], said: str, todo: str) -> None:
    others = [each for each in ALL if each.option != file.option]
    verdicts = [judged(*others, file, is_2_1=is_2_1) for is_2_1 in VERSIONS]
    assert tuple(each.level for each in verdicts) == levels
    assert all(said in each.found and todo in each.todo for each in verdicts), verdicts[0]


def test_what_comes_of_it_hangs_on_the_version() -> None:
    lost = replace(ACL, fault="is missing")
    assert [judged(lost, is_2_1=each).found.partition(":")[0] for each in VERSIONS] == [
        "the next reload lets everyone read and write everything",
        "the next reload ends Mosquitto 2.1, and has 2.0 let everyone read and write everything",
        "the next reload ends the broker",
    ]


@pytest.mark.parametrize("file", [replace(KEY, link=True), replace(KEY, access=Access(0, 7, 0o640)), CERTIFICATE])
def test_what_is_no_hazard(file: BrokerFile) -> None:
    assert judged(ACL, PASSWORDS, file).level is Level.PASS


def test_whose_files_they_are_matters_only_where_the_account_is_known() -> None:
    strange = [replace(each, access=Access(5, 5, 0o600)) for each in (ACL, PASSWORDS)]
    assert judged(*strange, account=None).level is Level.PASS
    assert judged(*strange, account=Account("root", 0, 0, frozenset({0}))).level is Level.PASS
    assert judged(*strange).level is Level.FAIL


def test_the_worst_is_first_and_of_many_some_are_named() -> None:
    mistakes = tuple(f"line {number}: x" for number in range(9))
    verdict = judged(replace(PASSWORDS, mistakes=mistakes), replace(ACL, fault="is missing"))
    assert "everything: acl_file /b/acl is missing; /b/passwords line 0: x; " in verdict.found
    assert verdict.found.endswith("; and 7 more")


def test_a_salt_of_2_1_locks_its_user_out_of_2_0() -> None:
    file = replace(PASSWORDS, long_salts=("f/1",))
    assert [judged(file, is_2_1=each).level for each in VERSIONS] == [Level.WARN, Level.PASS, Level.PASS]
    assert "f/1" in judged(file, is_2_1=False).found


def test_what_cannot_be_seen_from_here_is_unknown_unless_there_is_worse() -> None:
    unseen = replace(ACL, unseen="/b/acl is not on this machine")
    assert judged(unseen).level is Level.WARN
    assert "cannot know: /b/acl" in judged(unseen).found
    assert judged(unseen, replace(KEY, fault="is missing")).level is Level.FAIL


# -- looking --


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for name, text in {
        "acl": "user a\ntopic read t\n",
        "passwords": password_file.new_hash_line("a", "x") + "\n",
        "key": "-----BEGIN PRIVATE KEY-----\n",
    }.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    return tmp_path


def configured(site: Path) -> Conf:
    text = f"acl_file {site}/acl\npassword_file {site}/passwords\nlistener 1\nkeyfile {site}/key\n"
    return conf.read(text.splitlines())


def looked(site: Path) -> dict[str, BrokerFile]:
    return {each.option: each for each in probe_files.read_again(configured(site), None, None)}


def test_good_files_are_seen_as_they_are(site: Path) -> None:
    found = looked(site)
    assert set(found) == {"acl_file", "password_file", "keyfile"}
    for each in found.values():
        assert (each.fault, each.unseen, each.link, each.mistakes) == ("", "", False, ())
        assert each.access == Access(os.geteuid(), (site / "acl").stat().st_gid, 0o600)
        assert len(each.folders) == len(site.resolve().parts)


@pytest.mark.parametrize("name", ["acl", "passwords", "key"])
def test_links_and_files_that_are_none(site: Path, name: str) -> None:
    option = {"acl": "acl_file", "passwords": "password_file", "key": "keyfile"}[name]
    (site / name).rename(site / "real")
    assert looked(site)[option].fault == "is missing"
    (site / name).symlink_to(site / "real")
    assert (looked(site)[option].link, looked(site)[option].fault) == (True, "")
    (site / "real").unlink()
    assert looked(site)[option].fault == "is missing"
    (site / name).unlink()
    (site / name).mkdir()
    assert looked(site)[option].fault == "is no file"


def test_lines_that_cannot_be_read(site: Path) -> None:
    (site / "acl").write_bytes(b"user a\n\xff\xfe\n")
    (site / "passwords").write_text("a:secret\n")
    (site / "key").write_text("nothing\n")
    found = looked(site)
    assert "line 2: unknown word" in found["acl_file"].mistakes[0]
    assert "line 1: the password of a" in found["password_file"].mistakes[0]
    assert found["keyfile"].mistakes == ("holds no PEM",)


def test_files_of_another_machine_are_unseen() -> None:
    found = looked(Path("/nowhere/at/all"))
    assert all("not on this machine" in each.unseen and not each.fault for each in found.values())
