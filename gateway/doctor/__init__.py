"""`edge-gateway doctor`: tries on the live broker and endpoint what the promises rest on.

The probes gather facts and decide nothing; the judgements are pure and make verdicts of facts. It must never disturb a
gateway that runs: not its client id, not its session, not a topic of a device but of its own.
"""

from gateway.doctor.examination import Options, examine
from gateway.doctor.show import as_json, show
from gateway.doctor.verdict import exit_status

__all__ = ["Options", "as_json", "examine", "exit_status", "show"]
