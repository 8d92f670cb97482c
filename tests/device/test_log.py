"""The words of the log, whatever a client, a broker or a plan comes up with; a real broker is in host/test_log.py."""

import errno

from device_sdk.agent import Agent
from device_sdk.log import words
from device_sdk.port import Port
from tests.device.support import NOW, packed
from tests.device.test_port import Client, step

LAYOUT = ["1.0.0", [["sys", "rssi"]], [["kws", "1", [["sys", "confidence"]]]]]


class Named(Client):
    def __init__(self, host, port, *arguments):
        Client.__init__(self, host, port, *arguments)
        self.broker = host, port


def made(log):
    agent = Agent(LAYOUT, print, print, files="")
    return Port(agent, "broker", "fleet-a", "dev-1", clock=lambda: NOW, mqtt=Named, log=log), agent


def test_errors_of_a_client_in_words():
    for error, up, part in (
        (OSError("refused", 1), False, "does not speak MQTT 3.1.1"),
        (OSError("refused", 4), False, "refuses user name or password"),
        (OSError("refused", 5), False, "refuses user name or password"),
        (OSError("refused", 99), False, "code 99"),
        (OSError("refused", 128), True, "denies the subscriptions"),
        (OSError("deadline"), False, "nothing answers there"),
        (OSError("deadline"), True, "no byte came"),
        (OSError("closed"), False, "a port for TLS"),
        (OSError("closed"), True, "does another device have the same name"),
        (OSError(errno.ECONNRESET), True, "does another device have the same name"),
        (OSError(errno.ECONNREFUSED), False, "nothing listens there"),
        (OSError(errno.EHOSTUNREACH), False, "nothing answers there"),
        (OSError(errno.ETIMEDOUT), False, "nothing answers there"),
        (OSError("timed out"), False, "nothing answers there"),
        (OSError(errno.ENOMEM), False, "no memory"),
        (MemoryError("memory allocation failed"), False, "no memory"),
        (OSError(-2), False, "cannot be resolved"),  # of glibc, rp2
        (OSError(-202), False, "cannot be resolved"),  # of lwIP
        (OSError("[addrinfo error -2]"), False, "cannot be resolved"),
        (OSError(-9984, "MBEDTLS_ERR_X509_CERT_VERIFY_FAILED"), False, "TLS: MBEDTLS_ERR_X509_CERT_VERIFY_FAILED"),
        (ValueError("invalid cert"), False, "TLS: invalid cert"),
        (ValueError("size"), True, "ValueError: size"),
        (OSError(), False, "OSError: "),
        (OSError(5), False, "OSError: "),
    ):
        assert part in words(error, up), (error, words(error, up))


def test_each_thing_once():
    lines = []
    port, _ = made(lines.append)
    for _ in range(3):
        step(port)

    def cut():
        raise OSError("closed")

    port.client.then = cut
    step(port)
    assert port.error
    port.step(0)  # it waits, and the error is still there
    said = lines[:]
    assert len(said) == len(set(said)) == 5
    assert said[4].startswith("the connection ended: the broker closed it: ")
    for _ in range(3):  # a connection that is cut at once, again and again, is no news
        port.client.then = cut
        step(port)
    assert lines == said + ["connected"]


def test_plans_that_make_no_sense_end_nothing():
    lines = []
    port, agent = made(lines.append)
    step(port)
    for n, value in enumerate(
        (
            [[1, [2], [[3, 1, 4, 5]]]],
            [[None, None, [["kws", 1, bytes(20), "size"]]]],
            [["d", 0, [["kws", 1, bytes(20), -1]]]],
            [["d", 0, None]],
            [],
        )
    ):
        agent.receive("plan", packed([n + 1, value]))
        agent.receive("block", packed([n + 1, 0, 0, 2, b"a"]))
        agent.receive("block", packed([n + 1, 0, None, "x", 5]))
        step(port)
        assert port.error is None
    assert "plan 5 has no deployment" in lines


def test_a_log_that_raises_ends_nothing():
    def log(line):
        raise OSError("no terminal")

    port, agent = made(log)
    step(port)
    assert port.error is None
    assert str(agent.error) == "no terminal"
    assert port.client.published[-1].endswith("/hb")


def test_metrics_that_the_layout_has_not():
    lines = []
    _, agent = made(lines.append)
    for name in ("rssi", "sys/rssi", "kws/confidence"):
        agent.sample(name, 1)
    assert lines == []
    for value, part in (("x", "an int of 64 bits or a finite float"), (1 << 64, "an int of 64 bits")):
        try:
            agent.sample("rssi", value)
        except (ValueError, TypeError):
            pass
        assert part in lines[-1]
