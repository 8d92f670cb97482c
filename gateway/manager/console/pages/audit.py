"""Who changed what, the newest first, page by page."""

from gateway.manager.console.views import Shown, View, ViewAnswer, ViewRequest, downloaded
from gateway.manager.reports import AuditReport, audit_rows

PAGE = 50
"""Rows of a page."""
DOWNLOADED = 10_000
"""Rows of a file, at most: the newest before the page's first."""
COLUMNS = tuple(AuditReport.__annotations__)


def show(request: ViewRequest) -> ViewAnswer:
    before, form = request.number("before"), request.query.get("format")
    limit = PAGE if form is None else DOWNLOADED
    found = request.store.read(lambda transaction: audit_rows(transaction, before=before, limit=limit + 1))
    rows = found[:limit]
    if form is not None:
        return downloaded(form, "audit", rows, COLUMNS)
    variables = {
        "rows": rows,
        "next": request.link(before=rows[-1]["id"]) if len(found) > limit else None,
        "first": None if before is None else request.link(before=None),
        "csv": request.link(format="csv"),
        "json": request.link(format="json"),
    }
    return Shown("audit.html", variables)


VIEWS = (View("/audit", show, action="edge-manager:ListAudit"),)
