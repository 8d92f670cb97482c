"""The pages of the console: a module each, and all their views."""

from gateway.manager.console.pages import audit, overview

VIEWS = (*overview.VIEWS, *audit.VIEWS)
