"""What a user would write in an afternoon: paho and boto3 in one callback. The baseline of the gateway's benchmarks.

It takes the full-key msgpack of SendHeartbeat, so it need not know layouts, merge, or keep anything.
"""

import os
import sys

import boto3
import msgpack
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

service = boto3.client("sagemaker-edge")


def on_connect(client: mqtt.Client, *_: object) -> None:
    client.subscribe([("edge/+/+/heartbeat", 1), ("edge/+/+/get", 1)])


def on_message(client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
    root, fleet, device, channel = message.topic.split("/")
    if channel == "heartbeat":
        service.send_heartbeat(**msgpack.unpackb(message.payload))
    else:
        answer = service.get_deployments(DeviceName=device, DeviceFleetName=fleet)
        plan = msgpack.packb(answer["Deployments"])
        client.publish(f"{root}/{fleet}/{device}/plan", plan, 1, retain=True)


loop = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="loop", clean_session=False)
loop.suppress_exceptions = True  # a call that failed: its heartbeat is lost
loop.on_connect, loop.on_message = on_connect, on_message
loop.connect(sys.argv[1], int(sys.argv[2]))
os.write(1, b"connected\n")
loop.loop_forever()
