"""Carries out a deployment plan: downloads files to flash, installs and removes definitions, and makes the result.

The agent imports it when the first plan comes, to save memory before. One result waits at a time: the next deployment
begins when the service has confirmed the last result. An exception of a callback must never leave this module: it
becomes a StatusReason.

The file of a model is PATH: FILES + handle. One that replaces it is PATH.new until the result of its deployment is
saved: only then `replace` moves the files. So after a loss of power all of them are the old or all the new ones.
"""

import os
from binascii import crc32


def exec(call, *args):
    """None, or what the call raised, in words."""
    try:
        call(*args)
    except Exception as error:
        return format(error)


def format(error):
    """An exception in words, the same on every runtime."""
    if isinstance(error, MemoryError):
        return "memory is full"
    if 28 in error.args:  # ENOSPC, which has no text on MicroPython
        return "flash is full"
    return (str(error) or type(error).__name__)[:120]


def replace(agent):
    """Move the files as the result says. Repeated, it changes nothing more.

    Agent.start calls it for a saved result, since power may have failed meanwhile. health.py puts its own in its place.
    """
    if agent.files is not None:
        for row in agent.result[5]:
            if row[5]:
                path = agent.files + str(row[0])
                if row[3]:
                    exec(os.rename, path + ".new", path)  # on FAT first PATH goes: whole is then PATH.new
                else:
                    exec(os.remove, path)


class Definition:
    """One model of a deployment, as in the plan.

    `state`: 1 = DEPLOY, 0 = UNDEPLOY (or a str that the protocol does not define). `checksum`: bytes for 40 hex digits,
    else str or None. `size` in bytes, `url` and `checksum_type` (None: "SHA1") may be None. `path`, if the agent
    downloads files: the verified file to install, in a rollback the old one; after its deployment it is called PATH. A
    callback may set `name` and `version`: they become ModelName and ModelVersion of the result.

    As `agent.file` it downloads its file to flash, block by block, to PATH.new, unless PATH is that file already. Then
    it sets `path`, or after a failure `reason`. After a crash it continues at the end of PATH.new, which it reads once
    for the checksum. If PATH.new belongs to another file, the checksum is wrong, and the download starts from the
    beginning. A checksum that is no SHA-1 is wrong too. It keeps at most one block in memory. It asks for what the link
    carries in 4 s, so that no heartbeat waits long behind it.
    """

    # old: PATH, where there was a file before the deployment. new: PATH.new, where one was downloaded.
    name = version = path = reason = rollback = old = new = None
    # Refusals of the gateway; end of the requested range, 0 where all of it came; time of the last request or block,
    # False: a block came now.
    count = end = send = 0

    def __init__(self, values, index):
        self.index = index  # through all deployments of the plan
        self.handle, self.state, self.checksum, self.size, self.url, self.checksum_type = (values + [None] * 6)[:6]
        self.now = +(not self.state)  # the state before the callback

    def open(self, agent, path):
        """Set `path`, or begin the download as `agent.file`. path: PATH."""
        from hashlib import sha1  # some firmware has none

        self.agent = agent
        if not exec(self.read, path, sha1) and self.sum.digest() == self.checksum:
            self.path = path
            exec(os.remove, self.new)  # of another file: it must not take the place of this one
        else:
            open(self.new, "ab").close()
            self.read(self.new, sha1)
            self.file = open(self.new, "ab")
            self.all = not self.at  # whether all of it was downloaded for this definition
            self.since = agent.now  # time of the first request of this range
            self.start = self.at - 128
            agent.file = self

    def read(self, path, hash):
        self.sum = hash()
        self.at = 0
        with open(path, "rb") as file:
            data = path
            while data:
                data = file.read(128)
                self.sum.update(data)
                self.at += len(data)

    def poll(self, p, now):
        """Write the next request into p, if one is due, and return its channel."""
        if self.send is False:
            self.send = now
        new = self.at >= self.end
        if new or now - self.send >= self.wait:
            if new:
                took = 2 * (now - self.since)
                window = min(8 * (self.at - self.start) // (took or 2), 8192)
                self.start = self.at
                self.since = now
            else:  # nothing came: repeated, for less
                took = 2 * self.wait
                window = (self.end - self.at) // 2
            self.wait = max(6, min(took, 30))
            self.send = now
            window = max(window, 256)
            length = min((self.agent.max_payload or 4096) - 32, window)
            count = min(window // length, 64)
            self.end = self.at + count * length
            p.any([self.agent.digest, self.index, self.at, length, count])
            return "read"

    def refused(self, reason):
        """The gateway has refused the file."""
        self.count += 1
        if self.count > 2:
            self.stop(reason or "refused")

    def stop(self, reason):
        exec(self.file.close)
        if reason:
            exec(os.remove, self.new)  # it may have filled the flash
        self.reason = reason
        self.agent.file = self.file = self.sum = None  # the file system's buffer is in it

    def receive(self, value):
        """Handle a block. A repeated block, or one after a missing block, changes nothing."""
        digest, index, offset, total, data = value[:5]
        file = self.file
        if digest == self.agent.digest and index == self.index:
            try:
                if not offset and hasattr(os, "statvfs"):  # some firmware has none; only now the size is known
                    stat = os.statvfs(self.new)
                    free = stat[1] * stat[4]
                    if total > free:
                        if not self.agent.replace:
                            raise OSError("flash is full: needs %d bytes, has %d" % (total, free))
                        exec(os.remove, self.new[:-4])
                end = offset + len(data)
                self.send = False
                if offset == self.at:
                    file.write(data)
                    self.sum.update(data)
                    self.at = end
                    if end >> 12 > offset >> 12:  # a power cut loses no more
                        file.flush()
                if end >= min(self.end, total):
                    file.flush()
                    self.end = 0
                if self.at >= total:
                    if self.checksum in (None, self.sum.digest()):
                        self.path = self.new
                        self.stop(None)
                    else:
                        self.stop("checksum")
                        if not self.all:
                            self.reason = None  # once more, from its beginning
            except OSError as error:  # of the flash
                self.stop(format(error))


class Plan:
    """Makes the decoded `plan` the agent's newest. For a wrong value it raises, and the agent keeps the last plan.

    A deployment that was in the last plan too, and was carried out, is not repeated. One that failed for a reason with
    "is full" is: with the next plan, or after a restart. `agent.done` has 0 for it.
    """

    def __init__(self, agent, value):
        digest, deployments = value[:2]
        if digest >> 30:  # negative or too large
            raise ValueError
        self.items = []
        done = []
        index = 0
        for each in deployments:
            name, policy, definitions, kind = (each + [None] * 4)[:4]
            same = [name, policy]  # a size or a URL makes no other deployment
            steps = []
            for values in definitions or ():
                step = Definition(values, index)
                index += 1
                if kind and kind != "Model":
                    step.reason = "unknown type"
                if "/" in str(step.handle):
                    step.reason = "handle"  # its file would be in another folder
                if step.handle in same[2::3]:
                    step.reason = "twice"  # its file would replace that of the first
                same += step.handle, step.state, step.checksum
                steps.append(step)
            crc = crc32(bytes(repr(same), "utf-8"))
            if crc in agent.done:
                done.append(crc)
            self.items.append([crc, name, policy, steps])
        self.agent = agent
        self.start = agent.now + agent.shift
        if agent.file:
            agent.file.stop(None)  # missing bytes are downloaded later
        agent.plan = self  # what follows needs no memory: all of it happens, or nothing
        agent.done = done
        agent.digest = digest

    def work(self, now):
        """Carry out the next deployment. Returns False if it must wait.

        DO_NOTHING continues after a failure. ROLLBACK_ON_FAILURE (or an unknown policy) stops at the first failure and
        undoes the steps in reverse order, also the one that failed where it replaces a model: `install` may have begun.
        """
        agent = self.agent
        for item in self.items:
            crc, title, policy, steps = item
            if crc not in agent.done:
                if agent.result:
                    return False
                if agent.files is not None:
                    for step in steps:
                        path = agent.files + str(step.handle)
                        if not (step.path or step.reason):
                            step.new = path + ".new"
                            if step.state == 1:
                                if not agent.file:
                                    step.reason = exec(step.open, agent, path)
                                if agent.file:
                                    return False
                        if not exec(os.stat, path):
                            step.old = path
                            step.now = 1
                message = None
                rows = []
                done = []
                for step in steps:
                    if message and policy != 1:
                        step.reason = "skipped"
                    elif not step.reason:
                        step.reason = exec(self.call, step, step.state)
                        if not step.reason or (step.old and step.state):
                            done = [step] + done
                    if step.reason and not message:
                        message = "%s: %s" % (step.handle, step.reason)
                if message and policy != 1:
                    for step in done:
                        step.path = step.old or step.path
                        step.reason = step.reason or "undone"
                        step.rollback = exec(self.call, step, 1 if step.old else 1 - step.state)
                for s in steps:
                    if "is full" in str(s.reason):
                        crc = item[0] = 0
                    rows.append((s.handle, s.name, s.version, s.state, s.now, +(not s.reason), s.reason, s.rollback))
                end = now() + agent.shift
                result = [title, "FAIL" if message else "SUCCESS", message, self.start, end, rows]
                agent.done.append(crc)
                agent.result = result
                agent.seq += 1  # a heartbeat that asked for the time may have used the last one
                self.start = end
                agent.due = agent.now
                agent.have = 0  # the device no longer has the previous plan as a whole
                agent.save(None)
                replace(agent)
                for s in steps:
                    if s.reason or not s.state:  # what failed or was left half; the others have their place
                        exec(os.remove, s.new)
                return True
        agent.have = agent.digest
        agent.save(None)
        return True

    def call(self, step, state):
        self.agent.call[state](step)
        step.now = state
