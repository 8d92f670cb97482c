"""The machine starts no thread for a moment, as at a limit of processes: nothing of the gateway expects that."""

from pathlib import Path

from gateway.demo.brokers.mosquitto import Mosquitto
from tests.support.edge_manager import RecordingEdgeManager
from tests.support.gateway_process import GatewayProcess, settings

DEFECT = "internal error: please report this traceback"
FAILURES = 6
SITE = f"""
from concurrent.futures import ThreadPoolExecutor

submit, failures = ThreadPoolExecutor.submit, iter(range({FAILURES}))

def fail_at_first(*args, **options):
    for _ in failures:
        raise RuntimeError("can't start new thread")
    return submit(*args, **options)

ThreadPoolExecutor.submit = fail_at_first
"""


def test_no_thread_can_be_started_for_a_moment(own_mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Each traceback is in the log, and the gateway connects as soon as it can."""
    (tmp_path / "sitecustomize.py").write_text(SITE)
    with RecordingEdgeManager() as service:
        variables = settings(own_mosquitto.address, service.url, "threads", tmp_path / "state")
        variables["PYTHONPATH"] += f":{tmp_path}"
        with GatewayProcess(variables) as gateway:
            tracebacks = [line for line in gateway.log.so_far() if line["event"] == DEFECT]
            assert len(tracebacks) == FAILURES
            assert all("start new thread" in str(line) for line in tracebacks)
            assert gateway.terminate() == 0
