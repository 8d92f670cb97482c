"""The `sagemaker-edge` API without I/O: which deployments are in force, what is kept of a heartbeat, checks of inputs.

`validation` is not named here: it imports botocore, which `edge-gateway --help` must not load.
"""

from gateway.manager.api.deployments import (
    POLICIES,
    DeviceDeployment,
    ModelDefinition,
    fall_back,
    in_force,
    is_deployed,
    undo_definitions,
)
from gateway.manager.api.device_state import DeviceRecord
from gateway.manager.api.device_status import LatestValues, MetricKey, ModelTimes, Sample, latest_values, to_us
from gateway.manager.api.liveness import LEAST_TOLERANCE, STATES, TOLERANCE, Announced, Liveness, State, judge
