"""The page of a rollout: what it waits for, on which devices, and what an operator does with it there."""

import hashlib
import json
import re
import time
from typing import Any

import pytest

from gateway.manager.console import views
from gateway.manager.console.pages import plans
from gateway.manager.control import Caller
from gateway.manager.operations import EdgeApi
from gateway.manager.rollouts import RolloutRules, RolloutRunner, actions, rollout_order, rules_text
from gateway.manager.store import StoredFile, add_package, newest_packages
from tests.contract.console.conftest import Answered, Browser, ServedConsole
from tests.support.control_plane import audit_of

FILE = {"kws": StoredFile("s3://models/kws/x.bin", 5, "a" * 40)}
NAMES = [f"d{number}" for number in range(10)]
HOSTILE = "<img src=x onerror=alert(1)>\"'\u202e"
PAGE = "/rollouts/barn/canary"


def typed(stages: str, min_success: str = "90%", wait: str = "0s", **others: Any) -> RolloutRules:
    return rules_text.parse_rollout_options(stages, min_success, wait, others.pop("stop_at", None), 1, **others)


def deploy(console: ServedConsole, rules: RolloutRules, name: str = "canary") -> list[str]:
    """To all devices; their names in the order of the rollout."""
    console.store.write(lambda transaction: transaction.register("barn", NAMES, 1.0))
    device_ids = actions.require_devices(console.store, "barn", NAMES)
    actions.deploy(
        *(console.store, actions.NewDeployment("barn", ["kws"], name, rules=rules), device_ids, FILE, {}),
        now=time.time(),
    )
    return rollout_order(name, NAMES)


def call(console: ServedConsole, operation: str, device: str, **members: Any) -> Any:
    body = {"DeviceFleetName": "barn", "DeviceName": device} | members
    return EdgeApi(console.store).handle(operation, json.dumps(body).encode(), time.time())


def report(console: ServedConsole, status: str, *devices: str, name: str = "canary", message: str = "") -> None:
    for device in devices:
        call(console, "GetDeployments", device)
        result = {"DeploymentName": name, "DeploymentStatus": status, "DeploymentStatusMessage": message}
        call(console, "SendHeartbeat", device, AgentVersion="1", DeploymentResult=result)


def listed(page: Answered) -> list[str]:
    return re.findall(r'<th scope="row"[^>]*>([^<]+)</th>', page.text)


def offered(page: Answered) -> list[str]:
    return re.findall(r"<summary>(\w+)</summary>", page.text)


async def test_what_a_stage_waits_for(console: ServedConsole, browser: Browser) -> None:
    order = deploy(console, typed("50%,100%", "80%", "1h"))
    report(console, "SUCCESS", *order[:2])
    page = (await browser.get(PAGE)).words
    assert "4 of 5 devices must succeed before stage 2 starts. 2 succeeded, 0 failed, 3 pending." in page
    assert "2 more must succeed. Stage 2" not in page
    report(console, "SUCCESS", *order[2:4])
    assert re.search(r"Enough succeeded\. Stage 1 lasts 60 min more, at least\.", (await browser.get(PAGE)).words)


async def test_each_count_leads_to_its_devices(console: ServedConsole, browser: Browser) -> None:
    order = deploy(console, typed("50%,100%", "20%", "1h", stop_at="100%"))
    report(console, "SUCCESS", order[0])
    report(console, "FAIL", order[1], message="no room")
    page = await browser.get(PAGE)
    assert listed(page) == [order[1], *order[2:5], order[0], *order[5:]]
    for state, expected in (("failed", [order[1]]), ("pending", order[2:5]), ("waiting", order[5:])):
        link = re.search(rf'href="({PAGE}\?devices={state})#devices">', page.text)
        assert link is not None
        assert listed(await browser.get(link[1])) == expected
        files = json.loads((await browser.get(f"{link[1]}&format=json")).text)
        assert [each["device"] for each in files] == expected
    assert "FAIL no room" in page.words
    assert f'href="{PAGE}?devices=failed"' in (await browser.get("/rollouts")).text


async def test_why_it_stopped(console: ServedConsole, browser: Browser) -> None:
    order = deploy(console, typed("20%,100%", stop_at="0%"))
    report(console, "FAIL", order[0])
    RolloutRunner(console.store).advance_all(time.time())
    page = await browser.get(PAGE)
    assert "Why it stopped: 1 of 1 results are FAIL, more than 0%." in page.words
    assert offered(page) == ["Undo"]


async def test_an_operator_pauses_resumes_aborts_and_undoes(console: ServedConsole, browser: Browser) -> None:
    order = deploy(console, typed("20%,100%"))
    report(console, "SUCCESS", order[0])
    assert offered(await browser.get(PAGE)) == ["Pause", "Abort", "Undo"]
    for change, state, then in (
        ("PauseDeployment", "paused", ["Resume", "Abort", "Undo"]),
        ("ResumeDeployment", "running", ["Pause", "Abort", "Undo"]),
        ("AbortDeployment", "aborted", ["Undo"]),
    ):
        done = await browser.post(PAGE, {"change": change})
        assert (done.status, done.headers["Location"]) == (303, PAGE)
        page = await browser.get(PAGE)
        assert f"the rollout is {state} now" in page.words
        assert offered(page) == then
    await browser.post(PAGE, {"change": "UndoDeployment"})
    page = await browser.get(PAGE)
    assert re.search(r"Undo: [\w-]+ gives 1 device what they had before", page.words)
    newest = audit_of(console.store)[-1]
    assert newest["action"] == "edge-manager:UndoDeployment"


async def test_what_cannot_be_done_changes_nothing(console: ServedConsole, browser: Browser) -> None:
    deploy(console, typed("20%,100%"))
    refused = await browser.post(PAGE, {"change": "ResumeDeployment"})
    assert refused.status == 409
    assert "The rollout is running: this cannot be done with it. Nothing was changed." in refused.words
    for change in ("", "Deploy", "DeleteUser"):
        assert (await browser.post(PAGE, {"change": change})).status == 409
    assert (await browser.post(PAGE, {"change": "AbortDeployment"}, token="stale")).status == 403
    assert "running" in (await browser.get(PAGE)).words


async def test_many_devices_need_the_name_of_the_deployment(
    console: ServedConsole, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "CONFIRM_ABOVE", 5)
    deploy(console, typed("20%,100%"))
    assert 'name="confirm" required' in (await browser.get(PAGE)).text
    for form, status in (({}, 400), ({"confirm": "barn"}, 400), ({"confirm": "canary"}, 303)):
        assert (await browser.post(PAGE, {"change": "AbortDeployment"} | form)).status == status


async def test_a_viewer_changes_nothing(console: ServedConsole, browser: Browser) -> None:
    deploy(console, typed("20%,100%"))
    console.add_user("vera", "viewer")
    await browser.log_in("vera")
    assert offered(await browser.get(PAGE)) == []
    assert (await browser.post(PAGE, {"change": "AbortDeployment"})).status == 403
    assert "running" in (await browser.get(PAGE)).words


async def test_an_address_that_is_wrong(console: ServedConsole, browser: Browser) -> None:
    deploy(console, typed("100%"))
    for path in ("devices=lost", "after=x", "format=xml"):
        page = await browser.get(f"{PAGE}?{path}")
        assert (page.status, "<table" in page.text) == (400, False)
    for path in ("/rollouts/barn/none", "/rollouts/none/canary", "/rollouts/barn/%00"):
        assert (await browser.get(path)).status == 404


async def test_no_text_of_a_device_becomes_html(console: ServedConsole, browser: Browser) -> None:
    order = deploy(console, typed("100%"))
    report(console, "FAIL", order[0], message=HOSTILE)
    page = (await browser.get(PAGE)).text
    assert "&lt;img src=x" in page
    assert "<img" not in page
    assert "\u202e" not in page


# -- deployment plans --


async def make_plan(console: ServedConsole, browser: Browser) -> None:
    content = b"a model"
    sha1 = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    await browser.upload("/models/upload", content, handle="kws")
    file = StoredFile(f"s3://models/kws/{sha1[:16]}.tflite", len(content), sha1)
    console.store.write(lambda transaction: transaction.register("barn", NAMES, 1.0))
    console.store.write(lambda transaction: add_package(transaction.connection, "kws", "1", file, 1.0))
    package = console.store.read(lambda transaction: newest_packages(transaction.connection, 1))[0].name
    stages = [
        {"StageName": name, "DeviceSelectionConfig": chosen}
        for name, chosen in (
            ("first", {"DeviceSubsetType": "SELECTION", "DeviceNames": ["d1", "d2"]}),
            ("all", {"DeviceSubsetType": "PERCENTAGE", "Percentage": 100}),
        )
    ]
    models = [{"ModelHandle": "kws", "EdgePackagingJobName": package}]
    asked = {"EdgeDeploymentPlanName": "plan", "DeviceFleetName": "barn", "ModelConfigs": models, "Stages": stages}
    console.control("SageMaker.CreateEdgeDeploymentPlan", json.dumps(asked).encode(), Caller(), time.time())


async def test_a_stage_of_a_plan_is_started_and_stopped(console: ServedConsole, browser: Browser) -> None:
    await make_plan(console, browser)
    assert listed(await browser.get("/plans")) == []
    assert 'href="/plans/plan">plan<' in (await browser.get("/plans")).text
    page = await browser.get("/plans/plan")
    assert re.findall(r'href="/plans/plan\?start=(\w+)#start"', page.text) == ["first", "all"]
    asked = await browser.get("/plans/plan?start=first")
    assert "It gives the models of the plan to 2 devices, each with its next heartbeat." in asked.words
    done = await browser.post("/plans/plan", {"change": "StartEdgeDeploymentStage", "stage": "first"})
    assert (done.status, done.headers["Location"]) == (303, "/plans/plan")
    page = await browser.get("/plans/plan")
    assert "The stage first is being started." in page.words
    assert "STARTING" in page.words
    assert (await browser.get("/plans/plan?start=first")).status == 409
    await browser.post("/plans/plan", {"change": "StopEdgeDeploymentStage", "stage": "first"})
    assert "STOPPING" in (await browser.get("/plans/plan")).words


async def test_a_stage_of_many_devices_needs_the_name_of_the_plan(
    console: ServedConsole, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "CONFIRM_ABOVE", 5)
    monkeypatch.setattr(views, "CONFIRM_ABOVE", 5)
    await make_plan(console, browser)
    start = {"change": "StartEdgeDeploymentStage", "stage": "all"}
    assert 'name="confirm" required' in (await browser.get("/plans/plan?start=all")).text
    refused = await browser.post("/plans/plan", start | {"confirm": "barn"})
    assert (refused.status, "Nothing was changed" in refused.words) == (400, True)
    assert "STARTING" not in (await browser.get("/plans/plan")).words
    assert (await browser.post("/plans/plan", start | {"confirm": "plan"})).status == 303


async def test_what_a_plan_has_not(console: ServedConsole, browser: Browser) -> None:
    await make_plan(console, browser)
    deploy(console, typed("100%"))
    assert (await browser.get("/plans/canary")).headers["Location"] == PAGE
    for path in ("/plans/none", "/plans/plan?after=x", "/plans?after=x", "/plans/plan?start=none"):
        page = await browser.get(path)
        assert (page.status in (400, 404, 409), "<table" in page.text) == (True, False)
    assert (await browser.post("/plans/plan", {"change": "DeleteEdgeDeploymentPlan"})).status == 400
    console.add_user("vera", "viewer")
    await browser.log_in("vera")
    assert "Start" not in (await browser.get("/plans/plan")).words
    start = {"change": "StartEdgeDeploymentStage", "stage": "first"}
    assert (await browser.post("/plans/plan", start)).status == 403
