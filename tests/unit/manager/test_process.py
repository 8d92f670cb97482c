"""Where the access key of `serve` comes from."""

import pytest

from gateway.manager import ManagerError
from gateway.manager.http import AccessKey
from gateway.manager.process import SECRET, read_access_key


def test_the_secret_comes_from_the_file_before_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv(SECRET, "of the environment")
    assert read_access_key("A", None) == AccessKey("A", "of the environment")
    (tmp_path / "key").write_text("of the file\n")
    assert read_access_key("A", tmp_path / "key") == AccessKey("A", "of the file")


def test_without_an_access_key_nothing_is_checked(monkeypatch):
    monkeypatch.delenv(SECRET, raising=False)
    assert read_access_key(None, None) is None


@pytest.mark.parametrize(("key_id", "secret"), [("A", None), (None, "S"), ("", "S"), ("A", "")])
def test_half_an_access_key_is_an_error(monkeypatch, key_id, secret):
    monkeypatch.delenv(SECRET, raising=False)
    if secret is not None:
        monkeypatch.setenv(SECRET, secret)
    with pytest.raises(ManagerError, match="both"):
        read_access_key(key_id, None)
