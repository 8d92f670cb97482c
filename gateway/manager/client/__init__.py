"""The operator's calls of a manager: of this machine's database (`LocalClient`), or of a running one (`RemoteClient`).

Both send the same operations, and neither decides anything. `edge_manager_client` is boto3's client of the operations
that AWS's API has not:

    edge_manager_client(endpoint_url="http://127.0.0.1:9470").list_deployments()
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gateway.manager.client.client import ManagerClient

if TYPE_CHECKING:
    from gateway.manager.client.local import LocalClient
    from gateway.manager.client.remote import RemoteClient, edge_manager_client

_LATER = {"LocalClient": "local", "RemoteClient": "remote", "edge_manager_client": "remote"}
"""One loads SQLAlchemy, the other boto3: who needs the one does not wait for the other."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
