"""A deployment from the browser: a form, a page that says what it would do, and then the deployment.

Nothing is changed before the last step. What was typed comes back with each page.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from gateway.manager.api import POLICIES
from gateway.manager.console.forms import Mistakes
from gateway.manager.console.rollout_words import device_words, rule_sentences, stage_sentences
from gateway.manager.console.views import Redirected, Shown, View, ViewAnswer, ViewRequest, is_confirmed, link_to
from gateway.manager.errors import ApiError, OptionError
from gateway.manager.models import from_members, output_shape
from gateway.manager.reports import RolloutReport, fleet_reports
from gateway.manager.rollouts import RolloutRepository, RolloutRules, actions, rules_text
from gateway.manager.store import Store, find_package, newest_packages

DEFAULTS = {
    "package": "",
    "url": "",
    "handle": "",
    "version": "",
    "fleet": "",
    "devices": "all",
    "percent": "10%",
    "names": "",
    "stages": "100%",
    "min_success": "90%",
    "wait": "0s",
    "stop_at": "",
    "stop_min": "10",
    "silent_after": "",
    "max_silent": "10%",
    "policy": POLICIES[0],
    "name": "",
}
"""Field -> what it has at first. Those of the rules are as the options of `deploy`."""
OFFERED = 200
"""Packages and fleets to choose from; others can be named."""

Typed = Mapping[str, str]


def show(request: ViewRequest) -> ViewAnswer:
    typed = {name: request.query.get(name, default) for name, default in DEFAULTS.items()}
    return _form(request, typed, {})


def act(request: ViewRequest) -> ViewAnswer:
    """`step`: edit, preview or deploy. None of them changes anything where something is wrong."""
    typed = {name: request.form.get(name, default).strip() for name, default in DEFAULTS.items()}
    step = request.form.get("step")
    if step == "edit":
        return _form(request, typed, {})
    mistakes = Mistakes()
    members = _members(request.store, typed, mistakes)
    if mistakes:
        return _form(request, typed, mistakes)
    try:
        planned = _call(request, members | {"DryRun": True})
        if step == "deploy" and is_confirmed(request.form, planned["devices"], typed["fleet"]):
            started = _call(request, members)
        else:
            return _preview(typed, planned, members["Models"][0], is_wrong=step == "deploy")
    except ApiError as error:
        if error.code != "ValidationException":
            raise
        return _form(request, typed, {"": error.message})
    done = f"The deployment {started['deployment']} was started for {device_words(started['devices'])}."
    return Redirected(link_to("/rollouts", fleet=started["fleet"]), done)


def _call(request: ViewRequest, members: Mapping[str, Any]) -> RolloutReport:
    output = request.operations.call("EdgeManager.Deploy", members)
    found: RolloutReport = from_members(output, output_shape("Deploy"))["deployment"]
    return found


def _form(request: ViewRequest, typed: Typed, mistakes: Mapping[str, str]) -> Shown:
    packages = request.store.read(lambda transaction: newest_packages(transaction.connection, OFFERED))
    variables = {
        "typed": typed,
        "mistakes": mistakes,
        "packages": packages,
        "is_other": typed["package"] not in ("", *(each.name for each in packages)),
        "fleets": [each["fleet"] for each in fleet_reports(request.store)[:OFFERED]],
        "policies": POLICIES,
    }
    return Shown("deploy.html", variables, 400 if mistakes else 200)


def _preview(typed: Typed, planned: RolloutReport, model: Mapping[str, str], *, is_wrong: bool) -> Shown:
    variables = {
        "typed": typed,
        "planned": planned,
        "model": model,
        "stages": stage_sentences(planned),
        "rules": rule_sentences(planned),
        "mistake": f"Type {typed['fleet']}. Nothing was deployed." if is_wrong else "",
    }
    return Shown("deploy_preview.html", variables, 400 if is_wrong else 200)


def _members(store: Store, typed: Typed, mistakes: Mistakes) -> dict[str, Any]:
    """Of the operation Deploy; of no use where there is a mistake."""
    fleet, name = typed["fleet"], typed["name"]
    model = mistakes.found_in("package", partial(_model, store, typed))
    mistakes.found_in("fleet", partial(_check_fleet, store, fleet))
    chosen = None if "fleet" in mistakes else mistakes.found_in("names", partial(_devices, store, typed))
    rules = mistakes.found_in("stages", partial(_rules, typed))
    if typed["policy"] not in POLICIES:
        mistakes["policy"] = f"Choose {' or '.join(POLICIES)}."
    if name:
        mistakes.found_in("name", partial(_check_name, store, None if "fleet" in mistakes else fleet, name))
    members = {
        "DeviceFleetName": fleet,
        "Models": [model],
        **(chosen or {}),
        "DeploymentName": name or None,
        "FailureHandlingPolicy": typed["policy"],
        **({} if rules is None else rules_text.rollout_members(rules)),
    }
    return {member: value for member, value in members.items() if value is not None}


def _model(store: Store, typed: Typed) -> dict[str, str]:
    """A file that was uploaded, or a package."""
    handle, version, url, name = typed["handle"], typed["version"], typed["url"], typed["package"]
    if url:
        actions.check_names("handle", "EntityName", [handle])
        actions.check_names("version", "Version", [version] if version else [])
        return {"ModelHandle": handle, "S3Url": url} | ({"ModelVersion": version} if version else {})
    if not name:
        raise OptionError("package", "Choose one, or upload a file.")
    actions.check_names("package", "EntityName", [name])
    package = store.read(lambda transaction: find_package(transaction.connection, name))
    if package is None:
        raise OptionError("package", f"There is no package {name}.")
    return {"ModelHandle": package.model, "S3Url": package.url, "ModelVersion": package.version}


def _check_fleet(store: Store, fleet: str) -> None:
    actions.check_names("fleet", "DeviceFleetName", [fleet])
    actions.require_fleet(store, fleet)


def _check_name(store: Store, fleet: str | None, name: str) -> None:
    """`fleet` None: it is not known."""
    actions.check_names("name", "EntityName", [name])
    if fleet is not None:
        store.read(lambda transaction: RolloutRepository(transaction).require_unused(fleet, name))


def _devices(store: Store, typed: Typed) -> dict[str, Any]:
    if typed["devices"] == "names":
        names = typed["names"].replace(",", " ").split()
        if not names:
            raise OptionError("names", "Name a device.")
        actions.check_names("names", "DeviceName", names)
        actions.require_devices(store, typed["fleet"], names)
        return {"DeviceNames": names}
    is_share = typed["devices"] == "percent"
    share = rules_text.parse_nonzero_share(typed["percent"] if is_share else "100%", "percent")
    return {"AllDevices": True, "Percent": float(share * 100)}


def _rules(typed: Typed) -> RolloutRules:
    least = typed["stop_min"]
    if not (least.isascii() and least.isdigit() and len(least) <= 9):
        raise OptionError("--stop-min", f"'{least}' is no number of results: 1 or more")
    return rules_text.parse_rollout_options(
        *(typed["stages"], typed["min_success"], typed["wait"], typed["stop_at"] or None, int(least)),
        *(typed["silent_after"] or None, typed["max_silent"]),
    )


VIEWS = (
    View("/models/deploy", show, action="edge-manager:Deploy"),
    View("/models/deploy", act, action="edge-manager:Deploy", changes=True),
)
