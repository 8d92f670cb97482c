"""The port of a board with Wi-Fi: connects it again, feeds a watchdog, and announces whether the device is there.

What it needs of a board, `network.WLAN` and `machine.WDT`, are the user's objects. It runs on CPython too.
"""

from .heartbeat import Packer
from .mqtt import Mqtt, _packet, field, time
from .port import Port

RETRY = 20000  # ms that Wi-Fi gets to connect, before it is told to connect again


class BoardPort(Port):
    """wlan: a `network.WLAN` in station mode; None: the user keeps it connected. ssid, key: of the network; ssid None:
    the user has told it to connect; after 20 s `wlan.connect()` is called, which some boards connect to the last one.

    watchdog: its `feed()` is called at least each second while `step` waits. live: announces on the channel `live` that
    the device is connected, asleep or, as a last will, gone; not over umqtt. Others: as in Port.
    """

    tried = None  # when Wi-Fi was told to connect; None: it was connected since

    def __init__(
        self, agent, host, fleet, device, password=None, wlan=None, ssid=None, key=None, watchdog=None, live=False,
        woke=False, root="edge", mqtt=Mqtt, **more,
    ):  # fmt: skip
        self.wlan = wlan
        self.network = (ssid, key) if ssid else ()
        self.live = live and field("/".join((root, fleet, device, "live")))

        def willed(host, port, flags, fields, *arguments):
            # 44: a will, QoS 1, retained.
            return mqtt(host, port, flags | 44, fields[:1] + (self.live[2:], b"\x91\x00") + fields[1:], *arguments)

        mqtt_ = willed if live else mqtt
        Port.__init__(self, agent, host, fleet, device, password, root=root, woke=woke, mqtt=mqtt_, **more)
        if watchdog:
            self.feed = watchdog.feed
        if live and not woke:  # who only wakes announces no more than the next sleep
            self.open = self.client.connect
            self.client.connect = self.connect

    def step(self, ms):
        """As of Port. Without Wi-Fi it does not try the broker."""
        if self.wlan and not self.client.open and not self.wifi():
            self.due = time.ticks_add(time.ticks_ms(), 1000)
        Port.step(self, ms)

    def wifi(self):
        """Whether Wi-Fi is connected. If not, it is told to connect, every 20 s."""
        wlan = self.wlan
        now = time.ticks_ms()
        try:
            if wlan.isconnected():
                if self.tried is not None:
                    self.due = now  # the wait was for Wi-Fi
                    self.tried = None
                return True
            self.error = OSError("no Wi-Fi", wlan.status())
            if self.tried is None and not self.network:
                self.tried = now
            elif self.tried is None or time.ticks_diff(now, self.tried) > RETRY:
                self.tried = now
                wlan.active(True)
                try:
                    wlan.disconnect()  # otherwise some boards raise, since they are still connecting
                except OSError:
                    pass
                wlan.connect(*self.network)
        except Exception as error:  # of the board's driver
            self.error = error

    def connect(self):
        self.open()
        self.announce(1, self.agent.interval)

    def announce(self, state, seconds, then=b""):
        # QoS 1, so that it waits for a gateway that is away; its PUBACK is not awaited, which would cost a round trip.
        client = self.client
        p = Packer(16, 0)
        p.any((state, seconds))
        id = bytes((0, 1 + state))  # 1 is that of the publish that waits for its PUBACK
        packet = _packet(0x33, self.live + id + bytes(p.buf[: p.pos])) + then
        client.write(packet, 0, len(packet))

    def sleep(self, seconds):
        """Call it just before a deep sleep: announces the next wake, disconnects, and saves the agent's state."""
        client = self.client
        try:
            if client.open:
                if self.live:
                    # A connection that is closed with unread bytes is reset, and the broker may miss what was written
                    # last: then the device is gone, not asleep. What is not confirmed comes again at the next wake.
                    for _ in range(99):
                        if not client.io.readinto(client.buf, len(client.buf)):
                            break
                    client.start()
                    self.announce(2, seconds, b"\xe0\0")  # and DISCONNECT
                    client.close()
                else:
                    client.disconnect()
        except Exception as error:  # of the network, or MemoryError
            self.error = error
        self.agent.save(seconds)
