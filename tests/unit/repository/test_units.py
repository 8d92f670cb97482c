"""The systemd units, compose.yaml and the Dockerfile: systemd understands every line, few rights are left, every
setting exists, and the image has what is loaded.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from gateway.config import Settings
from tests.support.needs import missing, program
from tests.support.paths import ROOT

UNITS = (ROOT / "gateway" / "edge-gateway.service", ROOT / "gateway" / "manager" / "edge-manager.service")
EXPOSED_AT_MOST = 20
"""Tenths of the exposure level of `systemd-analyze security`, from 0 to 100."""


def analyzed(unit: Path, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """With a program that is there in place of ours."""
    tool = program("systemd-analyze")
    if os.geteuid() != 0 and not Path("/run/systemd").exists():
        missing("systemd-analyze needs /run/systemd, which only root or a running systemd makes")
    copy = folder / unit.name
    copy.write_text(unit.read_text().replace("/opt/edge-gateway/bin/edge-gateway", "/bin/true"))
    return subprocess.run([tool, *arguments, str(copy)], capture_output=True, text=True, check=False, timeout=29)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_every_line(unit: Path, tmp_path: Path) -> None:
    done = analyzed(unit, tmp_path, "verify", "--man=no")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_once_the_clock_is_set(unit: Path) -> None:
    text = unit.read_text()
    assert re.search(r"^After=.*\btime-sync\.target\b", text, re.MULTILINE)
    assert re.search(r"^Wants=.*\btime-sync\.target\b", text, re.MULTILINE)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_has_a_low_exposure_level(unit: Path, tmp_path: Path) -> None:
    done = analyzed(unit, tmp_path, "security", "--offline=true", f"--threshold={EXPOSED_AT_MOST}")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", [*UNITS, ROOT / "compose.yaml", ROOT / "Dockerfile"], ids=lambda file: file.name)
def test_every_setting_is_one(file: Path) -> None:
    named = set(re.findall(r"\bGATEWAY_([A-Z0-9_]+)[=:]", file.read_text())) - {"IMAGE"}
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_the_image_keeps_the_services_whose_models_are_loaded() -> None:
    kept = set(re.findall(r"! -name (\S+)", (ROOT / "Dockerfile").read_text()))
    loaded = r"""(?:load_service_model|session\.client)\("([a-z0-9-]+)\""""
    used = {name for file in (ROOT / "gateway").rglob("*.py") for name in re.findall(loaded, file.read_text())}
    assert {"sagemaker", "sagemaker-edge", "s3"} <= used <= kept
