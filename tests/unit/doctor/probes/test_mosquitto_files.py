"""The broker's files, as the probe reads them."""

import os
from pathlib import Path

import pytest

from gateway.doctor.checks.reload import BrokerFile, FileAccess
from gateway.doctor.parsers import mosquitto_conf
from gateway.doctor.parsers.mosquitto_conf import ListenerConf, MosquittoConf
from gateway.doctor.probes import mosquitto_files
from gateway.doctor.result import ProbeFailure
from gateway.errors import ConfigError
from gateway.provisioning import password_file


def test_included_files_replace_their_line(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.conf").write_text("max_qos 2\n")
    (tmp_path / "more" / "a.conf").write_text("listener 5\n")
    (tmp_path / "more" / "c.txt").write_text("persistence true\n")
    (tmp_path / "mosquitto.conf").write_text(f"listener 4\ninclude_dir {tmp_path}/more\nmax_qos 0\n")
    found = mosquitto_files.read_conf(tmp_path / "mosquitto.conf")
    assert found == MosquittoConf({}, (ListenerConf(4, "", {}), ListenerConf(5, "", {"max_qos": "0"})))


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--conf"):
        mosquitto_files.read_conf(tmp_path / "none")
    found = mosquitto_files.read_acl(str(tmp_path / "none"))
    assert isinstance(found, ProbeFailure)
    assert "cannot be read" in found.detail


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


def configured(site: Path) -> MosquittoConf:
    text = f"acl_file {site}/acl\npassword_file {site}/passwords\nlistener 1\nkeyfile {site}/key\n"
    return mosquitto_conf.parse(text.splitlines())


def inspect(site: Path) -> dict[str, BrokerFile]:
    return {each.option: each for each in mosquitto_files.read_reloaded_files(configured(site), None, None)}


def test_good_files(site: Path) -> None:
    found = inspect(site)
    assert set(found) == {"acl_file", "password_file", "keyfile"}
    for each in found.values():
        assert (each.problem, each.unseen, each.link, each.mistakes) == ("", "", False, ())
        assert each.access == FileAccess(os.geteuid(), (site / "acl").stat().st_gid, 0o600)
        assert len(each.folders) == len(site.resolve().parts)


@pytest.mark.parametrize("name", ["acl", "passwords", "key"])
def test_links_and_paths_that_are_not_files(site: Path, name: str) -> None:
    option = {"acl": "acl_file", "passwords": "password_file", "key": "keyfile"}[name]
    (site / name).rename(site / "real")
    assert inspect(site)[option].problem == "is missing"
    (site / name).symlink_to(site / "real")
    assert (inspect(site)[option].link, inspect(site)[option].problem) == (True, "")
    (site / "real").unlink()
    assert inspect(site)[option].problem == "is missing"
    (site / name).unlink()
    (site / name).mkdir()
    assert inspect(site)[option].problem == "is not a file"


def test_lines_that_cannot_be_read(site: Path) -> None:
    (site / "acl").write_bytes(b"user a\n\xff\xfe\n")
    (site / "passwords").write_text("a:secret\n")
    (site / "key").write_text("nothing\n")
    found = inspect(site)
    assert "line 2: unknown word" in found["acl_file"].mistakes[0]
    assert "line 1: the password of a" in found["password_file"].mistakes[0]
    assert found["keyfile"].mistakes == ("holds no PEM",)


def test_files_of_another_machine_are_unseen() -> None:
    found = inspect(Path("/nowhere/at/all"))
    assert all("not on this machine" in each.unseen and not each.problem for each in found.values())
