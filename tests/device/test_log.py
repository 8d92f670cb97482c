"""The words of the log, whatever a client, a broker or a plan comes up with; a real broker is in host/test_log.py."""

import errno
import os
from hashlib import sha1

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


def made(log, store=None):
    agent = Agent(LAYOUT, print, print, files="", store=store)
    return Port(agent, "broker", "fleet-a", "dev-1", clock=lambda: NOW, mqtt=Named, log=log), agent


def clean():
    for name in os.listdir("."):
        if name.split(".")[0] in ("kws", "3"):
            os.remove(name)


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
        (OSError(errno.ECONNABORTED), True, "does another device have the same name"),
        (OSError(32), True, "does another device have the same name"),  # EPIPE
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
        (ValueError("\nThe certificate is wrong\n"), False, "TLS: The certificate is wrong. Is it a port for TLS"),
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


def test_no_ack_comes():
    lines = []
    port, _ = made(lines.append)
    step(port)
    said = []
    for seconds in (9, 1, 10):
        port.at -= 1000 * seconds
        port.step(0)
        said.append([line for line in lines if line.startswith("heartbeats leave, and no answer comes: does the ")])
    assert [len(each) for each in said] == [0, 1, 1]


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
    clean()
    assert "plan 5 has no deployment" in lines


def test_a_download_is_said_each_tenth():
    lines = []
    port, agent = made(lines.append)
    step(port)
    data = bytes(1000)
    definition = b"\x94" + packed("kws") + packed(1) + b"\xc4\x14" + sha1(data).digest() + packed(len(data))
    agent.receive("plan", b"\x92\7\x91\x93" + packed("d") + packed(0) + b"\x91" + definition)
    step(port)
    for at in range(0, 1000, 10):
        agent.receive("block", b"\x95\7\0" + packed(at) + packed(1000) + b"\xc4\x0a" + data[:10])
    step(port)
    clean()
    said = [line for line in lines if "bytes are here" in line]
    assert said[0] == "kws: 100 of 1000 bytes are here"
    assert said[-1] == "kws: all 1000 bytes are here, the checksum is right"
    assert len(said) == 10
    assert "plan 7, deployment d: deploy kws" in lines
    assert "deployment d: SUCCESS" in lines
    agent.receive("ack", packed([agent.seq, 4, NOW, "no such fleet"]))
    assert lines[-2:] == [
        "the service refuses what was sent, and it is dropped: correct the program: no such fleet",
        "the result of d is refused",
    ]


def test_a_result_of_the_last_boot_is_said():
    saved = []
    _, agent = made(print)
    agent.store = saved.append
    agent.result = ["d", "FAIL", "no heartbeat was confirmed in 3 starts", None, None, []]
    agent.save(None)
    lines = []
    made(lines.append, store=lambda text=None: saved[0])
    assert lines == ["deployment d: FAIL: no heartbeat was confirmed in 3 starts"]


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
