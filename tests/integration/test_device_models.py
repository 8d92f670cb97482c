"""A device of the SDK keeps its models where a new one fails: Mosquitto, gateway and Edge Manager as processes."""

from pathlib import Path

import pytest

from tests.integration.testbed import Testbed
from tests.support.gateway_process import GatewayProcess, settings
from tests.support.manager_process import Manager
from tests.support.sdk_device import running


@pytest.mark.parametrize("runtime", ["cpython", "micropython"])
def test_a_rollback_gives_both_old_models_back(
    testbed: Testbed, manager: Manager, tmp_path: Path, runtime: str
) -> None:
    manager.run("register", testbed.fleet, "d")
    at = settings(testbed.broker.address, manager.url, testbed.fleet, testbed.state, plan_ttl=1)
    testbed.cleanup.enter_context(GatewayProcess(at | {"AWS_ENDPOINT_URL_S3": manager.url}))
    address = testbed.broker.address
    login = testbed.broker.add_user(f"{testbed.fleet}/d")
    board = tmp_path / "board"
    board.mkdir()
    arguments = [address.host, str(address.device_port), testbed.fleet, "d", login.password]

    def deploy(name: str, kws: str, vad: str) -> None:
        files = {"kws": kws, "vad": vad}
        for handle, text in files.items():
            (tmp_path / f"{handle}.file").write_text(text)
        models = [f"{handle}={tmp_path / handle}.file" for handle in files]
        manager.run("deploy", testbed.fleet, "d", *models, "--name", name)

    with running(runtime, "model_device.py", *arguments, folder=board) as device:
        deploy("first", "kws 1", "vad 1")
        assert device.next("result") == {
            "result": ["SUCCESS", None],
            "models": [[1, 1, None], [1, 1, None]],
            "calls": ["+kws 1", "+vad 1"],
        }
        deploy("second", "kws 2", "bad vad 2")
        assert device.next("result") == {
            "result": ["FAIL", "vad: it does not run"],
            "models": [[1, 0, "undone"], [1, 0, "it does not run"]],
            "calls": ["+kws 2", "+bad vad 2", "+vad 1", "+kws 1"],
        }
        deploy("third", "kws 3", "vad 3")
        assert device.next("result")["result"] == ["SUCCESS", None]
    texts = {file.name: file.read_text() for file in board.iterdir() if file.name != "state"}
    assert texts == {"kws": "kws 3", "vad": "vad 3"}
