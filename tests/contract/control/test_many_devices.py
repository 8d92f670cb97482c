"""Many devices at once, as boto3 sees them: what one call may have, and what it waits for."""

import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.manager import Place
from gateway.manager.control import devices
from gateway.manager.store import Transaction
from gateway.manager.store.tables import FLEET_STATES
from tests.support.control_plane import HEARTBEAT, refusal
from tests.support.polling import until
from tests.support.served_manager import ServedManager
from tests.support.stores import open_place


def test_a_filter_looks_at_so_many_devices_a_page(
    sagemaker: Any, five: dict[str, str], served: ServedManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "FIRST", 1)
    monkeypatch.setattr(devices, "SCANNED", 2)
    served.client("sagemaker-edge").send_heartbeat(**five, DeviceName="e", **HEARTBEAT)
    for named in (five, {}):
        pages = sagemaker.get_paginator("list_devices").paginate(**named, ModelName="wake")
        assert [[each["DeviceName"] for each in page["DeviceSummaries"]] for page in pages] == [[], [], ["e"]]


def test_devices_that_come_twice_or_are_too_many(sagemaker: Any, fleet: dict[str, str]) -> None:
    twice = refusal(sagemaker.register_devices, **fleet, Devices=[{"DeviceName": "a"}] * 2)
    assert twice == ("ValidationException", "a device is in Devices more than once")
    many = [{"DeviceName": f"d{number}"} for number in range(1001)]
    code, message = refusal(sagemaker.register_devices, **fleet, Devices=many)
    assert (code, "length less than or equal to 1000" in message) == ("ValidationException", True)
    assert sagemaker.list_devices(**fleet)["DeviceSummaries"] == []


def test_a_device_is_held_before_the_counts_of_its_fleet(postgres_url: str, tmp_path: Path) -> None:
    """A heartbeat holds the device and then wants the counts: neither waits for the other in a circle."""
    waits = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    place = Place(tmp_path, postgres_url)
    with ServedManager(place) as served, open_place(place) as store, open_place(place) as other:
        sagemaker, named = served.client("sagemaker"), {"DeviceFleetName": "f"}
        sagemaker.create_device_fleet(**named, OutputConfig={"S3OutputLocation": "s3://models/f"})
        sagemaker.register_devices(**named, Devices=[{"DeviceName": "old"}])
        both = [{"DeviceName": "new"}, {"DeviceName": "old", "Description": "kept"}]
        registering = threading.Thread(target=lambda: sagemaker.register_devices(**named, Devices=both))

        def hold(transaction: Transaction) -> None:
            transaction.lock_devices(transaction.device_ids("f").values())
            registering.start()
            until(
                lambda: other.read(lambda reading: reading.connection.scalar(waits) or 0) >= 1,
                lambda: "it does not wait",
            )
            transaction.connection.execute(sa.select(FLEET_STATES).with_for_update(nowait=True)).all()

        try:
            store.write(hold)
        finally:
            registering.join()
        assert sagemaker.describe_device(**named, DeviceName="old")["Description"] == "kept"
