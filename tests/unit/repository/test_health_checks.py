"""The health checks of the image and of compose.yaml ask this machine, whatever proxy the environment names."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.support.paths import ROOT

PROXIES = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"), "http://127.0.0.1:9")


def health_checks() -> list[tuple[str, ...]]:
    """Port and program of each."""
    image = re.search(r'^ +CMD (\["python".*\])$', (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    compose = re.search(r"test: \[CMD, python, -c, (.*)\]$", (ROOT / "compose.yaml").read_text(), re.MULTILINE)
    assert image is not None
    assert compose is not None
    programs = [json.loads(image[1])[2], ast.literal_eval(compose[1])]
    return [(re.findall(r"\b94\d\d\b", program)[0], program) for program in programs]


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """/healthz has the status that `server.status` says."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(self.server.status if self.path == "/healthz" else 404)  # type: ignore[attr-defined]
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.mark.parametrize("status", [200, 503])
@pytest.mark.parametrize(("port", "program"), health_checks(), ids=["image", "compose"])
def test_a_health_check_uses_no_proxy(server: ThreadingHTTPServer, port: str, program: str, status: int) -> None:
    server.status = status  # type: ignore[attr-defined]
    program = program.replace(port, str(server.server_port))
    done = subprocess.run([sys.executable, "-c", program], env=os.environ | PROXIES, timeout=29, check=False)
    assert done.returncode == (status != 200)
