"""What a message or an answer of the service means: effects, which the dispatcher executes. Performs no I/O."""

from gateway.core.effects import (
    Acknowledge,
    CallService,
    DeadLetter,
    DeleteRetained,
    Effect,
    FetchRetainedHello,
    PublishAck,
    PublishPlan,
    ReportClock,
    SaveHellos,
    SaveRegistration,
    SendBlocks,
)
from gateway.core.engine import Engine, Policy
from gateway.core.merging import apply_exponent
from gateway.core.plans import REFUSED_FOR, SUSPECTED_FOR
