"""The history of samples: metrics of a device, their values over time, each sample; those of a fleet."""

import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from gateway.manager.api import MetricKey, to_us
from gateway.manager.control.calls import Members, StoreCall, StoreOperation
from gateway.manager.control.own.outputs import output
from gateway.manager.errors import ManagerError, validation_error
from gateway.manager.history import HOUR, Bucket, Series, series
from gateway.manager.reports import BucketReport
from gateway.manager.rollouts import actions
from gateway.manager.store import (
    MetricFilter,
    Transaction,
    device_metrics,
    device_samples,
    device_series,
    fleet_series,
)

POINTS = 60
"""Buckets of a metric, about, where Points says nothing."""
SAMPLES = 1000
"""Of a metric, where MaxResults says nothing."""

T = TypeVar("T")


def list_metrics(call: StoreCall, asked: Members) -> Members:
    metrics = [
        {**key._asdict(), "samples": each.samples, "first": each.first / 1e6, "newest": each.last / 1e6}
        for key, (_, each) in _metrics(call, _device(call, asked), asked).items()
    ]
    return output("ListDeviceMetrics", metrics=metrics)


def read_device(call: StoreCall, asked: Members) -> Members:
    number, over = _device(call, asked), series(*_range(asked), asked.get("Points", POINTS))
    numbers = {each: key for key, (each, _) in _metrics(call, number, asked).items()}
    found = _read(call, lambda transaction: device_series(transaction, number, numbers, over))
    return output("GetDeviceHistory", series=_series({numbers[each]: found[each] for each in found}, over))


def read_samples(call: StoreCall, asked: Members) -> Members:
    number, limit, (begin, end) = _device(call, asked), asked.get("MaxResults", SAMPLES), _range(asked)
    found = []
    for key, (metric, _) in _metrics(call, number, asked).items():
        samples, more = _read(
            call,
            lambda transaction: device_samples(transaction, number, metric, begin, end, limit),  # noqa: B023
        )
        points = [{"at": at / 1e6, "value": value} for at, value in samples]
        found.append({**key._asdict(), "samples": points, "more": more})
    return output("GetDeviceSamples", series=found)


def read_fleet(call: StoreCall, asked: Members) -> Members:
    """In hours or longer."""
    fleet, over = asked["DeviceFleetName"], series(*_range(asked), asked.get("Points", POINTS), HOUR)
    actions.require_fleet(call.store, fleet)
    found = _read(call, lambda transaction: fleet_series(transaction, fleet, _filter(asked), over))
    return output("GetFleetHistory", series=_series(found, over))


def _device(call: StoreCall, asked: Members) -> int:
    return actions.require_device(call.store, asked["DeviceFleetName"], asked["DeviceName"])


def _metrics(call: StoreCall, device: int, asked: Members) -> Mapping[MetricKey, Any]:
    return _read(call, lambda transaction: device_metrics(transaction, device, _filter(asked)))


def _filter(asked: Members) -> MetricFilter:
    return MetricFilter(*map(asked.get, ("MetricName", "Dimension", "ModelName", "ModelVersion")))


def _range(asked: Members) -> tuple[int, int]:
    """In microseconds. Raises ApiError."""
    begin, end = to_us(asked["StartTime"]), to_us(asked["EndTime"])
    if begin >= end:
        raise validation_error("StartTime is not before EndTime")
    return begin, end


def _read(call: StoreCall, work: Callable[[Transaction], T]) -> T:
    try:
        return call.store.read(work)
    except (ValueError, zlib.error, struct.error) as error:
        raise ManagerError(f"samples in the database are damaged ({error}): ask for another time") from error


def _series(found: Mapping[MetricKey, Iterable[Bucket]], over: Series) -> list[dict[str, Any]]:
    return [
        {**key._asdict(), "seconds": over.size / 1e6, "buckets": [_bucket(each) for each in buckets]}
        for key, buckets in found.items()
    ]


def _bucket(bucket: Bucket) -> BucketReport:
    start = bucket.start / 1e6
    return BucketReport(start=start, count=bucket.count, min=bucket.min, mean=bucket.mean, max=bucket.max)


OPERATIONS = {
    "ListDeviceMetrics": StoreOperation(list_metrics),
    "GetDeviceHistory": StoreOperation(read_device),
    "GetDeviceSamples": StoreOperation(read_samples),
    "GetFleetHistory": StoreOperation(read_fleet),
}
