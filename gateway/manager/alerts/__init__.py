"""Alerts: what is wrong with fleets and rollouts, since when, and who is told. `conditions` has no I/O."""

from gateway.manager.alerts.conditions import KINDS, AlertKind, AlertState
from gateway.manager.alerts.records import AlertReport, alert_reports, mute_alert
from gateway.manager.alerts.runner import ALERTS_INTERVAL, AlertRunner
from gateway.manager.alerts.webhook import WEBHOOK_INTERVAL, Webhook, WebhookConfig
