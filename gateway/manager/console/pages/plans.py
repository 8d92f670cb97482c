"""Deployment plans of the API: their stages, which are started and stopped by hand.

A deployment of a command is listed too, as the API does, and its own page is that of its rollout.
"""

from typing import Any

from gateway.manager.console.errors import PageError
from gateway.manager.console.rollout_words import device_words
from gateway.manager.console.views import (
    CONFIRM_ABOVE,
    Redirected,
    Shown,
    View,
    ViewAnswer,
    ViewRequest,
    is_confirmed,
    link_to,
    path_to,
)
from gateway.manager.errors import ApiError

PAGE = 50
PATH = "/plans/{name}"
STARTS, STOPS = "StartEdgeDeploymentStage", "StopEdgeDeploymentStage"
DONE = {STARTS: "started", STOPS: "stopped"}
ACTIVE = ("STARTING", "INPROGRESS")
MANY = f"more than {CONFIRM_ABOVE} devices"


def show_list(request: ViewRequest) -> ViewAnswer:
    asked: dict[str, Any] = {"MaxResults": PAGE, "SortBy": "CREATION_TIME", "SortOrder": "Descending"}
    if "after" in request.query:
        asked["NextToken"] = request.query["after"]
    listed = request.operations.call("SageMaker.ListEdgeDeploymentPlans", asked)
    token = listed.get("NextToken")
    variables = {
        "plans": listed["EdgeDeploymentPlanSummaries"],
        "next": None if token is None else request.link(after=token),
        "first": request.link(after=None) if "after" in request.query else None,
    }
    return Shown("plans.html", variables)


def show(request: ViewRequest) -> ViewAnswer:
    """`start`: the stage of which the page asks whether to start it."""
    plan = _describe(request)
    fleet, name = plan["DeviceFleetName"], plan["EdgeDeploymentPlanName"]
    if _is_of_command(request, fleet, name):
        return Redirected(path_to("rollouts", fleet, name))
    asked = request.query.get("start")
    if asked is not None:
        _require_startable(plan, asked)
    variables = {
        "plan": plan,
        "starts": STARTS,
        "stops": STOPS,
        "may_start": request.viewer.may(f"sagemaker:{STARTS}"),
        "active": ACTIVE,
        "asked": asked,
        "said": None if asked is None else stage_words(_count(request, name, asked)),
        "many": MANY,
        "next": None if "NextToken" not in plan else request.link(after=plan["NextToken"]),
        "first": request.link(after=None) if "after" in request.query else None,
        "here": link_to(request.path),
    }
    return Shown("plan.html", variables)


def act(request: ViewRequest) -> ViewAnswer:
    name, stage, operation = request.parameters["name"], request.form.get("stage", ""), request.form.get("change", "")
    if operation not in DONE:
        raise PageError(400, "There is no such change. Nothing was changed.", "Take one that the page offers.")
    if operation == STARTS and not is_confirmed(request.form, _count(request, name, stage), name):
        what = (
            f"The stage {stage} has more than {CONFIRM_ABOVE} devices, and {name} was not typed. Nothing was changed."
        )
        raise PageError(400, what, "Go back, type it into the field, and send it again.")
    request.operations.call(f"SageMaker.{operation}", {"EdgeDeploymentPlanName": name, "StageName": stage})
    return Redirected(path_to("plans", name), f"The stage {stage} is being {DONE[operation]}.")


def _describe(request: ViewRequest) -> dict[str, Any]:
    asked = {"EdgeDeploymentPlanName": request.parameters["name"]}
    if "after" in request.query:
        asked["NextToken"] = request.query["after"]
    return request.operations.find("SageMaker.DescribeEdgeDeploymentPlan", asked)


def _is_of_command(request: ViewRequest, fleet: str, name: str) -> bool:
    members = {"DeviceFleetName": fleet, "DeploymentName": name}
    try:
        found = request.operations.call("EdgeManager.DescribeDeployment", members)["Deployment"]
    except ApiError as error:
        if error.code != "ValidationException":
            raise
        return False
    return "Plan" not in found


def _require_startable(plan: dict[str, Any], stage: str) -> None:
    states = {each["StageName"]: each["DeploymentStatus"]["StageStatus"] for each in plan["Stages"]}
    if states.get(stage) != "READYTODEPLOY":
        what = f"The stage {stage[:63]} is {states.get(stage, 'not of this page')}: it cannot be started."
        raise PageError(409, what, "Load the page of the plan again, and choose what it offers.")


def _count(request: ViewRequest, plan: str, stage: str) -> int:
    """How many devices the stage would choose now; where it is more than need a word, one more than these."""
    asked: dict[str, Any] = {"EdgeDeploymentPlanName": plan, "StageName": stage, "MaxResults": 100}
    devices = 0
    while devices <= CONFIRM_ABOVE:
        page = request.operations.call("SageMaker.ListStageDevices", asked)
        devices += len(page["DeviceDeploymentSummaries"])
        if "NextToken" not in page:
            return devices
        asked["NextToken"] = page["NextToken"]
    return CONFIRM_ABOVE + 1


def stage_words(devices: int) -> str:
    return MANY if devices > CONFIRM_ABOVE else device_words(devices)


VIEWS = (
    View("/plans", show_list, action="sagemaker:ListEdgeDeploymentPlans"),
    View(PATH, show, action="sagemaker:DescribeEdgeDeploymentPlan"),
    View(PATH, act, action=f"sagemaker:{STARTS}", changes=True),
)
