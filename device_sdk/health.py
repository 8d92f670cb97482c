"""Health of new models: after so many starts without a confirmed heartbeat, the old models come back by themselves.

Optional. `Health(agent, in_file("agent.health"))` before the port is made; the program loads its models after that,
from FILES + handle. A trial begins before the first callback of a deployment and ends when the service has confirmed
its result. Until then the file of an old model is kept as PATH.old. No callback is called for what comes back.
"""

import json
import os

from . import plan

move = plan.replace


def replace(agent):
    # As plan.replace, but keeps the old files of an agent that has a Health.
    if getattr(agent, "health", None):
        for row in agent.result[5]:
            path = agent.files + str(row[0])
            if row[5] and (not row[3] or not plan.exec(os.stat, path + ".new")):
                plan.exec(os.rename, path, path + ".old")
    move(agent)


plan.replace = replace


class Health:
    """Watches the deployments of an agent that downloads files.

    store: as the agent's, another one. boots: how many starts may fail, the one that installed included; a wake from
    deep sleep is none. `trial`: None, or [starts, crc, name, [[handle, state, state before], ...]] of the deployment
    that is not confirmed. Raises ValueError for an agent without `files` or callbacks.
    """

    trial = None
    seen = False  # whether the deployment has a result

    def __init__(self, agent, store, boots=3):
        if agent.files is None or None in agent.call.values():
            raise ValueError("files")
        self.agent = agent
        self.store = store
        self.boots = boots
        self.begin = agent.start
        self.keep = agent.save
        remove, install = agent.call[0], agent.call[1]
        agent.call = {0: lambda step: self.watch(remove, step), 1: lambda step: self.watch(install, step)}
        agent.start = self.start
        agent.save = self.save
        agent.health = self

    def watch(self, call, step):
        # An exception of the store fails the definition: what cannot be watched is not installed.
        for crc, title, _, steps in self.agent.plan.items:
            if crc not in self.agent.done:
                if not self.trial or self.trial[1] != crc:
                    self.trial = [1, crc, title, [[each.handle, each.state, each.now] for each in steps]]
                    self.seen = False
                    self.store(json.dumps(self.trial))
                break
        call(step)

    def start(self, now, unix, tag, woke, p=None):
        """The agent's start: then the files are the confirmed ones, or those that may still be tried."""
        self.begin(now, unix, tag, woke, p)
        self.trial = None
        try:
            trial = json.loads(self.store())
            if len(trial) == 4 and trial[0] + len(trial[3]):
                self.trial = trial
        except Exception:  # noqa: S110 - no store, an empty one, or not what `write` wrote
            pass
        self.end()
        if self.trial and not woke:
            if self.trial[0] >= self.boots:
                self.fail()
            else:
                self.trial[0] += 1
                self.write(self.trial)

    def save(self, sleep):
        """The agent's save."""
        self.keep(sleep)
        self.end()

    def write(self, trial):
        try:
            self.store(json.dumps(trial))
        except Exception as error:
            self.agent.error = error

    def end(self):
        # Ends the trial, if the result is confirmed, or says that nothing was changed.
        agent = self.agent
        result = agent.result
        if result:
            self.seen = True
        if self.trial and not (result and [row for row in result[5] if row[5]]):
            if self.seen or self.trial[1] in agent.done:
                for handle, _, _ in self.trial[3]:
                    plan.exec(os.remove, agent.files + str(handle) + ".old")
                self.trial = None
                self.write([])

    def fail(self):
        # Gives the old files back. Repeated, it changes nothing more.
        agent = self.agent
        _, crc, title, steps = self.trial
        reason = "no heartbeat was confirmed in %d starts" % self.boots
        rows = []
        for handle, state, before in steps:
            path = agent.files + str(handle)
            if plan.exec(os.rename, path + ".old", path) and not before:
                plan.exec(os.remove, path)
            plan.exec(os.remove, path + ".new")
            rows.append((handle, None, None, state, before, 0, reason, None))
        agent.result = [title, "FAIL", reason, None, None, rows]
        agent.seq += 1
        if crc not in agent.done:
            agent.done.append(crc)
        agent.save(None)
