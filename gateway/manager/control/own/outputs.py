"""Outputs of the operations, and their pages; what several inputs have. It must never read anything."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from gateway.manager.control.calls import Members
from gateway.manager.control.paging import decode_token, encode_token
from gateway.manager.errors import validation_error
from gateway.manager.models import output_shape, to_members

MOST = 100
"""Entries of a page, where MaxResults says nothing."""

T = TypeVar("T")


def output(operation: str, **reports: Any) -> Members:
    """The output of an operation, of reports by the names of its members in their own spelling."""
    members: Mapping[str, Any] = to_members(reports, output_shape(operation))
    return members


def limit_of(asked: Members) -> int:
    limit: int = asked.get("MaxResults", MOST)
    return limit


def page_of(items: Iterable[T], limit: int) -> tuple[Sequence[T], bool]:
    """The first `limit`, and whether there are more."""
    found = list(islice(items, limit + 1))
    return found[:limit], len(found) > limit


def start_of(asked: Members) -> tuple[str, str]:
    """(fleet, device) after which a page begins. Raises ApiError."""
    if "NextToken" in asked:
        fleet, device = decode_token(asked["NextToken"], str, str)
        return fleet, device
    fleet, slash, device = asked.get("StartAfter", "/").partition("/")
    if not slash:
        raise validation_error("StartAfter should be FLEET/DEVICE")
    return fleet or asked.get("DeviceFleetName", ""), device


def labels_of(asked: Members) -> dict[str, str]:
    """Of the member Labels; none where it is missing. Raises ApiError where a key comes twice."""
    given: Sequence[Members] = asked.get("Labels", ())
    labels = {each["Key"]: each["Value"] for each in given}
    if len(labels) < len(given):
        raise validation_error("a key is in Labels more than once: a device has one value of it")
    return labels


def device_token(report: Mapping[str, Any], more: bool) -> str | None:
    """Of the page that ends with the report of that device."""
    return encode_token(report["fleet"], report["device"]) if more else None
