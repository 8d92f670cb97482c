"""The embedded Edge Manager: the `sagemaker-edge` API and a model store on one port, and the commands of its operator.

It must never import anything of the gateway but `gateway.errors`. Imports run down:

    cli         the commands `edge-gateway manager`
    process     `serve` as a process: keys, log, signals
    http        the HTTP server: requests, signatures, responses
    operations  the three operations of the API, over the database
    reports     what the database keeps, for people and programs
    rollouts    deployments to many devices, in stages
    store       SQLite, and the directory of the model files
    api         the API without I/O: checks of inputs, deployments in force, latest values
"""

from gateway.manager.errors import ManagerError
from gateway.manager.reports import device_reports
from gateway.manager.store import DEFAULT_DATA, Database, open_database
