"""Deployment plans: what arrived, what the callbacks made of it, and the DeploymentResult that is still to be told.

Knows no topic. A callback that fails never raises out of here: it becomes a StatusReason. One result waits at a time:
the next deployment is begun when the cloud has the last one's.
"""

from binascii import crc32

from .unpack import uint

_REASON = 120  # characters of a reason that are kept


class Definition:
    """One model of a deployment, as the plan gives it.

    `state` is 1 = DEPLOY, 0 = UNDEPLOY (or a str that the page does not name); `checksum` is bytes where it is 40 hex
    digits, else str or None; `size` in bytes, `url` and `checksum_type` ("SHA1" where None) may be None. `path`: of the
    verified file, where the agent fetches files. A callback may set `name` and `version`: they go into the result as
    ModelName and ModelVersion.
    """

    def __init__(self, values):
        self.handle, self.state, self.checksum, self.size, self.url, self.checksum_type = values
        self.name = self.version = self.path = self.reason = self.rollback_reason = None
        self.now = 1 - self.state if self.state in (0, 1) else self.state  # as it is until something was done


def _form(values, form):
    # The list with nil where it ends early. ValueError where an element is not of the type that `form` says.
    form = form.split("|")
    if type(values) is not list:
        raise ValueError("plan")
    values += [None] * (len(form) - len(values))
    for value in values:
        if form and value is not None:
            if type(value).__name__ not in form[0] or (form[0][0] == "i" and type(value) is int and value < 0):
                raise ValueError("plan")
        form = form[1:]
    return values


class Plans:
    """`have`: digest of the plan that is carried out. `result`: not yet acked, its times in seconds since the epoch."""

    def __init__(self, agent, install, remove, files):
        self.agent = agent
        self.install = install
        self.remove = remove
        self.files = files
        self.have = 0
        self.result = None
        self._done = []  # crcs of the deployments carried out: one that stands in the next plan too is not repeated
        self._plan = None  # (digest, deployments) still to be carried out
        self._steps = None  # Definitions of the deployment under way
        self.file = None  # the Download under way

    def dump(self):
        return self.have, self._done, self.result

    def load(self, values, strange):
        """Takes up what dump gave. strange: its times are of another boot."""
        self.have, self._done, self.result = values
        if strange and self.result:
            self.result[3] = self.result[4] = None

    def receive(self, channel, value):
        """A plan or a block."""
        if channel == "block":
            if self.file:
                self.file.receive(value)
            return
        digest = uint(value[0])
        deployments = []
        for item in value[1]:
            item = _form(item, "str|int str|list|str")[:4]
            item[2] = [_form(each, "str|int str|bytes str|int|str|str")[:6] for each in item[2] or ()]
            # What makes a deployment another one: not its size, which may become known, nor its URL.
            item.append(crc32(repr((item[:2], [each[:3] for each in item[2]])).encode()))
            deployments.append(item)
        if not self._plan or self._plan[0] != digest:
            self._plan = None if digest == self.have else (digest, deployments)
            self._steps = self.file = None

    def told(self, time):
        """The result as the protocol says it at `time`, None where there is none."""
        if self.result:
            result = list(self.result)
            for i in (3, 4):
                if result[i] is not None:
                    result[i] = max(0, time - result[i])
            return result

    def poll(self, p):
        return self.file and self.file.poll(p, self.agent.now)

    def refused(self, detail):
        if self.file:
            self.file.refused(detail)

    def work(self, clock):
        """Carries out what of a plan can be carried out now. Returns whether anything was."""
        if not self._plan:
            return False
        agent = self.agent
        digest, deployments = self._plan
        index = 0
        changed = False
        for deployment in deployments:
            if deployment[4] not in self._done:
                if self.result:
                    break
                if self._steps is None:
                    self._steps = [Definition(values) for values in deployment[2]]
                    self._began = clock() + agent.shift
                if self.files is not None and self._fetching(digest, index):
                    break
                self.result = self._perform(deployment)
                self.result[4] = clock() + agent.shift
                self._done.append(deployment[4])
                self._steps = None
                agent.due = agent.now
                changed = True
            index += len(deployment[2])
        else:
            self.have = digest
            self._done = [deployment[4] for deployment in deployments]
            self._plan = None
            changed = True
        if changed:
            agent.save()
        return changed

    def _fetching(self, digest, index):
        # Whether a file is still on its way.
        from .download import Download

        for step in self._steps:
            if step.state == 1 and not step.path and not step.reason:
                if not self.file:
                    self.file = Download(step, digest, index, self.files, self.agent.max_payload)
                if not step.path and not step.reason:
                    return True
                self.file = None
            index += 1
        return False

    def _attempt(self, step, state):
        # None, or why it failed.
        try:
            (self.install if state == 1 else self.remove)(step)
        except Exception as error:
            return (str(error) or type(error).__name__)[:_REASON]
        step.now = state

    def _perform(self, deployment):
        # The result of the steps. ROLLBACK_ON_FAILURE (and any policy unknown here) stops at the first failure and
        # undoes what was done, the last first. DO_NOTHING leaves what was done and goes on.
        steps = self._steps
        message = None
        done = []
        if deployment[3] not in (None, "Model"):
            steps = []
            message = "unknown deployment type"
        for step in steps:
            if message and deployment[1] != 1:
                step.reason = "not attempted"
                continue
            if step.state not in (0, 1):
                step.reason = "unknown state"
            if not step.reason:
                step.reason = self._attempt(step, step.state)
            if not step.reason:
                done.insert(0, step)
            elif not message:
                message = (step.handle + ": " + step.reason)[:_REASON]
        if message and deployment[1] != 1:
            for step in done:
                step.reason = "undone, as " + message
                step.rollback_reason = self._attempt(step, 1 - step.state)
        rows = []
        for s in steps:
            status = 0 if s.reason else 1
            rows.append((s.handle, s.name, s.version, s.state, s.now, status, s.reason, s.rollback_reason))
        return [deployment[0], "FAIL" if message else "SUCCESS", message, self._began, None, rows]
