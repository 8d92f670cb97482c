"""What operators see of a gateway: metrics, health and status pages. It must never change what it reports."""

from gateway.ops.call_monitor import CallMonitor
from gateway.ops.drop_monitor import DropMonitor
from gateway.ops.metrics import Metrics
from gateway.ops.status import StatusServer
