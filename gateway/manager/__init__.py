"""The embedded Edge Manager: the `sagemaker-edge` API and a model store on one port, and the commands of its operator.

It must never import anything of the gateway but `gateway.errors`. Imports run down:

    cli         the commands `edge-gateway manager`
    process     `serve` as a process: keys, log, signals
    http        the HTTP server: requests, signatures, responses
    console     pages for browsers, on a port of their own
    metrics     what the process counts, for Prometheus
    operations  the three operations of the API, over the database
    reports     what the database keeps, for people and programs
    rollouts    deployments to many devices, in stages
    store       the database, SQLite or PostgreSQL, and the directory of the model files
    api         the API without I/O: checks of inputs, deployments in force, latest values
    place       where the data is
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gateway.manager.errors import ManagerError, StoreUnavailable
from gateway.manager.place import DEFAULT_DATA, Place

if TYPE_CHECKING:
    from gateway.manager.reports import device_reports
    from gateway.manager.store import Store, Transaction, local_auditor, open_store

_LATER = {
    "device_reports": "gateway.manager.reports",
    "Store": "gateway.manager.store",
    "Transaction": "gateway.manager.store",
    "local_auditor": "gateway.manager.store",
    "open_store": "gateway.manager.store",
}
"""They load SQLAlchemy, which `edge-gateway --help` and the gateway must not."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
