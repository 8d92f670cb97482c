"""A site whose ACL has `pattern` lines for all devices, taken over while its broker runs."""

from pathlib import Path

from paho.mqtt.enums import MQTTProtocolVersion

from tests.integration.site_files import PATTERNS, USERS
from tests.support.needs import program
from tests.support.site import SiteBroker, devices

MQTT_5 = MQTTProtocolVersion.MQTTv5
HEARTBEATS = {"edge/fleet-p/a/hb", "edge/fleet-c/a/hb"}


def heartbeats(site: SiteBroker) -> set[str]:
    """Publish one of each device, and return what of them reaches the gateway."""
    with site.login_of("gateway", "gateway-loopback").connected("gateway", MQTT_5) as gateway:
        gateway.subscribe("edge/+/+/hb", "edge/doctor/last")
        for kind, user in (("password", "fleet-p/a"), ("certificate", "fleet-c/a")):
            with site.login(kind, user).connected("any", MQTT_5) as device:
                device.publish(f"edge/{user}/hb", b"heartbeat")
        gateway.publish("edge/doctor/last", b"")
        return {topic for topic, _ in iter(gateway.next, ("edge/doctor/last", b""))}


def test_devices_reach_their_topics_after_one_command_and_a_reload(tmp_path: Path, newer: bool) -> None:
    binary = program("mosquitto")
    with SiteBroker(tmp_path, binary) as site:
        site.add("fleet-p", "a")
        site.add("fleet-c", "a", "--certificate")
        (site.site / "broker" / "acl").unlink()
        (tmp_path / "patterns").write_text(USERS + PATTERNS)
        (tmp_path / "patterns").chmod(0o600)
        conf = tmp_path / "mosquitto.conf"
        conf.write_text(conf.read_text().replace(f"{site.site}/broker/acl", f"{tmp_path}/patterns"))
        site.reload()
        assert heartbeats(site) == (set() if newer else HEARTBEATS)
        assert devices(site.site, "convert", "--conf", str(conf)).exit_code == 0
        site.reload()
        assert heartbeats(site) == HEARTBEATS
        # The site's commands go on from there.
        site.add("fleet-p", "b")
        with site.login("password", "fleet-p/b").connected("any", MQTT_5) as device:
            device.subscribe("edge/fleet-p/b/ack")
            with site.login_of("gateway", "gateway-loopback").connected("gateway", MQTT_5) as gateway:
                gateway.publish("edge/fleet-p/b/ack", b"received")
            assert device.next() == ("edge/fleet-p/b/ack", b"received")


def test_a_user_that_is_there_twice_is_there_once_after_the_next_change(tmp_path: Path) -> None:
    """Mosquitto 2.1 ends at a reload where the file of passwords has a user twice."""
    binary = program("mosquitto")
    with SiteBroker(tmp_path, binary) as site:
        passwords = site.site / "broker" / "passwords"
        passwords.write_text(passwords.read_text() * 2)
        site.add("fleet-p", "a")
        assert not site.login("password", "fleet-p/a").is_refused()
