"""A deployment plan, carried out: files fetched to flash, definitions installed and removed, and what is told of it.

The agent imports this when the first plan comes, so that a board which only waits for one has the memory for itself.
One result waits at a time: the next deployment is begun when the cloud has the last one's. Nothing that a callback
raises leaves here: it becomes a StatusReason.
"""

import os
from binascii import crc32
from hashlib import sha1


class Definition:
    """One model of a deployment, as the plan gives it.

    `state` is 1 = DEPLOY, 0 = UNDEPLOY (or a str that the page does not name); `checksum` is bytes where it is 40 hex
    digits, else str or None; `size` in bytes, `url` and `checksum_type` ("SHA1" where None) may be None. `path`: of the
    verified file, where the agent fetches files. A callback may set `name` and `version`: they go into the result as
    ModelName and ModelVersion.
    """

    name = version = path = reason = rollback = None

    def __init__(self, handle=None, state=None, checksum=None, size=None, url=None, checksum_type=None, *grown):
        self.handle = handle
        self.state = state
        self.checksum = checksum
        self.size = size
        self.url = url
        self.checksum_type = checksum_type
        self.now = 1 - state if state in (0, 1) else state  # as it is until something was done

    def waits(self):
        """Whether its file is neither there nor given up."""
        return not (self.path or self.reason)


class File:
    """A model file on its way to flash, block by block, through PATH.part, renamed when its checksum is right.

    Sets the `path` of its definition, `step`, when the file is there and right, or else its `reason`. After any crash
    it goes on where PATH.part ends, and reads that once for the checksum. Whatever else PATH.part may be (the beginning
    of another file, say) is noticed by the checksum, and then the file is read from its beginning. Holds no more than a
    block.
    """

    count = end = 0  # how often the gateway refused it; where what was asked for ends

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
                step.path = path  # a cut came between the renaming and the result
                return
        except OSError:  # it is not there
            pass
        self.open()

    def open(self):
        self.read(self.part, "ab+")
        self.whole = not self.at  # whether all of it comes from this definition for sure
        self.asked = None

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
        """Writes the next request into p, where one is due, and returns its channel."""
        if self.step.waits() and (self.asked is None or now - self.asked > 2):  # after 3 s without it, again
            if self.asked is None:  # what was asked for last has come, and is flushed: a power cut may cost 4096 bytes
                self.end = self.at + 4096 // self.length * self.length
            self.asked = now
            p.any(self.of + (self.at, self.length, (self.end - self.at) // self.length))
            return "read"

    def refused(self, reason):
        """The gateway has no such file."""
        self.count += 1
        if self.count > 2:
            self.fail(reason or "refused")

    def fail(self, reason):
        self.step.reason = reason
        try:
            try:
                self.file.close()
            finally:
                os.remove(self.part)  # it may be what filled the flash
        except OSError:
            pass

    def receive(self, value):
        """A block. One that came before, or after a missing one, changes nothing."""
        digest, index, offset, total, data = value[:5]
        if self.of == (digest, index) and self.step.waits():
            try:
                self.put(offset, total, data)
            except OSError as error:  # of the flash
                self.fail(str(error))

    def put(self, offset, total, data):
        end = offset + len(data)
        if offset == self.at:
            self.sum.update(data)
            self.file.write(data)
            self.at = end
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
    """The value of a `plan`, as the agent's newest one. ValueError and the like, and nothing changed, where it is none.

    What stood in the last plan too, and was carried out, is not repeated.
    """

    def __init__(self, agent, value):
        digest, deployments = value[:2]
        if digest >> 30:  # negative, or too large to be one
            raise ValueError
        self.items = []
        done = []
        for each in deployments:
            name, policy, definitions, kind = (each + [None] * 4)[:4]
            same = [name, policy]  # what makes a deployment another one: not a size, which may become known, nor a URL
            steps = []
            seen = []
            for values in definitions or ():
                step = Definition(*values)
                if kind not in (None, "Model"):
                    step.reason = "unknown type"
                if values[:2] in seen:
                    step.reason = "twice"  # its file would stand in the place of the first one's
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
            except OSError:  # of the flash: what is missing will be fetched
                pass
        agent.file = None
        agent.done = done
        agent.digest = digest
        self.agent = agent
        self.start = agent.now + agent.shift

    def work(self, clock):
        """Carries out the next deployment. Returns whether it could be."""
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
                agent.seq += 1  # the last one may have gone with a heartbeat that asked for the time
                self.start = end
                agent.done.append(crc)
                agent.due = agent.now
                agent.have = 0  # whatever plan was held, it no longer is
                break
            index += len(steps)
        else:
            agent.have = agent.digest
        agent.save(None)
        return True

    def fetch(self, steps, index):
        # Whether a file is still on its way.
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
        # None, or why it failed. DO_NOTHING goes on after a failure and leaves what was done. ROLLBACK_ON_FAILURE (and
        # any policy unknown here) stops at the first and undoes what was done, the last first.
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
        # None, or why it failed.
        try:
            self.agent.call[state](step)
            step.now = state
        except Exception as error:
            return (str(error) or type(error).__name__)[:120]
