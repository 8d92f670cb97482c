"""The models, version by version: their files, the deployments that name them, the devices that run them."""

from gateway.manager.console.errors import PageError
from gateway.manager.console.views import Shown, View, ViewAnswer, ViewRequest, downloaded
from gateway.manager.errors import OptionError
from gateway.manager.reports import VersionReport, unknown_versions, version_reports
from gateway.manager.rollouts import actions

PAGE = 50
"""Versions of a page."""
DOWNLOADED = 500
"""Versions of a file, at most: the first of the page."""
UNKNOWN = 50
"""Versions without a package, at most."""
SHOWN = 5
"""Deployments, and fleets, of a version: the newest, and those with the most devices."""
COLUMNS = tuple(name for name in VersionReport.__annotations__ if name != "newest")


def show(request: ViewRequest) -> ViewAnswer:
    model, form = request.query.get("model"), request.query.get("format")
    after, before = request.query.get("after"), request.number("before", 0)
    _check_names(model, after)
    limit = PAGE if form is None else DOWNLOADED
    start = None if after is None or before is None else (after, before)
    found = request.store.read(
        lambda transaction: version_reports(transaction, model=model, after=start, limit=limit + 1)
    )
    versions = found[:limit]
    if form is not None:
        return downloaded(form, "models", versions, COLUMNS)
    last = versions[-1] if len(found) > limit else None
    is_first = start is None and model is None
    variables = {
        "versions": versions,
        "unknown": request.store.read(lambda each: unknown_versions(each, UNKNOWN)) if is_first else [],
        "model": model,
        "may_deploy": request.viewer.may("edge-manager:Deploy"),
        "shown": SHOWN,
        "next": None if last is None else request.link(after=last["model"], before=last["newest"]),
        "first": None if start is None else request.link(after=None, before=None),
        "csv": request.link(format="csv"),
        "json": request.link(format="json"),
    }
    return Shown("models.html", variables)


def _check_names(*names: str | None) -> None:
    try:
        actions.check_names("the model", "EntityName", [name for name in names if name is not None])
    except OptionError as error:
        raise PageError(400, f"The address is wrong: {error}.", "Go back, or correct it.") from None


VIEWS = (View("/models", show, action="sagemaker:ListEdgePackagingJobs"),)
