"""The space on the disk of the gateway's state."""

from pathlib import Path

from gateway.doctor.probes.disk import probe_disk


def test_the_disk_is_measured_and_not_changed(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "yet"
    assert probe_disk(folder).free > 0
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a").write_bytes(bytes(100))
    found = probe_disk(tmp_path)
    assert (found.problem, found.cached) == ("", 100)


def test_a_file_in_the_folders_place_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot be written" in probe_disk(tmp_path / "file").problem
    assert "cannot be written" in probe_disk(tmp_path / "file" / "below").problem
