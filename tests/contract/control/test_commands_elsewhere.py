"""The commands say and do the same on the manager's machine and from another one, and boto3 reads our service model."""

import json
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import boto3
import pytest
import sqlalchemy as sa
from botocore.exceptions import ClientError, WaiterError
from typer.testing import CliRunner

from gateway.manager import Place
from gateway.manager.api.operation_names import OWN_OPERATIONS
from gateway.manager.cli import app
from gateway.manager.client import edge_manager_client
from gateway.manager.control.access import ROLES
from gateway.manager.control.paging import encode_token
from gateway.manager.models import PATH, load_own_model
from gateway.manager.store.control_tables import ALERTS
from gateway.manager.store.tables import TASKS
from tests.support.arrivals import DEADLINE_S
from tests.support.manager_process import ACCESS, SECRET
from tests.support.polling import until
from tests.support.served_manager import ServedManager
from tests.support.stores import open_place

Command: TypeAlias = Callable[..., str]
CHANGES = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ|\d{10}\.\d+|^\x1b\[2m.*\n", re.MULTILINE)
"""Times, as tables and JSON have them, and what the manager logs, which has its output here."""


def command(environment: dict[str, str]) -> Command:
    def run(*words: str, status: int = 0, stdin: str = "") -> str:
        done = CliRunner().invoke(app, words, env=environment, input=stdin)
        assert done.exit_code == status, (words, done.output, done.exception)
        return done.output

    return run


@pytest.fixture
def here(place: Place, served: ServedManager) -> Command:
    """A command over the database, beside `serve`."""
    database = {} if place.url is None else {"EDGE_MANAGER_DATABASE": place.url}
    return command({"EDGE_MANAGER_DATA": str(place.data), **database})


@pytest.fixture
def elsewhere(served: ServedManager, tmp_path: Path) -> Command:
    """A command that has a URL and keys, and nothing of the manager's machine."""
    keys = {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET}
    return command({"EDGE_MANAGER_ENDPOINT_URL": served.url, "EDGE_MANAGER_DATA": str(tmp_path / "none"), **keys})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "kws.tflite"
    path.write_bytes(b"a model")
    return path


@pytest.fixture
def heard(here: Command, served: ServedManager) -> ServedManager:
    """A manager that knows f/d, which has sent a heartbeat, and f/e, which has not."""
    here("register", "f", "d", "e")
    sample = {"Dimension": "sys", "MetricName": "heap", "Value": 5.5, "Timestamp": time.time() - 60}
    model = {"ModelName": "wake-word", "ModelVersion": "1", "LatestInference": time.time() - 90}
    who = {"DeviceName": "d", "DeviceFleetName": "f", "AgentVersion": "1.0"}
    served.client("sagemaker-edge").send_heartbeat(**who, AgentMetrics=[sample], Models=[model])
    return served


def readings() -> list[tuple[str, ...]]:
    both = [
        *(("devices",), ("devices", "f"), ("status",), ("status", "f", "--limit", "1"), ("status", "--summary")),
        *(
            ("status", "--state", "never-heard"),
            ("status", "--version", "1"),
            ("log", "f", "d"),
            ("deployments",),
            ("deployments", "--devices"),
        ),
        *(("history", "f", "d"), ("history", "f", "d", "heap"), ("history", "f", "d", "heap", "--raw")),
        *(("fleet-history", "f"), ("fleet-history", "f", "heap"), ("keys", "list"), ("audit",)),
    ]
    tsv = [("status",), ("history", "f", "d", "heap"), ("deployments", "--devices")]
    as_rows = [*((*words, "-o", "tsv") for words in tsv), *((*words, "--json") for words in both)]
    return [*both, *as_rows, ("audit", "--resource", "device-fleet/f/device/d")]


def test_what_is_read_is_the_same_to_the_letter(
    heard: ServedManager, here: Command, elsewhere: Command, model: Path
) -> None:
    here("keys", "add", "--role", "viewer")
    here("deploy", "f", "d", f"kws={model}", "--model-version", "1.2")
    heard.client("sagemaker-edge").get_deployments(DeviceName="d", DeviceFleetName="f")
    for words in readings():
        assert elsewhere(*words) == here(*words), words


CALLS: list[tuple[str, ...]] = [
    ("register", "f", "d", "e", "g"),
    ("register", "f", "d", "--label", "site=rome", "-o", "tsv"),
    ("label", "f", "e", "g", "site=berlin", "rack=1"),
    ("label", "f", "g", "rack-"),
    ("status", "f", "--label", "site=berlin", "-o", "json"),
    ("status", "f", "--label", "site=berlin", "--limit", "1"),
    ("deploy", "f", "--label", "site=berlin", "--label", "rack=1", "kws={model}", "--dry-run", "-o", "tsv"),
    ("deploy", "f", "--all", "kws={model}", "--stages", "40%,100%", "--dry-run"),
    ("deploy", "f", "--all", "kws={model}", "--stages", "40%,100%", "--min-success", "50%", "--wait", "1h"),
    ("pause", "f", "kws-1"),
    ("resume", "f", "kws-1"),
    ("abort", "f", "kws-1"),
    ("undo", "f", "kws-1", "-o", "tsv"),
    ("undo", "f", "kws-1"),
    ("undo", "f", "kws-1", "-o", "json"),
    ("deploy", "f", "d", "kws={model}", "--name", "one", "--silent-after", "1h"),
    ("undeploy", "f", "d", "kws", "-o", "json"),
    ("deregister", "f", "g"),
]
MISTAKES: list[tuple[str, ...]] = [
    ("status", "none"),
    ("log", "f", "nobody"),
    ("deregister", "f", "nobody"),
    ("label", "f", "nobody", "a=b"),
    ("label", "f", "d"),
    ("label", "f", "d", "a=1", "a=2"),
    ("register", "f", "d", "--label", "a"),
    ("register", "f", "d", "--label", "a=*"),
    ("status", "f", "--all", "--limit", "3"),
    ("deploy", "f", "--label", "site=none", "kws={model}"),
    ("deploy", "f", "d", "--label", "site=rome", "kws={model}"),
    ("deploy", "f", "nobody", "kws={model}"),
    ("deploy", "f", "d", "k_s={model}"),
    ("deploy", "f", "d", "kws={model}.none"),
    ("deploy", "f", "d", "kws={model}", "--name", "x" * 64),
    ("deploy", "f", "d", "kws={model}", "--name", "one"),
    ("deploy", "f", "d", "kws={model}", "--policy", "PRAY"),
    ("deploy", "f", "d", "kws={model}", "--bucket", "No"),
    ("deploy", "f", "d", "--all", "kws={model}"),
    ("deploy", "f", "d", "kws=/dev/null"),
    ("pause", "f", "none"),
    ("wait", "f", "none"),
    ("wait", "f", "one", "--timeout", "5"),
    ("abort", "f", "kws-1"),
    ("undeploy", "f", "d", "vad"),
    ("history", "f", "nobody"),
    ("keys", "add", "--role", "root"),
    ("keys", "revoke", "NOBODY"),
]


def test_what_is_changed_is_changed_in_the_same_way(
    elsewhere: Command, tmp_path_factory: pytest.TempPathFactory, model: Path
) -> None:
    """The one on the database of the manager, the other on an empty one of this machine's."""
    alone = command({"EDGE_MANAGER_DATA": str(tmp_path_factory.mktemp("alone"))})
    alone("keys", "add", "--role", "viewer", "--create")
    for words in CALLS:
        named = [word.replace("{model}", str(model)) for word in words]
        assert CHANGES.sub("", elsewhere(*named)) == CHANGES.sub("", alone(*named)), words
    for words in MISTAKES:
        named = [word.replace("{model}", str(model)) for word in words]
        assert CHANGES.sub("", elsewhere(*named, status=2)) == alone(*named, status=2), words


@pytest.mark.parametrize("place_of", ["here", "elsewhere"])
def test_devices_are_chosen_by_their_labels(
    place_of: str, request: pytest.FixtureRequest, served: ServedManager, model: Path
) -> None:
    run: Command = request.getfixturevalue(place_of)
    run("register", "f", "a", "b", "c", "--label", "site=berlin", "--label", "rack=1")
    run("register", "f", "d")
    run("register", "other", "b", "--label", "site=berlin")
    run("label", "f", "a", "d", "site=rome", "rack-")

    def shown(*words: str) -> dict[str, dict[str, str]]:
        return {f"{each['fleet']}/{each['device']}": each["labels"] for each in json.loads(run("status", *words))}

    berlin = {"site": "berlin", "rack": "1"}
    everybody = {"f/a": {"site": "rome"}, "f/b": berlin, "f/c": berlin, "f/d": {"site": "rome"}}
    assert shown("f", "-o", "json") == everybody
    assert list(shown("--label", "site=berlin", "-o", "json")) == ["f/b", "f/c", "other/b"]
    first = run("status", "--label", "site=berlin", "--limit", "1").splitlines()
    assert first[-1] == "2 more: status --label site=berlin --limit 1 --after f/b"
    assert "1 more:" in run("status", "--label", "site=berlin", "--limit", "1", "--after", "f/b")
    chosen = ("--label", "site=berlin", "--label", "rack=1")
    [made] = json.loads(run("deploy", "f", *chosen, f"kws={model}", "-o", "json").splitlines()[-1])
    assert made["devices"] == 2
    listed = run("deployments", "f", "--devices", "-o", "tsv").splitlines()[1:]
    assert [line.split("\t")[0] for line in listed] == ["f/b", "f/c"]
    tags = served.client("sagemaker").list_tags(ResourceArn="arn:aws:sagemaker:x:000000000000:device-fleet/f/device/b")
    assert tags["Tags"] == [{"Key": "rack", "Value": "1"}, {"Key": "site", "Value": "berlin"}]
    changes = json.loads(run("audit", "--resource", "device-fleet/f/device/a", "-o", "json"))
    assert changes[-1]["before"] == {"Tags": [{"Key": "rack", "Value": "1"}, {"Key": "site", "Value": "berlin"}]}
    assert changes[-1]["after"] == {"Tags": [{"Key": "site", "Value": "rome"}]}


def test_a_device_is_failing_until_a_newer_deployment_reaches_it(
    here: Command, served: ServedManager, model: Path
) -> None:
    here("register", "f", "d", "e")
    here("deploy", "f", "--all", f"kws={model}", "--name", "k")
    carry_out(served.client("sagemaker-edge"), "d", "FAIL")
    carry_out(served.client("sagemaker-edge"), "e", "SUCCESS")
    assert here("status", "f").startswith("2 devices: 2 not announced, 1 failing\n")
    here("deploy", "f", "d", f"kws={model}")
    assert here("status", "f").startswith("2 devices: 2 not announced, 0 failing\n")


def test_devices_are_chosen_by_the_version_of_a_model(heard: ServedManager, here: Command) -> None:
    assert [each["device"] for each in json.loads(here("status", "--version", "1", "-o", "json"))] == ["d"]
    assert here("status", "--version", "2", "-o", "json") == "[]\n"


def test_a_refused_deployment_stores_no_file(here: Command, served: ServedManager, model: Path) -> None:
    here("register", "f", "d")
    here("deploy", "f", "d", f"first={model}", "--name", "taken")
    model.write_bytes(b"another")
    here("deploy", "f", "d", f"kws={model}", "--name", "taken", status=2)
    here("deploy", "f", "nobody", f"kws={model}", status=2)
    here("deploy", "f", "d", f"kws={model}", "vad=none.bin", status=2)
    [only] = served.client("s3").list_objects_v2(Bucket="models")["Contents"]
    assert only["Key"].startswith("first/")


@pytest.mark.parametrize("place_of", ["here", "elsewhere"])
def test_a_dry_run_shows_the_stages_and_changes_nothing(
    place_of: str, request: pytest.FixtureRequest, served: ServedManager, model: Path
) -> None:
    run: Command = request.getfixturevalue(place_of)
    run("register", "f", *(f"d{number}" for number in range(5)))
    before = run("audit", "--json")
    shown = run("deploy", "f", "--all", f"kws={model}", "--stages", "40%,100%", "--wait", "1h", "--dry-run")
    assert [line.split() for line in shown.splitlines()[1:]] == [
        ["1", "40%", "2", "90%", "3600", "s"],
        ["2", "100%", "5"],
    ]
    assert (run("audit", "--json"), run("deployments", "--json")) == (before, "[]\n")
    assert served.client("s3").list_buckets()["Buckets"] == []


@pytest.mark.parametrize(("answer", "status", "made"), [("n\n", 1, 0), ("y\n", 0, 1)])
def test_many_devices_are_asked_for_on_a_terminal(
    here: Command, model: Path, monkeypatch: pytest.MonkeyPatch, answer: str, status: int, made: int
) -> None:
    here("register", "f", *(f"d{number}" for number in range(101)))
    words = ("deploy", "f", "--all", f"kws={model}")
    monkeypatch.setattr("typer.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)
    asked = here(*words, status=status, stdin=answer)
    assert "Deploy kws to 101 devices of f? [y/N]" in asked
    assert len(json.loads(here("deployments", "--json"))) == made
    assert "[y/N]" not in here(*words, "--yes")
    assert "[y/N]" not in here("deploy", "f", "d1", f"kws={model}")


def test_without_a_terminal_there_is_no_question(here: Command, model: Path) -> None:
    here("register", "f", *(f"d{number}" for number in range(101)))
    assert "[y/N]" not in here("deploy", "f", "--all", f"kws={model}")


@pytest.mark.parametrize("place_of", ["here", "elsewhere"])
def test_wait_ends_with_the_deployment(
    place_of: str, request: pytest.FixtureRequest, served: ServedManager, model: Path
) -> None:
    run: Command = request.getfixturevalue(place_of)
    run("register", "f", "d")
    run("deploy", "f", "d", f"kws={model}")
    assert "running" in run("wait", "f", "kws-1", "--timeout", "0", status=4)
    run("abort", "f", "kws-1")
    assert "aborted" in run("wait", "f", "kws-1", status=3)
    report_success(served, "kws-2", after=lambda: run("deploy", "f", "d", f"kws={model}"))
    assert "completed" in run("wait", "f", "kws-2")


def test_deploy_watches_until_the_end(here: Command, served: ServedManager, model: Path) -> None:
    here("register", "f", "d")
    shown: list[str] = []
    watching = threading.Thread(target=lambda: shown.append(here("deploy", "f", "d", f"kws={model}", "--watch")))
    report_success(served, "kws-1", after=watching.start)
    watching.join(DEADLINE_S)
    [output] = shown
    assert "completed" in output


def report_success(served: ServedManager, deployment: str, after: Callable[[], Any]) -> None:
    """As the device f/d, once it has the deployment that `after` makes."""
    edge, who = served.client("sagemaker-edge"), {"DeviceName": "d", "DeviceFleetName": "f"}
    after()

    def has_it() -> bool:
        found = edge.get_deployments(**who).get("Deployments", [])
        return any(each["DeploymentName"] == deployment for each in found)

    until(has_it, lambda: f"the device got no {deployment}")
    result = {"DeploymentName": deployment, "DeploymentStatus": "SUCCESS"}
    edge.send_heartbeat(**who, AgentVersion="1", DeploymentResult=result)


@pytest.mark.parametrize("place_of", ["here", "elsewhere"])
def test_a_model_comes_from_a_named_pipe(
    place_of: str, request: pytest.FixtureRequest, served: ServedManager, tmp_path: Path
) -> None:
    run: Command = request.getfixturevalue(place_of)
    run("register", "f", "d")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"a model",))
    writer.start()
    run("deploy", "f", "d", f"kws={pipe}")
    writer.join()
    [stored] = served.client("s3").list_objects_v2(Bucket="models")["Contents"]
    assert served.client("s3").get_object(Bucket="models", Key=stored["Key"])["Body"].read() == b"a model"


def test_a_manager_that_does_not_answer(elsewhere: Command, served: ServedManager) -> None:
    shown = elsewhere("status", "--endpoint-url", "http://127.0.0.1:9", status=1)
    assert shown == 'edge-gateway manager: Could not connect to the endpoint URL: "http://127.0.0.1:9/"\n'


def test_a_profile_names_the_manager(here: Command, served: ServedManager, tmp_path: Path) -> None:
    here("register", "f", "d")
    settings = tmp_path / "config"
    keys = f"aws_access_key_id = {ACCESS}\naws_secret_access_key = {SECRET}\n"
    settings.write_text(f"[profile farm]\nendpoint_url = {served.url}\n{keys}[profile aws]\n{keys}")
    run = command({"AWS_CONFIG_FILE": str(settings)})
    assert run("devices", "--profile", "farm") == here("devices")
    assert "profile aws has no endpoint_url" in run("devices", "--profile", "aws", status=2)
    assert "The config profile (none) could not be found" in run("devices", "--profile", "none", status=2)


def test_a_role_that_does_not_allow_it(here: Command, elsewhere: Command, served: ServedManager, model: Path) -> None:
    [key] = json.loads(here("keys", "add", "--role", "viewer", "--json"))
    viewer = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    run = command({"EDGE_MANAGER_ENDPOINT_URL": served.url, **viewer})
    run("status")
    for action, words in (("AddDevices", ("register", "f", "d")), ("ListAudit", ("audit",))):
        denied = f"User: {key['AccessKeyId']} is not authorized to perform: edge-manager:{action}"
        assert denied in run(*words, status=2)


def test_the_service_model_has_each_operation_and_each_action_a_role() -> None:
    assert set(load_own_model().operation_names) == OWN_OPERATIONS
    assert {f"edge-manager:{name}" for name in OWN_OPERATIONS} == {
        action for action in ROLES if action.startswith("edge-manager:")
    }


@pytest.fixture
def edge_manager(served: ServedManager) -> Any:
    """boto3's client, as the helper makes it."""
    session = boto3.Session(ACCESS, SECRET)
    return edge_manager_client(session, endpoint_url=served.url)


def test_each_list_in_pages(edge_manager: Any, here: Command, model: Path) -> None:
    for fleet in ("f", "g", "h"):
        here("register", fleet, "d")
        here("deploy", fleet, "d", f"kws={model}")
    lists = {name for name in OWN_OPERATIONS if name.startswith("List") and edge_manager.can_paginate(snake(name))}
    assert len(lists) == 8
    for name in lists - {"ListDeploymentDevices", "ListAlerts"}:
        [key] = edge_manager.get_paginator(snake(name)).result_keys
        pages = list(edge_manager.get_paginator(snake(name)).paginate(PaginationConfig={"PageSize": 2}))
        entries = [each for page in pages for each in page[key.expression]]
        assert len(pages) > 1, name
        assert entries == getattr(edge_manager, snake(name))()[key.expression], name


GATE = ("--min-success", "30%", "--wait", "1h", "--stop-at", "100%")


@pytest.mark.parametrize("place_of", ["here", "elsewhere"])
def test_alerts_are_listed_and_muted(
    place_of: str, request: pytest.FixtureRequest, served: ServedManager, place: Place, edge_manager: Any
) -> None:
    run: Command = request.getfixturevalue(place_of)
    rows = [
        {"name": name, "subject": subject, "summary": "so", "since": 1.0, "fired": 2.0}
        for name, subject in (("EdgeManagerDevicesSilent", "f"), ("EdgeManagerRolloutStopped", "f/k"))
    ]
    looked = sa.select(TASKS.c.done).where(TASKS.c.name == "alerts")
    with open_place(place) as store:
        until(  # the next look is a minute later
            lambda: store.read(lambda transaction: transaction.connection.scalar(looked)) is not None,
            lambda: "nobody looks for what is wrong",
        )
        store.write(lambda transaction: transaction.connection.execute(sa.insert(ALERTS), rows))
    shown = json.loads(run("alerts", "list", "--json"))
    assert [(each["name"], each["subject"], each["state"]) for each in shown] == [
        ("EdgeManagerDevicesSilent", "f", "firing"),
        ("EdgeManagerRolloutStopped", "f/k", "firing"),
    ]
    assert "muted until" in run("alerts", "mute", "EdgeManagerRolloutStopped", "f/k", "--for", "2h")
    pages = edge_manager.get_paginator("list_alerts").paginate(PaginationConfig={"PageSize": 1})
    assert ["Muted" in each for page in pages for each in page["Alerts"]] == [False, True]
    assert "is not muted" in run("alerts", "unmute", "RolloutStopped", "f/k")
    assert "there is no alert EdgeManagernone of f" in run("alerts", "mute", "none", "f", status=2)
    assert "should be after now" in run("alerts", "mute", "EdgeManagerDevicesSilent", "f", "--for", "400d", status=2)


def test_the_devices_of_a_deployment_in_pages(
    edge_manager: Any, here: Command, served: ServedManager, model: Path
) -> None:
    """Those that failed first; each page goes on where the one before ended."""
    here("register", "f", *"abcde")
    here("deploy", "f", "--all", f"kws={model}", "--name", "k", "--stages", "60%,100%", *GATE)
    named = {"DeviceFleetName": "f", "DeploymentName": "k"}
    listed = edge_manager.get_paginator("list_deployment_devices")

    def devices(**members: Any) -> list[tuple[str, str, bool]]:
        pages = listed.paginate(**named, **members, PaginationConfig={"PageSize": 2})
        found = [each for page in pages for each in page["Devices"]]
        return [(each["DeviceName"], each["State"], each["Fetched"]) for each in found]

    first, second, third, *others = (name for name, *_ in devices())
    edge = served.client("sagemaker-edge")
    for device, status in ((second, "FAIL"), (third, "SUCCESS")):
        carry_out(edge, device, status)
    assert devices() == [
        (second, "failed", True),
        (first, "pending", False),
        (third, "succeeded", True),
        *((each, "waiting", False) for each in others),
    ]
    assert devices(State="waiting") == [(each, "waiting", False) for each in others]
    [failed] = edge_manager.list_deployment_devices(**named, State="failed")["Devices"]
    assert (failed["Status"], failed["Message"]) == ("FAIL", "as told")
    for token in ("x", encode_token("lost", 1), encode_token("waiting", 1)):
        with pytest.raises(ClientError, match="NextToken is not one that this list returned"):
            edge_manager.list_deployment_devices(**named, State="failed", NextToken=token)


def carry_out(edge: Any, device: str, status: str) -> None:
    who = {"DeviceName": device, "DeviceFleetName": "f"}
    edge.get_deployments(**who)
    result = {"DeploymentName": "k", "DeploymentStatus": status, "DeploymentStatusMessage": "as told"}
    edge.send_heartbeat(**who, AgentVersion="1", DeploymentResult=result)


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def test_a_waiter_ends_with_the_rollout(edge_manager: Any, here: Command, served: ServedManager, model: Path) -> None:
    here("register", "f", "d")
    here("deploy", "f", "d", f"kws={model}")
    quick = {"WaiterConfig": {"Delay": 0, "MaxAttempts": 2}}
    waiter = edge_manager.get_waiter("rollout_completed")
    named = {"DeviceFleetName": "f", "DeploymentName": "kws-1"}
    with pytest.raises(WaiterError, match="Max attempts exceeded"):
        waiter.wait(**named, **quick)
    edge = served.client("sagemaker-edge")
    who = {"DeviceName": "d", "DeviceFleetName": "f"}
    edge.get_deployments(**who)
    result = {"DeploymentName": "kws-1", "DeploymentStatus": "SUCCESS"}
    edge.send_heartbeat(**who, AgentVersion="1", DeploymentResult=result)
    waiter.wait(**named, **quick)
    here("deploy", "f", "d", f"kws={model}")
    here("abort", "f", "kws-2")
    with pytest.raises(WaiterError, match="terminal failure state"):
        waiter.wait(**named | {"DeploymentName": "kws-2"}, **quick)


def test_any_botocore_finds_the_model_by_a_variable(served: ServedManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DATA_PATH", str(PATH))
    client = boto3.Session(ACCESS, SECRET).client("edge-manager", endpoint_url=served.url, region_name="eu-west-1")  # type: ignore[call-overload]
    assert client.list_fleet_reports()["Fleets"] == []
    with pytest.raises(ClientError, match="ValidationException"):
        client.describe_deployment(DeviceFleetName="f", DeploymentName="none")
