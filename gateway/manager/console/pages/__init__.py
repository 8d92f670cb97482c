"""The pages of the console: a module each, and all their views."""

from gateway.manager.console.pages import audit, lists, models, overview

VIEWS = (*overview.VIEWS, *lists.VIEWS, *models.VIEWS, *audit.VIEWS)
