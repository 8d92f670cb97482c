"""The pages of the console: a module each, and all their views."""

from gateway.manager.console.pages import (
    alerts,
    audit,
    deploy,
    device,
    lists,
    models,
    overview,
    plans,
    register,
    rollout,
    upload,
)

VIEWS = (
    *(*overview.VIEWS, *lists.VIEWS, *register.VIEWS, *device.VIEWS, *rollout.VIEWS, *plans.VIEWS),
    *(*models.VIEWS, *upload.VIEWS, *deploy.VIEWS, *audit.VIEWS, *alerts.VIEWS),
)
