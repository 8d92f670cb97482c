"""`edge-gateway doctor`: checks on the live broker and endpoint what the promises need.

Probes collect facts, checks make results of them. It must never disturb a running gateway: it uses neither its client
id nor its session, and no topic of a device but its own.
"""

from gateway.doctor.report import as_json, print_report
from gateway.doctor.result import exit_status
from gateway.doctor.runner import Options, run_checks
