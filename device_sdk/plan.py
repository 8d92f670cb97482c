"""Deployment plans: what arrived, what the callbacks made of it, and the DeploymentResults that are still to be told.

Does no I/O of its own and knows no topic. A callback that fails never raises out of here: it becomes a StatusReason.
"""

from ._compat import crc32
from .unpack import Unpacker
from .wire import uint

UNDEPLOY = 0
DEPLOY = 1
ROLLBACK_ON_FAILURE = 0
DO_NOTHING = 1
_WAITING = 4  # results that may wait for their ack before the next deployment is begun: bounds the memory
_REASON = 120  # characters of a reason that are kept


class Definition:
    """One model of a deployment, as the plan gives it.

    `state` is DEPLOY or UNDEPLOY (or a str that the page does not name); `checksum` is bytes where it is 40 hex digits,
    else str or None; `size` in bytes, `url` and `checksum_type` ("SHA1" where None) may be None. A callback may set
    `name` and `version`: they go into the result as ModelName and ModelVersion.
    """

    def __init__(self, values):
        values = values + [None] * (6 - len(values))
        self.handle, self.state, self.checksum, self.size, self.url, self.checksum_type = values[:6]
        self.name = self.version = None


def _is_state(value):
    return value is None or type(value) is str or uint(value)


def _check(ok):
    if not ok:
        raise ValueError("not a plan")


def _deployment(reader):
    # The deployment's values and the crc of its bytes, by which it is known again in a later plan.
    start = reader.pos
    values = reader.value()
    _check(type(values) is list)
    values += [None] * (4 - len(values))
    name, policy, definitions, kind = values[:4]
    _check(name is None or type(name) is str)
    _check(_is_state(policy) and (kind is None or type(kind) is str))
    _check(definitions is None or type(definitions) is list)
    for item in definitions or ():
        _check(type(item) is list and (not item or item[0] is None or type(item[0]) is str))
        _check(len(item) < 2 or _is_state(item[1]))
        _check(len(item) < 4 or item[3] is None or uint(item[3]))
    return name, policy, definitions or [], kind, crc32(memoryview(reader.buf)[start : reader.pos])


def decode(buf, start=0, end=None):
    """(digest, [(name, policy, definitions, type, crc), ...]); ValueError where it is no plan."""
    reader = Unpacker(buf, start, end)
    n = reader.array()
    _check(n >= 2)
    digest = reader.value()
    _check(uint(digest))
    deployments = [_deployment(reader) for _ in range(min(reader.array(), reader.end - reader.pos + 1))]
    for _ in range(min(n - 2, reader.end - reader.pos + 1)):
        reader.value()
    _check(reader.pos == reader.end)
    return digest, deployments


def _attempt(callback, definition):
    # None, or why it failed.
    try:
        callback(definition)
    except Exception as error:
        return (str(error) or type(error).__name__)[:_REASON]
    return None


class _Step:
    """A definition on its way: what was tried and what came of it, at last a row of the result."""

    def __init__(self, values):
        self.definition = Definition(values)
        self.done = False
        self.reason = "not attempted"
        self.rollback_reason = None

    def carry_out(self, install, remove):
        state = self.definition.state
        if state == DEPLOY or state == UNDEPLOY:
            self.reason = _attempt(install if state == DEPLOY else remove, self.definition)
        else:
            self.reason = "unknown state: " + str(state)
        self.done = self.reason is None

    def undo(self, install, remove, culprit):
        self.reason = "undone: {} failed".format(culprit.definition.handle)[:_REASON]
        self.rollback_reason = _attempt(remove if self.definition.state == DEPLOY else install, self.definition)
        self.done = self.rollback_reason is not None

    def row(self):
        d = self.definition
        state = d.state
        if not self.done and (state == DEPLOY or state == UNDEPLOY):
            state = 1 - state
        values = [d.handle, d.name, d.version, d.state, state, 1 if self.reason is None else 0, self.reason]
        if self.rollback_reason:
            values.append(self.rollback_reason)
        elif self.reason is None:
            values.pop()
        return values


def carry_out(deployment, install, remove):
    """Performs one deployment in the order of its definitions.

    ROLLBACK_ON_FAILURE (and any policy unknown here) stops at the first failure and undoes what was done, the last
    first. DO_NOTHING leaves what was done and goes on. Returns (status, message or None, rows of the result).
    """
    _, policy, definitions, kind = deployment[:4]
    if kind is not None and kind != "Model":
        return "FAIL", "unknown deployment type: " + kind[:_REASON], []
    steps = [_Step(values) for values in definitions]
    culprit = None
    for at, step in enumerate(steps):
        step.carry_out(install, remove)
        if not step.done:
            culprit = culprit or step
            if policy != DO_NOTHING:
                for earlier in reversed(steps[:at]):
                    earlier.undo(install, remove, culprit)
                break
    if culprit is None:
        return "SUCCESS", None, [step.row() for step in steps]
    message = "{}: {}".format(culprit.definition.handle, culprit.reason)
    return "FAIL", message[:_REASON], [step.row() for step in steps]


class Plans:
    """What the device holds: the newest plan, the digest of the last one carried out, and results not yet acked."""

    def __init__(self, install, remove):
        self._install = install
        self._remove = remove
        self._plan = None  # (digest, deployments) still to be carried out
        self._done = []  # crcs of the deployments carried out: one that stands in the next plan too is not repeated
        self.have = 0
        self.results = []  # [deployment, status, message, start, end, rows]; times in seconds since the epoch

    def dump(self):
        return [self.have, self._done, self.results]

    def load(self, values, moved):
        """Takes up what dump gave. `moved` is added to the results' times; None: they are of another boot."""
        self.have, self._done, self.results = values
        for result in self.results:
            for i in (3, 4):
                result[i] = None if moved is None or result[i] is None else result[i] + moved

    def receive(self, buf, start=0, end=None):
        plan = decode(buf, start, end)
        self._plan = None if plan[0] == self.have else plan

    def work(self, time):
        """Carries out the next deployment of a new plan. Returns whether anything changed that must be saved."""
        if self._plan is None or len(self.results) >= _WAITING:
            return False
        for deployment in self._plan[1]:
            if deployment[4] not in self._done:
                status, message, rows = carry_out(deployment, self._install, self._remove)
                self.results.append([deployment[0], status, message, time, time, rows])
                self._done.append(deployment[4])
                return True
        self.have = self._plan[0]
        self._done = [deployment[4] for deployment in self._plan[1]]
        self._plan = None
        return True
