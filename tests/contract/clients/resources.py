"""The resource classes of sagemaker-core, unmodified: a fleet, its devices and its report. Writes one JSON object."""

import json
import sys

import boto3
from sagemaker.core.resources import Device, DeviceFleet
from sagemaker.core.shapes import EdgeOutputConfig

names = ["a", "b", "c"]
output = EdgeOutputConfig(s3_output_location="s3://models/core")
fleet = DeviceFleet.create(device_fleet_name="core", output_config=output, description="first")
# Its own `register_devices` takes the wrong class of two that are named Device, and sends nothing to any service.
boto3.client("sagemaker").register_devices(DeviceFleetName="core", Devices=[{"DeviceName": name} for name in names])
listed = [device.device_name for device in Device.get_all(device_fleet_name="core")]
described = Device.get(device_name="a", device_fleet_name="core")
fleet.update(output_config=output, description="second")
fleet.refresh()
report = fleet.get_report()
fleet.deregister_devices(device_names=names)
fleet.delete()
found = {"listed": listed, "described": described.device_name, "description": fleet.description}
sys.stdout.write(json.dumps(found | {"registered": report.device_stats.registered_device_count}))
