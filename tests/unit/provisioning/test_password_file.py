"""Lines of Mosquitto's password file: equal to those of its own tool, and no name can make a line of another's."""

import base64
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.provisioning import password_file
from gateway.provisioning.password_file import PasswordFile
from tests.support.needs import program

SALT = bytes(range(12))


def test_the_line_that_mosquitto_passwd_writes(tmp_path: Path) -> None:
    tool = program("mosquitto_passwd")
    file = tmp_path / "passwords"
    subprocess.run([tool, "-c", "-b", str(file), "fleet-a/dev-1", "secret"], check=True, timeout=20)
    theirs = file.read_text().strip()
    _, _, iterations, salt, _ = theirs.split("$")
    assert password_file.hash_line("fleet-a/dev-1", "secret", base64.b64decode(salt), int(iterations)) == theirs
    assert PasswordFile.parse(theirs).matches("fleet-a/dev-1", "secret")


def test_a_line_written_down() -> None:
    """From mosquitto_passwd 2.0.11, so that the format is held where that tool is missing."""
    expected = (
        "f/a:$7$101$4nXXWW0hw02vscHB$"
        "wpf5E8PZT0szVkxTsaQ0y8+07OzV2HWoO617vWObMQcA0qgOQpGAac8inTQrQB1px7ebGP/4gVl08Kp8+Kat2g=="
    )
    assert password_file.hash_line("f/a", "secret", base64.b64decode("4nXXWW0hw02vscHB")) == expected


def test_a_line_with_the_longer_salt() -> None:
    """From mosquitto_passwd 2.1.2."""
    line = (
        "fleet-a/dev-1:$7$1000$x0izIcXNiehx5jztKXSW70l4i7zoKLZEjyHygfmmCZssAHUhhYwkD2xzhuA10WcEAdjurP9Or7z9LpDRD1S71w==$"
        "HRXy7+tSiC8wPP1Ow+mN9QL30XegLOtYxSBLTVyIVdUMvckAt/lau4FiecHv5b4MwOAnw1+Gen0Q4nkrrcktsw=="
    )
    assert PasswordFile.parse(line).matches("fleet-a/dev-1", "secret")
    assert not PasswordFile.parse(line).matches("fleet-a/dev-1", "Secret")


def test_each_line_has_a_salt_of_its_own() -> None:
    assert password_file.new_hash_line("f/a", "secret") != password_file.new_hash_line("f/a", "secret")


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ("", "user name: 0 bytes"),
        ("a:b", "':'"),
        ("a\nb", r"'\\n'"),
        ("fleet/+", "'\\+'"),
        ("#", "leading #"),
        ("fleet/#", "'#'"),
        (" a", "strips"),
        ("x" * 65_536, "65536 bytes"),
    ],
)
def test_a_name_that_cannot_stand_in_the_file(user: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        password_file.hash_line(user, "secret", SALT)


@pytest.mark.parametrize(
    ("password", "salt", "iterations", "message"),
    [
        ("", SALT, 101, "password of 'a': 0 bytes"),
        ("x" * 65_536, SALT, 101, "65536 bytes"),
        ("secret", SALT[:11], 101, "salt: 11 bytes"),
        ("secret", SALT, 0, "iterations: 0"),
    ],
)
def test_what_mosquitto_could_not_read(password: str, salt: bytes, iterations: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        password_file.hash_line("a", password, salt, iterations)


THEIRS = "# a comment\nother:$7$101$c2FsdHNhbHRzYWx0$aGFzaA==\n\n"


def test_a_file_keeps_the_lines_of_others() -> None:
    file = PasswordFile.parse(THEIRS)
    file.set("f/a", "secret")
    assert str(file).startswith(THEIRS.strip())
    assert (file.users(), "f/a" in file, "f/b" in file) == (["other", "f/a"], True, False)
    assert [file.remove("f/a"), file.remove("f/a")] == [True, False]
    assert str(file) == THEIRS.strip() + "\n"


def test_a_password_is_known_by_its_line_and_by_no_other() -> None:
    file = PasswordFile.parse(password_file.new_hash_line("f/a", "secret") + "\nbroken\nolder:$6$c2FsdA==$aGFzaA==\n")
    found = [file.matches(*pair) for pair in (("f/a", "secret"), ("f/a", "other"), ("f/b", "secret"))]
    assert found == [True, False, False]
    assert not any(file.matches(user, "secret") for user in ("broken", "older"))


@given(st.text(max_size=40), st.text(min_size=1, max_size=40))
def test_a_name_is_refused_or_makes_one_line_of_two_fields(user: str, password: str) -> None:
    try:
        line = password_file.hash_line(user, password, SALT)
    except ValueError:
        return
    assert line.splitlines() == [line]
    name, _, rest = line.partition(":")
    assert name == user
    assert ":" not in rest
    assert rest.count("$") == 4
