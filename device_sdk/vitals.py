"""Vitals: what a device reports of itself, without a line of its program. `Agent(..., vitals=True)` imports it.

Of the names below it samples those that the layout has, in any dimension, before each `measure`:

    reset-cause       machine.reset_cause(): the numbers of the board
    uptime            seconds since the port was made
    reconnects        connections after the first one
    dropped-samples   samples that were dropped before they were sent
    free-heap         bytes, after a collection of garbage, which it makes therefore
    lowest-free-heap  the least of these

All count from the boot. CPython has no reset cause and no heap of its own: these are left out there.
"""

import gc

try:
    from machine import reset_cause
except ImportError:
    reset_cause = None


def add(agent):
    """Give the agent a `measure` that samples its vitals and then calls the one that it has.

    A steady heartbeat allocates nothing for them.
    """
    measure = agent.measure
    lowest = [1 << 29]

    def least():
        lowest[0] = min(lowest[0], gc.mem_free())
        return lowest[0]

    known = {
        "uptime": lambda: agent.now,
        "reconnects": lambda: max(0, agent.open - 1),
        "dropped-samples": lambda: agent.lost[0],
    }
    if reset_cause:
        known["reset-cause"] = reset_cause
    if hasattr(gc, "mem_free"):
        known["free-heap"] = gc.mem_free
        known["lowest-free-heap"] = least
    found = [("/".join(metric[:2]), known[metric[1]]) for metric in agent.layout[1] if metric[1] in known]
    heap = [value for _, value in found if value in (known.get("free-heap"), least)]

    def both(agent):
        if heap:
            gc.collect()
        for name, value in found:
            agent.sample(name, value())
        if measure:
            measure(agent)

    agent.measure = both
