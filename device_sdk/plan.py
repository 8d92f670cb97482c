"""Carries out a deployment plan: downloads files to flash, installs and removes definitions, and makes the result.

The agent imports it when the first plan comes, to save memory before. One result waits at a time: the next deployment
begins when the service has confirmed the last result. An exception of a callback must never leave this module: it
becomes a StatusReason.
"""

import os
from binascii import crc32
from hashlib import sha1


class Definition:
    """One model of a deployment, as in the plan.

    `state`: 1 = DEPLOY, 0 = UNDEPLOY (or a str that the protocol does not define). `checksum`: bytes for 40 hex digits,
    else str or None. `size` in bytes, `url` and `checksum_type` (None: "SHA1") may be None. `path`: the verified file,
    if the agent downloads files. A callback may set `name` and `version`: they become ModelName and ModelVersion of the
    result.
    """

    name = version = path = reason = rollback = None

    def __init__(self, handle=None, state=None, checksum=None, size=None, url=None, checksum_type=None, *grown):
        self.handle = handle
        self.state = state
        self.checksum = checksum
        self.size = size
        self.url = url
        self.checksum_type = checksum_type
        self.now = 1 - state if state in (0, 1) else state  # the state before the callback

    def waits(self):
        """Whether the download of its file has neither succeeded nor failed."""
        return not (self.path or self.reason)


class File:
    """Downloads a model file to flash, block by block, to PATH.part, and renames it when the checksum is right.

    It sets the `path` of its definition, `step`, or after a failure its `reason`. After a crash it continues at the end
    of PATH.part, which it reads once for the checksum. If PATH.part belongs to another file, the checksum is wrong, and
    the download starts from the beginning. It keeps at most one block in memory. It asks for what the link carries in
    4 s, so that no heartbeat waits long behind it.
    """

    count = end = 0  # refusals of the gateway; end of the requested range

    def __init__(self, step, digest, index, path, size):
        self.step = step
        self.of = digest, index
        self.length = min(size or 4096, 4096) - 32  # of a block
        path += step.handle
        self.part = path + ".part"
        if "/" in step.handle or type(step.checksum) is str or step.checksum_type:
            raise ValueError("checksum")
        try:
            self.read(path, "rb")
            self.file.close()
            if self.sum.digest() == step.checksum:
                step.path = path  # power failed between the rename and the result
                return
        except OSError:  # it is not there
            pass
        self.open()

    def open(self):
        self.read(self.part, "ab+")
        self.whole = not self.at  # whether all of it was downloaded for this definition
        self.asked = None  # time of the last request or block; None: the range is complete; False: a block came now
        self.since = None  # time of the first request of this range
        self.start = self.at - 64

    def read(self, path, flags):
        self.sum = sha1()
        self.at = 0
        self.file = open(path, flags)
        self.file.seek(0)
        while True:
            data = self.file.read(128)
            if not data:
                break
            self.sum.update(data)
            self.at += len(data)

    def poll(self, p, now):
        """Write the next request into p, if one is due, and return its channel."""
        if self.asked is False:
            self.asked = now
        if self.step.waits() and (self.asked is None or now - self.asked >= self.wait):
            if self.asked is None:  # the range is complete
                took = 0 if self.since is None else now - self.since
                window = min(8 * (self.at - self.start) // (2 * took or 1), 8192)
                self.start = self.at
                self.since = now
                self.wait = max(3, min(2 * took, 30))
            else:  # nothing came: repeated, for less
                window = self.size // 2
                self.wait = min(2 * self.wait, 30)
            self.size = window = max(window, 256)
            self.asked = now
            length = min(self.length, window)
            count = min(window // length, 64)
            self.end = self.at + count * length
            p.any(self.of + (self.at, length, count))
            return "read"

    def refused(self, reason):
        """The gateway has refused the file."""
        self.count += 1
        if self.count > 2:
            self.fail(reason or "refused")

    def fail(self, reason):
        self.step.reason = reason
        try:
            try:
                self.file.close()
            finally:
                os.remove(self.part)  # it may have filled the flash
        except OSError:
            pass

    def receive(self, value):
        """Handle a block. A repeated block, or one after a missing block, changes nothing."""
        digest, index, offset, total, data = value[:5]
        if self.of == (digest, index) and self.step.waits():
            try:
                self.put(offset, total, data)
            except OSError as error:  # of the flash
                self.fail(str(error))

    def put(self, offset, total, data):
        end = offset + len(data)
        if self.asked is not None:
            self.asked = False
        if offset == self.at:
            self.sum.update(data)
            self.file.write(data)
            self.at = end
            if end // 4096 > offset // 4096:  # a power cut loses no more
                self.file.flush()
        if end >= min(self.end, total):
            self.file.flush()
            self.asked = None
        if self.at < total:
            return
        if self.step.checksum in (None, self.sum.digest()):
            self.file.close()
            path = self.part[:-5]
            os.rename(self.part, path)
            self.step.path = path
        else:
            self.fail("checksum")
            if not self.whole:
                self.step.reason = None
                self.open()


class Plan:
    """Makes the decoded `plan` the agent's newest. For a wrong value it raises, and the agent keeps the last plan.

    A deployment that was in the last plan too, and was carried out, is not repeated.
    """

    def __init__(self, agent, value):
        digest, deployments = value[:2]
        if digest >> 30:  # negative or too large
            raise ValueError
        self.items = []
        done = []
        for each in deployments:
            name, policy, definitions, kind = (each + [None] * 4)[:4]
            same = [name, policy]  # a size or a URL makes no other deployment
            steps = []
            seen = []
            for values in definitions or ():
                step = Definition(*values)
                if kind not in (None, "Model"):
                    step.reason = "unknown type"
                if values[:2] in seen:
                    step.reason = "twice"  # its file would replace that of the first
                seen.append(values[:2])
                same += step.handle, step.state, step.checksum
                steps.append(step)
            crc = crc32(repr(same).encode())
            if crc in agent.done:
                done.append(crc)
            self.items.append((crc, name, policy, steps))
        if agent.file:
            try:
                agent.file.file.close()
            except OSError:  # of the flash: missing bytes are downloaded later
                pass
        agent.file = None
        agent.done = done
        agent.digest = digest
        self.agent = agent
        self.start = agent.now + agent.shift

    def work(self, clock):
        """Carry out the next deployment. Returns False if it must wait."""
        agent = self.agent
        index = 0
        for crc, name, policy, steps in self.items:
            if crc not in agent.done:
                if agent.result or (agent.files is not None and self.fetch(steps, index)):
                    return False
                message = self.exec(steps, policy)
                rows = []
                for s in steps:
                    good = int(not s.reason)
                    rows.append((s.handle, s.name, s.version, s.state, s.now, good, s.reason, s.rollback))
                end = clock() + agent.shift
                agent.result = [name, "FAIL" if message else "SUCCESS", message, self.start, end, rows]
                agent.seq += 1  # a heartbeat that asked for the time may have used the last one
                self.start = end
                agent.done.append(crc)
                agent.due = agent.now
                agent.have = 0  # the device no longer has the previous plan as a whole
                break
            index += len(steps)
        else:
            agent.have = agent.digest
        agent.save(None)
        return True

    def fetch(self, steps, index):
        # Whether a download is not finished.
        agent = self.agent
        for step in steps:
            if step.state == 1 and step.waits():
                if not agent.file or agent.file.step is not step:
                    try:
                        agent.file = File(step, agent.digest, index, agent.files, agent.max_payload)
                    except Exception as error:
                        step.reason = str(error)
                if step.waits():
                    return True
            index += 1
        agent.file = None

    def exec(self, steps, policy):
        # None, or the failure as text. DO_NOTHING continues after a failure. ROLLBACK_ON_FAILURE (or an unknown policy)
        # stops at the first failure and undoes the steps in reverse order.
        message = None
        done = []
        for step in steps:
            if message and policy != 1:
                step.reason = "skipped"
            else:
                step.reason = step.reason or self.call(step, step.state)
                if not step.reason:
                    done.insert(0, step)
                elif not message:
                    message = "%s: %s" % (step.handle, step.reason)
        if message and policy != 1:
            for step in done:
                step.reason = "undone"
                step.rollback = self.call(step, 1 - step.state)
        return message

    def call(self, step, state):
        # None, or the failure as text.
        try:
            self.agent.call[state](step)
            step.now = state
        except Exception as error:
            return (str(error) or type(error).__name__)[:120]
