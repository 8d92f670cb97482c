"""Credentials of a site: its certificate authority, the broker's users, and one file for each board.

Whoever reads the secret files can act as a device, the gateway or the broker. A secret must never be in a log or in a
file that every account may read.
"""

from typing import TYPE_CHECKING

from gateway.provisioning.acl_file import FROM_DEVICE, TO_DEVICE, AclFile
from gateway.provisioning.device_names import PROBE, devices_of_users
from gateway.provisioning.password_file import PasswordFile

if TYPE_CHECKING:
    from gateway.provisioning.board_file import BoardFile


def __getattr__(name: str) -> object:
    """BoardFile when it is asked for: it brings cryptography, which `edge-gateway --help` must not load."""
    if name == "BoardFile":
        from gateway.provisioning.board_file import BoardFile

        return BoardFile
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
