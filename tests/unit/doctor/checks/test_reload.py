"""What a reload does to the broker."""

from dataclasses import replace

import pytest

from gateway.doctor.checks.reload import Account, BrokerFile, FileAccess, check_reload
from gateway.doctor.result import CheckResult, Level

BROKER = Account("mosquitto", 102, 105, frozenset({105, 7}))
OPEN_FOLDERS = (FileAccess(0, 0, 0o755),)
ACL = BrokerFile("acl_file", "/b/acl", access=FileAccess(102, 105, 0o600), folders=OPEN_FOLDERS)
PASSWORDS = replace(ACL, option="password_file", path="/b/passwords")
KEY = replace(ACL, option="keyfile", path="/b/key")
CERTIFICATE = replace(KEY, option="certfile", access=FileAccess(0, 0, 0o644))
ALL = (PASSWORDS, ACL, KEY, CERTIFICATE)
FAIL_ALWAYS = (Level.FAIL, Level.FAIL, Level.FAIL)
WARN_IN_2_0 = (Level.WARN, Level.FAIL, Level.FAIL)
WARN_ALWAYS = (Level.WARN, Level.WARN, Level.WARN)
VERSIONS = (False, None, True)


def check(*files: BrokerFile, account: Account | None = BROKER, is_2_1: bool | None = None) -> CheckResult:
    return check_reload(files, account, "mosquitto", is_2_1)


def test_files_as_they_should_be() -> None:
    result = check(*ALL)
    assert (result.level, result.found) == (Level.PASS, "the broker can read its 4 files at a reload")


@pytest.mark.parametrize(
    ("file", "levels", "expected", "todo"),
    [
        (replace(ACL, problem="is missing"), FAIL_ALWAYS, ": acl_file /b/acl is missing", "init"),
        (replace(PASSWORDS, problem="is missing"), FAIL_ALWAYS, ": password_file /b/passwords is missing", "init"),
        (replace(KEY, problem="is not a file"), WARN_IN_2_0, "keyfile /b/key is not a file", "init"),
        (replace(ACL, link=True), WARN_IN_2_0, "symbolic link", "itself"),
        (replace(PASSWORDS, link=True), WARN_IN_2_0, "symbolic link", "itself"),
        (replace(ACL, mistakes=("line 2: x",)), FAIL_ALWAYS, "/b/acl line 2: x", "lines"),
        (replace(PASSWORDS, mistakes=("line 2: x",)), WARN_IN_2_0, "/b/passwords line 2: x", "lines"),
        (
            replace(ACL, access=FileAccess(0, 0, 0o600)),
            FAIL_ALWAYS,
            "cannot be read by mosquitto",
            "chown mosquitto:mos",
        ),
        (replace(PASSWORDS, access=FileAccess(0, 0, 0o640)), FAIL_ALWAYS, "cannot be read by mosquitto", "chown"),
        (replace(KEY, access=FileAccess(0, 105, 0o600)), WARN_IN_2_0, "cannot be read by mosquitto", "chown"),
        (replace(KEY, folders=(FileAccess(0, 0, 0o700),)), WARN_IN_2_0, "cannot be read by mosquitto", "chown"),
        (
            replace(ACL, access=FileAccess(102, 105, 0o644)),
            WARN_ALWAYS,
            "by everyone on this machine",
            "chmod 0600 /b/acl",
        ),
        (replace(KEY, access=FileAccess(102, 105, 0o604)), WARN_ALWAYS, "by everyone on this machine", "chmod 0600"),
        (
            replace(ACL, access=FileAccess(0, 105, 0o640)),
            WARN_ALWAYS,
            "another account or group",
            "chown mosquitto:mos",
        ),
        (
            replace(ACL, access=FileAccess(102, 0, 0o600)),
            WARN_ALWAYS,
            "another account or group",
            "chown mosquitto:mos",
        ),
    ],
    ids=range(15),
)
def test_each_hazard_is_named(file: BrokerFile, levels: tuple[Level, ...], expected: str, todo: str) -> None:
    others = [each for each in ALL if each.option != file.option]
    results = [check(*others, file, is_2_1=is_2_1) for is_2_1 in VERSIONS]
    assert tuple(each.level for each in results) == levels
    assert all(expected in each.found and todo in each.todo for each in results), results[0]


def test_the_effect_depends_on_the_version() -> None:
    lost = replace(ACL, problem="is missing")
    assert [check(lost, is_2_1=each).found.partition(":")[0] for each in VERSIONS] == [
        "the next reload lets everyone read and write everything",
        "the next reload ends Mosquitto 2.1, and with 2.0 lets everyone read and write everything",
        "the next reload ends the broker",
    ]


@pytest.mark.parametrize("file", [replace(KEY, link=True), replace(KEY, access=FileAccess(0, 7, 0o640)), CERTIFICATE])
def test_what_is_not_a_hazard(file: BrokerFile) -> None:
    assert check(ACL, PASSWORDS, file).level is Level.PASS


def test_the_owner_matters_only_where_the_account_is_known() -> None:
    foreign = [replace(each, access=FileAccess(5, 5, 0o600)) for each in (ACL, PASSWORDS)]
    assert check(*foreign, account=None).level is Level.PASS
    assert check(*foreign, account=Account("root", 0, 0, frozenset({0}))).level is Level.PASS
    assert check(*foreign).level is Level.FAIL


def test_the_worst_is_first_and_of_many_some_are_named() -> None:
    mistakes = tuple(f"line {number}: x" for number in range(9))
    result = check(replace(PASSWORDS, mistakes=mistakes), replace(ACL, problem="is missing"))
    assert "everything: acl_file /b/acl is missing; /b/passwords line 0: x; " in result.found
    assert result.found.endswith("; and 7 more")


def test_2_0_refuses_a_user_with_a_salt_of_2_1() -> None:
    file = replace(PASSWORDS, long_salts=("f/1",))
    assert [check(file, is_2_1=each).level for each in VERSIONS] == [Level.WARN, Level.PASS, Level.PASS]
    assert "f/1" in check(file, is_2_1=False).found


def test_what_cannot_be_seen_from_here_is_unknown_unless_there_is_worse() -> None:
    unseen = replace(ACL, unseen="/b/acl is not on this machine")
    assert check(unseen).level is Level.WARN
    assert "cannot know: /b/acl" in check(unseen).found
    assert check(unseen, replace(KEY, problem="is missing")).level is Level.FAIL
