"""The protocol's small messages <-> Python values: `hello` and `get` out, `ack` in.

Heartbeats are in `heartbeat.py`, plans in `plan.py`. Must do no I/O and must not decide what a message leads to.
"""

from .unpack import unpack

ACCEPTED = 0
MALFORMED = 1
UNKNOWN_TAG = 2
NOT_REGISTERED = 3
REFUSED = 4
UNKNOWN_PLAN = 5
TOO_LARGE = 6
GAVE_UP = 7


def _trimmed(p, values):
    while values and values[-1] is None:
        values.pop()
    p.any(values)


def hello(p, tag, layout, epoch, max_payload, flags):
    """Writes the layout of the heartbeats that carry `tag`."""
    _trimmed(p, [tag, layout, epoch, max_payload, flags or None])


def get(p, have, seq=None):
    _trimmed(p, [have, seq])


def uint(value):
    """Whether the value is an unsigned int, which a bool is not."""
    return type(value) is int and value >= 0


def ack(buf, start=0, end=None):
    """(seq or None, code, Unix seconds, detail or None); ValueError where it is none."""
    value = unpack(buf, start, end)
    if type(value) is not list or len(value) < 3:
        raise ValueError("not an ack")
    seq, code, time = value[:3]
    detail = value[3] if len(value) > 3 else None
    if not (uint(code) and uint(time) and (seq is None or uint(seq)) and (detail is None or type(detail) is str)):
        raise ValueError("not an ack")
    return seq, code, time, detail
