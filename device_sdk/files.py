"""A model file on its way to flash, block by block, through PATH.part, which is renamed when its checksum is right.

After any crash it goes on where PATH.part ends, and reads that once for the checksum. Whatever else PATH.part may be
(the beginning of another file, say) is noticed by the checksum, and then the file is read from its beginning. Must hold
no more than a block.
"""

import os
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
    """Sets the `path` of its definition, `step`, when the file is there and right, or else its `reason`."""

    def __init__(self, step, digest, index, path, size):
        self.step = step
        self.of = digest, index
        self.length = min(size or 4096, 4096) - 32  # of a block
        self.count = 0
        self.path = path + step.handle
        self.part = self.path + ".part"
        if "/" in step.handle or type(step.checksum) is str or step.checksum_type:
            raise ValueError("checksum")
        try:
            self.read(self.path, "rb")
            self.file.close()
            if self.sum.digest() == step.checksum:
                step.path = self.path  # a cut came between the renaming and the result
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
            data = self.file.read(512)
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
            self.file.close()
            os.remove(self.part)  # it may be what filled the flash
        except OSError:
            pass

    def receive(self, value):
        """A block. One that came before, or after a missing one, changes nothing."""
        digest, index, offset, total, data = value[:5]
        end = offset + len(data)
        if self.of == (digest, index) and self.step.waits():
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
                os.rename(self.part, self.path)
                self.step.path = self.path
            else:
                self.fail("checksum")
                if not self.whole:
                    self.step.reason = None
                    self.open()
