"""Reports of devices, fleets and rollouts, read from the database for people and programs. It must never write."""

from gateway.manager.reports.audit import AuditReport, audit_rows
from gateway.manager.reports.deployment_devices import deployment_devices
from gateway.manager.reports.devices import (
    PAGE,
    START,
    count_devices,
    device_deployments,
    device_log,
    device_report,
    device_reports,
    device_rows,
)
from gateway.manager.reports.filters import DeviceFilter
from gateway.manager.reports.fleets import fleet_reports, rollout_counts
from gateway.manager.reports.forms import (
    DEPLOYMENT_DEVICE_STATES,
    BucketReport,
    DeploymentDevice,
    DeviceDeployments,
    DeviceEntry,
    DeviceReport,
    FleetReport,
    LivenessReport,
    LogReport,
    MetricReport,
    ModelCount,
    ModelTimesReport,
    ResultReport,
    RolloutReport,
    StageReport,
    definition_report,
    deployment_report,
    rollout_report,
)
from gateway.manager.reports.models import VersionReport, unknown_versions, version_reports
