"""The pages of the console: a module each, and all their views."""

from gateway.manager.console.pages import audit, deploy, lists, models, overview, plans, rollout, upload

VIEWS = (
    *overview.VIEWS,
    *lists.VIEWS,
    *rollout.VIEWS,
    *plans.VIEWS,
    *models.VIEWS,
    *upload.VIEWS,
    *deploy.VIEWS,
    *audit.VIEWS,
)
