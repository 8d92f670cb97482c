"""What a device does, in words, for a person at a desk: `Port(..., log=print)`. Without `log` it is not imported.

It replaces methods of one agent and one port by its own, which call them. Each thing is said once, and again only when
it has changed. It changes one thing: until the service has accepted a heartbeat, each asks for an ack.
"""

import errno

from .agent import unpack

BROKER = {  # refused by the broker: codes of CONNACK, and 128 of SUBACK
    1: "the broker does not speak MQTT 3.1.1",
    2: "the broker refuses the client id",
    3: "the broker is not available",
    4: "the broker refuses user name or password",
    5: "the broker refuses user name or password",
    128: "the broker denies the subscriptions: has its ACL entries for this device?",
}
NOBODY = "nothing answers there: is the address right, is the port open in the firewall?"
MEMORY = "no memory: TLS needs 16 to 20 KB of heap at once."
NETWORK = {  # an OSError's first argument
    "timed out": NOBODY,
    errno.ETIMEDOUT: NOBODY,
    errno.EHOSTUNREACH: NOBODY,
    errno.ECONNREFUSED: "nothing listens there: does the broker run, is the port right?",
    errno.ENOMEM: MEMORY,
}
ACK = {  # codes of the protocol's ack
    0: "the Edge Manager accepts the heartbeats: the device is registered",
    1: "what was sent is malformed and is dropped: correct the program",
    2: "the gateway has not got the hello: it is sent again",
    4: "the service refuses what was sent, and it is dropped: correct the program",
    5: "the gateway has no such plan or model file any more: the plan is asked for",
    6: "the plan does not fit max_payload or the broker's packets",
    7: "the gateway gives up what was sent: it is sent again later",
}


class Log:
    """log(text): is called with each line. port: any port, with its agent and root, before it calls agent.start."""

    def __init__(self, log, port):
        self.log = log
        self.port = port
        self.agent = agent = port.agent
        self.name = "/".join(port.root.split("/")[-3:-1])
        self.last = {}  # what was said last of each kind, or its key
        self.error = None  # the last exception that was said
        self.accepted = False  # whether the last ack had code 0
        self.asked = None  # time of the first heartbeat since the last ack that asked for one
        self.at = 0, 0  # tenths of the model file, and the time, of the last line about it
        self.up = None  # time since which there is a connection
        self.failure = None  # the last exception that ended one
        self.old = {}
        self.wrap(agent, "start", "sample", "pack", "sent", "receive", "work")
        if agent.measure:
            self.wrap(agent, "measure")
        if hasattr(port, "client"):  # a Port
            self.wrap(port, "step")
            self.wrap(port.client, "connect")

    def wrap(self, object, *names):
        # `self.NAME` takes the place of `object.NAME`, which is kept as `self.old["NAME"]`.
        for name in names:
            self.old[name] = getattr(object, name)
            setattr(object, name, getattr(self, name))

    def say(self, text, kind=None, key=None):
        """Say the text, unless the last one of this kind had the same key (None: the text is its key)."""
        if kind:
            if self.last.get(kind) == (key or text):
                return
            self.last[kind] = key or text
        try:
            self.log(text)
        except Exception as error:  # of the user's function
            self.error = self.agent.error = error

    # Of the agent

    def start(self, *arguments):
        try:
            self.old["start"](*arguments)
        except ValueError:
            self.say("the layout does not fit `size`, the bytes of the largest payload")
            raise
        self.result()  # of the last boot, or of a model that crashed the device

    def sample(self, name, *arguments, **more):
        agent = self.agent
        try:
            self.old["sample"](name, *arguments, **more)
        except Exception as error:
            self.error = error
            if isinstance(error, KeyError):
                text = "the layout has no such metric, it has: " + ", ".join([each[1] for each in agent.layout[1]])
            else:
                text = "needs one metric, and an int of 64 bits or a finite float: " + described(error)
            self.say("sample(%r): %s" % (name, text), "sample")
            raise

    def measure(self, agent):
        try:
            self.old["measure"](agent)
        except Exception as error:
            if error is not self.error:
                self.error = error
                self.say("measure raised " + described(error), "measure")
            raise
        self.last.pop("measure", None)

    def pack(self, p, now):
        hb = self.agent.hb
        if hb[6] is None and not self.accepted:
            hb[6] = self.agent.seq = self.agent.seq + 1
        self.old["pack"](p, now)

    def sent(self, channel):
        self.old["sent"](channel)
        if channel == "hello":
            self.say("the broker has confirmed the hello")
        elif channel == "hb":
            self.say("the broker confirms heartbeats: one each %d s" % self.agent.interval, "hb")
            if self.asked is None and not self.accepted:
                self.asked = self.agent.now

    def receive(self, channel, payload):
        agent = self.agent
        bad = agent.bad
        digest = agent.digest
        result = agent.result
        file = agent.file
        self.old["receive"](channel, payload)
        try:
            self.received(channel, payload, bad, digest, result, file)
        except Exception as error:  # of a plan that the agent has not looked at yet
            self.error = agent.error = error

    def received(self, channel, payload, bad, digest, result, file):
        """bad, digest, result, file: of the agent before it handled the payload."""
        agent = self.agent
        if agent.bad != bad:
            self.error = agent.error
            self.say("%s: a payload cannot be used: %s" % (channel, described(agent.error)), channel)
        elif channel == "ack":
            self.ack(result)
        elif agent.digest != digest:
            self.plan()
        elif channel == "block" and file:
            self.block(file, getattr(file, "step", file), payload)

    def ack(self, result):
        agent = self.agent
        code = agent.code
        self.asked = None
        self.accepted = code == 0
        text = ACK.get(code) or "code %s" % code
        if code == 3:
            text = "%s is not registered at the Edge Manager: register it there; asked again in %d s"
            text = text % (self.name, agent.due - agent.now)
        elif agent.detail:
            text += ": " + agent.detail
        self.say(text, "ack", (code, agent.detail))
        if result and not agent.result:
            self.say("the result of %s is %s" % (result[0], "refused" if code else "with the service"))

    def plan(self):
        agent = self.agent
        self.at = 0, agent.now
        for item in agent.plan.items:
            steps = ", ".join([("deploy " if step.state == 1 else "remove ") + str(step.handle) for step in item[3]])
            self.say("plan %d, deployment %s: %s" % (agent.digest, item[1], steps))
        if not agent.plan.items:
            self.say("plan %d has no deployment" % agent.digest)

    def block(self, file, step, payload):
        now = self.agent.now
        if step.path:
            self.say("%s: all %d bytes are here, the checksum is right" % (step.handle, file.at))
            self.at = 0, now
        elif not step.reason:
            size = step.size or unpack(payload)[3]
            tenth = 10 * file.at // (size or 1)
            if tenth != self.at[0] or now - self.at[1] >= 5:
                self.at = tenth, now
                self.say("%s: %d of %d bytes are here" % (step.handle, file.at, size))

    def work(self, clock):
        agent = self.agent
        result = agent.result
        done = self.old["work"](clock)
        if agent.result is not result:
            self.result()
        return done

    def result(self):
        if self.agent.result:
            name, status, message = self.agent.result[:3]
            self.say("deployment %s: %s%s" % (name, status, ": " + message if message else ""))

    def look(self):
        """Say what no call of the agent does: an exception that it keeps, and an ack that does not come."""
        agent = self.agent
        if self.up is not None and agent.now - self.up > 10:  # a failure after so long is another one
            self.last.pop("link", None)
        if agent.error is not self.error:
            self.error = agent.error
            if self.error:
                self.say("the clock, the store or a plan raised " + described(self.error), "error")
        if agent.lost[0]:
            text = "samples are dropped, the oldest first, %d so far: no more than %d can wait (keep)"
            self.say(text % (agent.lost[0], agent.keep), "keep", 1)
        if self.asked is not None and agent.now - self.asked >= 10:
            self.say(
                "heartbeats leave, and no answer comes: does the gateway run, take this fleet, and reach the service? "
                "Has the broker's ACL entries for this device?",
                "ack",
            )

    # Of the port

    def connect(self):
        self.say("connecting to %s:%s as %s" % (self.port.client.broker[:2] + (self.name,)), "to")
        kept = self.old["connect"]()
        self.connected()
        return kept

    def connected(self):
        self.up = self.agent.now
        self.say("connected", "up")

    def step(self, ms):
        self.old["step"](ms)
        if self.port.error:
            self.failed(self.port.error)
        self.look()

    def failed(self, error):
        """error: what ended a connection, or an attempt."""
        if error is self.failure:
            return
        self.failure = error
        text = ("not connected: " if self.up is None else "the connection ended: ") + words(error, self.up is not None)
        if self.last.get("link") != text:
            self.say(text + " It is tried again", "link", text)
            self.last.pop("up", None)
        self.up = None


def start(log, port):
    """What a Port imports: a name that a board has already."""
    Log(log, port)


def described(error):
    return "%s: %s" % (type(error).__name__, error)


def words(error, up):
    """What this exception of a client means. up: whether there was a connection."""
    code = error.args[0] if error.args else None
    kind = type(error).__name__
    if code == "refused":
        return BROKER.get(error.args[1] & 255, "the broker refuses: code %d" % (error.args[1] & 255)) + "."
    if code == "no Wi-Fi":
        return "no Wi-Fi: %s." % state(error.args[1])
    if isinstance(error, MemoryError):
        return MEMORY
    if not up and ("SSL" in kind or isinstance(error, ValueError) or (type(code) is int and code < -255)):
        text = "TLS: %s. Is it a port for TLS, are the authority's certificate, the broker's name and the clock right?"
        return text % str(error.args[-1] if error.args else kind).strip("\n.")
    if (type(code) is int and code < 0) or "addrinfo" in str(code):
        return "the broker's name cannot be resolved: is the network up, is the name right?"
    if code == "deadline":
        return "no byte came from the broker for too long: the link is slow or broken." if up else NOBODY
    if code in ("closed", errno.ECONNRESET, errno.ECONNABORTED, 32):  # 32: EPIPE, which MicroPython's errno has not
        if up:
            return "the broker closed it: does another device have the same name? The broker's log says more."
        return "the broker closed it without an answer: is it a port for TLS, or one without?"
    return NETWORK.get(code) or described(error) + "."


def state(status):
    """The name that the board's firmware has for this status of Wi-Fi: the numbers differ from board to board."""
    try:
        import network

        for name in dir(network):
            if name[:5] == "STAT_" and getattr(network, name) == status:
                return name[5:].lower().replace("_", " ")
    except ImportError:
        pass
    return "status %s" % status
