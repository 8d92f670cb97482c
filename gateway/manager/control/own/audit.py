"""The audit, read page by page, the newest first."""

from gateway.manager.control.calls import ControlCall, ControlOperation, Members
from gateway.manager.control.own.outputs import limit_of, output, page_of
from gateway.manager.control.paging import decode_token, encode_token
from gateway.manager.reports import audit_rows


def list_rows(call: ControlCall, asked: Members) -> Members:
    limit = limit_of(asked)
    [before] = decode_token(asked["NextToken"], int) if "NextToken" in asked else [None]
    resource, since = asked.get("Resource"), asked.get("StartTime")
    rows, more = page_of(audit_rows(call.transaction, resource, since, before=before, limit=limit + 1), limit)
    token = encode_token(rows[-1]["id"]) if more else None
    return output("ListAudit", rows=rows, next_token=token)


OPERATIONS = {"ListAudit": ControlOperation(list_rows)}
