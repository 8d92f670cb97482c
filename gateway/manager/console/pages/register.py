"""Registers devices by their names; a fleet that is not there is made."""

from gateway.manager.console.forms import Mistakes
from gateway.manager.console.rollout_words import device_words
from gateway.manager.console.views import Redirected, Shown, View, ViewAnswer, ViewRequest, link_to
from gateway.manager.errors import ApiError, ManagerError
from gateway.manager.rollouts import actions

MOST = 1000
"""Names of one form."""
PATH = "/devices/register"
ACTION = "edge-manager:AddDevices"


def show(request: ViewRequest) -> ViewAnswer:
    return _form({"fleet": request.query.get("fleet", ""), "names": ""}, Mistakes())


def act(request: ViewRequest) -> ViewAnswer:
    typed = {name: request.form.get(name, "").strip() for name in ("fleet", "names")}
    names = list(dict.fromkeys(typed["names"].replace(",", " ").split()))
    mistakes = Mistakes()
    mistakes.found_in("fleet", lambda: actions.check_names("fleet", "DeviceFleetName", [typed["fleet"]]))
    mistakes.found_in("names", lambda: _check(names))
    if mistakes:
        return _form(typed, mistakes)
    try:
        members = {"DeviceFleetName": typed["fleet"], "DeviceNames": names}
        new = request.operations.call("EdgeManager.AddDevices", members)["NewDeviceNames"]
    except ApiError as error:
        if error.code != "ValidationException":
            raise
        mistakes[""] = error.message
        return _form(typed, mistakes)
    old = len(names) - len(new)
    said = f"Registered in {typed['fleet']}: {device_words(len(new))}."
    said += f" Registered before: {old:,}." if old else ""
    return Redirected(link_to("/devices", fleet=typed["fleet"]), said)


def _check(names: list[str]) -> None:
    if not names:
        raise ManagerError("Type one name or more.")
    if len(names) > MOST:
        raise ManagerError(
            f"These are {len(names):,} names; send {MOST:,} at most, or use the command register --file."
        )
    actions.check_names("names", "DeviceName", names)


def _form(typed: dict[str, str], mistakes: Mistakes) -> Shown:
    return Shown("register.html", {"typed": typed, "mistakes": mistakes}, 400 if mistakes else 200)


VIEWS = (
    View(PATH, show, action=ACTION),
    View(PATH, act, action=ACTION, changes=True),
)
