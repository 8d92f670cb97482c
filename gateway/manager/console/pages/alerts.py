"""What is wrong now, what to do about it, and who is told: alerts, which an operator mutes for a time."""

from gateway.manager.alerts import AlertReport, AlertState
from gateway.manager.console.errors import PageError
from gateway.manager.console.views import Redirected, Shown, View, ViewAnswer, ViewRequest, downloaded, path_to
from gateway.manager.errors import ApiError
from gateway.manager.models import from_members, output_shape

PAGE = 50
DOWNLOADED = 500
COLUMNS = tuple(AlertReport.__annotations__)
MUTED_FOR = {"1 hour": 3600, "8 hours": 8 * 3600, "1 day": 86_400, "7 days": 7 * 86_400, "30 days": 30 * 86_400}
MUTE = "edge-manager:MuteAlert"


def show(request: ViewRequest) -> ViewAnswer:
    form = request.query.get("format")
    asked: dict[str, object] = {"MaxResults": PAGE if form is None else DOWNLOADED}
    if "after" in request.query:
        asked["NextToken"] = request.query["after"]
    found = from_members(request.operations.call("EdgeManager.ListAlerts", asked), output_shape("ListAlerts"))
    if form is not None:
        return downloaded(form, "alerts", found["alerts"], COLUMNS)
    token = found["next_token"]
    variables = {
        "alerts": [(each, subject_path(each["subject"])) for each in found["alerts"]],
        "now": request.now,
        "may_mute": request.viewer.may(MUTE),
        "next": None if token is None else request.link(after=token),
        "first": request.link(after=None) if "after" in request.query else None,
        "csv": request.link(format="csv"),
        "json": request.link(format="json"),
    }
    return Shown("alerts.html", variables)


def subject_path(subject: str) -> str | None:
    """The page of a fleet's devices, or of a rollout; None: the alert is of the whole site."""
    fleet, slash, deployment = subject.partition("/")
    if slash:
        return path_to("rollouts", fleet, deployment)
    return path_to("devices") + f"?fleet={fleet}" if fleet else None


def ask(request: ViewRequest) -> ViewAnswer:
    """`name`, `subject`: of the alert that is to be muted."""
    named = {name: request.query.get(name, "") for name in ("name", "subject")}
    return Shown("mute.html", {"named": named, "times": tuple(MUTED_FOR)})


def mute(request: ViewRequest) -> ViewAnswer:
    """`time`: one of MUTED_FOR; empty: it is muted no longer."""
    named = {"AlertName": request.form.get("name", ""), "Subject": request.form.get("subject", "")}
    said, time = " ".join(filter(None, named.values())), request.form.get("time", "")
    if time and time not in MUTED_FOR:
        raise PageError(400, f"There is no time {time[:40]!r}.", f"Take {', '.join(MUTED_FOR)}.")
    try:
        if time:
            request.operations.call("EdgeManager.MuteAlert", named | {"Until": request.now + MUTED_FOR[time]})
        else:
            request.operations.call("EdgeManager.UnmuteAlert", named)
    except ApiError as error:
        if error.code != "ResourceNotFound":
            raise
        raise PageError(404, f"It is not here: {error.message}", "Go back to the alerts.") from error
    return Redirected("/alerts", f"{said} is muted for {time}." if time else f"{said} is not muted.")


def is_news(alert: AlertReport) -> bool:
    """Whether the first page shows it."""
    return alert["state"] == AlertState.FIRING and alert["muted"] is None


VIEWS = (
    View("/alerts", show, action="edge-manager:ListAlerts"),
    View("/alerts/mute", ask, action=MUTE),
    View("/alerts/mute", mute, action=MUTE, changes=True),
)
