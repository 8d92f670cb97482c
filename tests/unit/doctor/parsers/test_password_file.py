"""Lines of a password_file, as Mosquitto 2.0.21 and 2.1.2 took them."""

from base64 import b64encode

import pytest

from gateway.doctor.parsers.password_file import PasswordUsers, parse
from gateway.provisioning import password_file

HASH = b64encode(bytes(64)).decode()


def salt(size: int) -> str:
    return b64encode(bytes(size)).decode()


def test_users_and_what_is_ignored() -> None:
    device, gateway = (password_file.new_hash_line(user, "x") for user in ("f/1", "gateway"))
    text = f"# a comment\n\n{device}\n  # no colon\nword\n{gateway}"
    assert parse(text) == PasswordUsers(("f/1", "gateway"))


@pytest.mark.parametrize(
    ("hashed", "good"),
    [
        (f"$7$101${salt(12)}${HASH}", True),
        (f"$7$101${salt(12)}${HASH}$more", True),
        (f"$6${salt(12)}${HASH}", True),
        ("$argon2id$v=19$m=47104,t=1,p=1$c2FsdA$aGFzaA", True),
        (f"$7$0${salt(12)}${HASH}", False),
        (f"$7$-1${salt(12)}${HASH}", False),
        (f"$7$101${salt(11)}${HASH}", False),
        (f"$7$101${salt(16)}${HASH}", False),
        (f"$7$101${salt(12)}${b64encode(bytes(63)).decode()}", False),
        (f"$7$101${salt(12)}", False),
        (f"$8$101${salt(12)}${HASH}", False),
        ("secret", False),
        ("", False),
    ],
)
def test_hashes(hashed: str, good: bool) -> None:
    found = parse(f"f/1:{hashed}\n")
    assert found.users == ("f/1",)
    assert bool(found.mistakes) is not good
    assert all(each.startswith("line 1: ") and "f/1" in each and "secret" not in each for each in found.mistakes)


@pytest.mark.parametrize("head", ["$7$1000$", "$6$"])
def test_a_salt_of_64_bytes_is_one_of_2_1(head: str) -> None:
    found = parse(f"f/1:{head}{salt(64)}${HASH}\n")
    assert (found.mistakes, found.long_salts) == ((), ("f/1",))


def test_a_user_twice_and_no_user() -> None:
    line = password_file.new_hash_line("f/1", "x")
    found = parse(f"{line}\n:{line}\n{line}\n")
    assert found.users == ("f/1",)
    assert found.mistakes == ("line 2: no user name", "line 3: f/1 a second time (first in line 1)")
