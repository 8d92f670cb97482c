"""The operations that AWS's API has not: rollouts with gates, reports, history, access keys, users, the audit,
alerts.

`gateway/manager/models` has their service model. Their outputs are the reports of `gateway.manager.reports` in AWS's
spelling (`members`).
"""

from collections.abc import Mapping

from gateway.manager.control import keys
from gateway.manager.control.calls import ControlOperation, StoreOperation
from gateway.manager.control.own import alerts, audit, deployments, devices, history, users

OPERATIONS: Mapping[str, ControlOperation | StoreOperation] = {
    **deployments.OPERATIONS,
    **devices.OPERATIONS,
    **history.OPERATIONS,
    **keys.OPERATIONS,
    **users.OPERATIONS,
    **audit.OPERATIONS,
    **alerts.OPERATIONS,
}
