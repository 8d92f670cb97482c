"""The pages of the console: a module each, and all their views."""

from gateway.manager.console.pages import audit, deploy, lists, models, overview, upload

VIEWS = (*overview.VIEWS, *lists.VIEWS, *models.VIEWS, *upload.VIEWS, *deploy.VIEWS, *audit.VIEWS)
