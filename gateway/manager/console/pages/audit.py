"""Who changed what, the newest first, page by page."""

from gateway.manager.console.views import Shown, View, ViewAnswer, ViewRequest, downloaded
from gateway.manager.reports import AuditReport, audit_page

PAGE = 50
"""Rows of a page."""
DOWNLOADED = 10_000
"""Rows of a file, at most: the newest before the page's first."""
COLUMNS = tuple(AuditReport.__annotations__)


def show(request: ViewRequest) -> ViewAnswer:
    before, form = request.number("before"), request.query.get("format")
    limit = PAGE if form is None else DOWNLOADED
    rows, further = request.store.read(lambda transaction: audit_page(transaction, before, limit))
    if form is not None:
        return downloaded(form, "audit", rows, COLUMNS)
    variables = {
        "rows": rows,
        "next": None if further is None else request.link(before=further),
        "first": None if before is None else request.link(before=None),
        "csv": request.link(format="csv"),
        "json": request.link(format="json"),
    }
    return Shown("audit.html", variables)


VIEWS = (View("/audit", show, action="edge-manager:ListAudit"),)
