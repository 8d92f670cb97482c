"""A site and a manager's data, and `edge-gateway devices` with them."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.manager import Place, open_store
from gateway.provisioning.acl_file import AclFile
from gateway.provisioning.certificate_authority import revoked_serials
from gateway.provisioning.cli import app
from gateway.provisioning.password_file import PasswordFile

KINDS = pytest.mark.parametrize("options", [[], ["--certificate"]], ids=["password", "certificate"])


@dataclass
class SiteCli:
    """Runs `edge-gateway devices` with a site and a manager's data directory."""

    site: Path
    data: Path

    def __call__(self, *arguments: str, status: int = 0) -> Result:
        return self.without_manager(
            *arguments, *([] if arguments[0] == "init" else ["--data", str(self.data)]), status=status
        )

    def without_manager(self, *arguments: str, status: int = 0) -> Result:
        """A command that has no option --data."""
        done = CliRunner().invoke(app, [*arguments, "--site", str(self.site)])
        assert done.exit_code == status, done.output
        return done

    def error(self, *arguments: str) -> str:
        """The one line on stderr."""
        done = self(*arguments, status=2)
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        return done.stderr

    def board(self, name: str) -> dict[str, str]:
        board: dict[str, str] = json.loads((self.site / "devices" / f"f.{name}.json").read_text())
        return board

    def passwords(self) -> PasswordFile:
        return PasswordFile.parse((self.site / "broker" / "passwords").read_text())

    def acl(self) -> AclFile:
        return AclFile.parse((self.site / "broker" / "acl").read_text())

    def revoked(self) -> set[int]:
        return revoked_serials((self.site / "broker" / "crl.pem").read_bytes())

    def registered(self) -> list[str]:
        store = open_store(Place(self.data), create=False)
        devices = [device for _, device, _ in store.read(lambda transaction: transaction.devices("f"))]
        store.close()
        return devices

    def all_files(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self.site.rglob("*") if path.is_file()}


@pytest.fixture
def cli(tmp_path: Path) -> SiteCli:
    open_store(Place(tmp_path / "data"), create=True).close()
    runner = SiteCli(tmp_path / "site", tmp_path / "data")
    runner("init", "broker.example", "10.0.0.1")
    return runner
