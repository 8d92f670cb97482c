"""The commands that the demo shows with `--keep`."""

from pathlib import Path

from gateway.demo.brokers.address import BrokerAddress, BrokerLogin
from gateway.demo.environment import Environment
from gateway.demo.hints import HEARTBEAT, commands_to_try
from gateway.protocol import decoder
from gateway.protocol.messages import Layout, Metric


def test_the_heartbeat_to_type_can_be_decoded() -> None:
    heartbeat = decoder.decode_heartbeat(HEARTBEAT)
    assert heartbeat.source == Layout("by hand 1.0", (Metric("desk", "temperature", -1),), ())
    assert heartbeat.values == (215,)


def test_the_hints_name_the_real_ports_and_credentials() -> None:
    guest = BrokerLogin("demo/dev-4", "secret-4")
    broker = BrokerAddress("any", "127.0.0.1", 1884, 1883, guest, guest, True, True)
    environment = Environment((), "m", Path("m"), ("n", Path("f")), None, ())
    observer = BrokerLogin("observer", "secret-o")
    hints = commands_to_try(broker, observer, guest, "py", Path("d"), environment, "http://h/")
    commands = [command for _, command in hints]
    assert commands[0].startswith("mosquitto_sub -V 5 -h 127.0.0.1 -p 1884 -u observer -P secret-o ")
    assert "mosquitto_pub -h 127.0.0.1 -p 1883 -u demo/dev-4 -P secret-4 -q 1 -t edge/demo/dev-4/hb -s" in commands[1]
    assert commands[3:] == [
        "py manager status demo --data d",
        "py manager deploy demo --all n=f --data d",
        "py manager undeploy demo m --all --data d",
        "curl -s http://h/metrics",
    ]
