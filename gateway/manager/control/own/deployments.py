"""Deployments and their rollouts, as an operator starts, changes and reads them. It must never store a file."""

from collections.abc import Sequence
from fractions import Fraction

from gateway.manager.api import POLICIES
from gateway.manager.control.calls import Members, StoreCall, StoreOperation
from gateway.manager.control.own.outputs import device_token, labels_of, limit_of, output, page_of, start_of
from gateway.manager.control.paging import decode_token, encode_token, wrong_token
from gateway.manager.errors import ManagerError, S3Error, validation_error
from gateway.manager.reports import (
    DeploymentDevice,
    RolloutReport,
    deployment_devices,
    device_deployments,
    rollout_report,
)
from gateway.manager.rollouts import Rollout, RolloutRepository, RolloutRules, RolloutState, Stage, actions
from gateway.manager.store import StoredFile, Transaction, versions

_ALL = 100.0
"""Percent."""


def deploy(call: StoreCall, asked: Members) -> Members:
    deployment = actions.NewDeployment(
        fleet=asked["DeviceFleetName"],
        handles=tuple(each["ModelHandle"] for each in asked["Models"]),
        name=asked.get("DeploymentName"),
        policy=asked.get("FailureHandlingPolicy", POLICIES[0]),
        rules=_rules(asked),
        share=_nonzero(asked, "Percent", _ALL),
    )
    labels = labels_of(asked)
    everybody = asked.get("AllDevices", "Percent" in asked or bool(labels))
    devices = actions.choose_devices(call.store, deployment.fleet, asked.get("DeviceNames", ()), everybody, labels)
    if asked.get("DryRun"):
        return output("Deploy", deployment=rollout_report(actions.preview(call.store, deployment, devices, call.now)))
    files = {each["ModelHandle"]: _find_file(call, each["S3Url"]) for each in asked["Models"]}
    named = {each["ModelHandle"]: each["ModelVersion"] for each in asked["Models"] if "ModelVersion" in each}
    rollout = actions.deploy(call.store, deployment, devices, files, named, now=call.now, auditor=call.auditor)
    return output("Deploy", deployment=_reports(call, [rollout])[0])


def _find_file(call: StoreCall, url: str) -> StoredFile:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    try:
        file = call.objects.stored_file(bucket, key)
    except S3Error as error:
        raise ManagerError(f"{url} is not in the model store ({error.code}): upload it first") from error
    if not file.size:
        raise ManagerError(f"{url} is empty: a model file is expected")
    return file


def _rules(asked: Members) -> RolloutRules:
    """Raises ApiError."""
    stages = [
        Stage(_nonzero(each, "Share"), _share(each, "MinSuccess", 90.0), _seconds(each, "Wait", 0.0))
        for each in asked.get("Stages", [{"Share": _ALL}])
    ]
    stages[-1] = Stage(stages[-1].share)
    silent_after = _seconds(asked, "SilentAfter") if "SilentAfter" in asked else None
    if silent_after == 0.0:
        raise validation_error("SilentAfter should be more than 0")
    default = 10.0 if len(stages) > 1 else None
    stop_at = None if asked.get("StopAt", default) is None else _share(asked, "StopAt", default)
    max_silent = _share(asked, "MaxSilent", 10.0)
    try:
        return RolloutRules(tuple(stages), stop_at, asked.get("StopMin", 10), silent_after, max_silent)
    except ValueError as error:
        raise validation_error(f"Stages: {error}, as 1, 10, 100") from error


def _share(asked: Members, member: str, default: float | None = None) -> Fraction:
    """Of a percentage. As it is written: 0.1 is a thousandth."""
    percent = asked.get(member, default)
    if not 0 <= percent <= _ALL:
        raise validation_error(f"{member} is {percent}: should be 0 to 100, in percent")
    return Fraction(str(percent)) / 100


def _nonzero(asked: Members, member: str, default: float | None = None) -> Fraction:
    share = _share(asked, member, default)
    if not share:
        raise validation_error(f"{member} is 0: of the devices these are none")
    return share


def _seconds(asked: Members, member: str, default: float | None = None) -> float:
    seconds: float = asked.get(member, default)
    if not 0 <= seconds <= actions.LONGEST:
        raise validation_error(f"{member} is {seconds}: should be 0 to {actions.LONGEST:,.0f} seconds")
    return float(seconds)


def undeploy(call: StoreCall, asked: Members) -> Members:
    fleet, handle = asked["DeviceFleetName"], asked["ModelHandle"]
    everybody = asked.get("AllDevices", False)
    devices = actions.choose_devices(call.store, fleet, asked.get("DeviceNames", ()), everybody)
    if everybody:
        devices = actions.devices_with(call.store, devices, handle)
    name = asked.get("DeploymentName")
    rollout = actions.undeploy(call.store, fleet, devices, handle, name=name, now=call.now, auditor=call.auditor)
    return output("Undeploy", deployment=_reports(call, [rollout])[0])


def undo(call: StoreCall, asked: Members) -> Members:
    fleet, name = asked["DeviceFleetName"], asked["DeploymentName"]
    rollout = actions.undo(call.store, fleet, name, now=call.now, auditor=call.auditor)
    return output("UndoDeployment", deployment=None if rollout is None else _reports(call, [rollout])[0])


def _set_state(call: StoreCall, asked: Members, state: RolloutState) -> Members:
    fleet, name = asked["DeviceFleetName"], asked["DeploymentName"]
    rollout = actions.set_state(call.store, fleet, name, state, now=call.now, auditor=call.auditor)
    return output("PauseDeployment", deployment=_reports(call, [rollout])[0])


def pause(call: StoreCall, asked: Members) -> Members:
    return _set_state(call, asked, RolloutState.PAUSED)


def resume(call: StoreCall, asked: Members) -> Members:
    return _set_state(call, asked, RolloutState.RUNNING)


def abort(call: StoreCall, asked: Members) -> Members:
    return _set_state(call, asked, RolloutState.ABORTED)


def describe(call: StoreCall, asked: Members) -> Members:
    number = actions.require_rollout(call.store, asked["DeviceFleetName"], asked["DeploymentName"])
    rollout = call.store.read(lambda transaction: RolloutRepository(transaction).read(number))
    return output("DescribeDeployment", deployment=_reports(call, [rollout])[0])


def list_deployments(call: StoreCall, asked: Members) -> Members:
    """In the order of their creation, or the newest first."""
    limit, fleet, state = limit_of(asked), asked.get("DeviceFleetName"), asked.get("State")
    [after] = decode_token(asked["NextToken"], int) if "NextToken" in asked else [None]
    if fleet is not None:
        actions.require_fleet(call.store, fleet)

    def read(rollouts: RolloutRepository) -> list[Rollout]:
        descending = asked.get("SortOrder") == "Descending"
        return rollouts.list_rollouts(fleet, state=state, after=after, limit=limit + 1, newest_first=descending)

    rollouts, more = page_of(call.store.read(lambda transaction: read(RolloutRepository(transaction))), limit)
    token = encode_token(rollouts[-1].id) if more else None
    return output("ListDeployments", deployments=_reports(call, rollouts), next_token=token)


def list_deployment_devices(call: StoreCall, asked: Members) -> Members:
    """Those that failed first, then those that are pending; within a state in the order of the rollout.

    A device whose state changes while somebody goes from page to page may come twice, or not.
    """
    limit, state = limit_of(asked), asked.get("State")
    number = actions.require_rollout(call.store, asked["DeviceFleetName"], asked["DeploymentName"])
    after: tuple[str, int] | None = None
    if "NextToken" in asked:
        before, place = decode_token(asked["NextToken"], str, int)
        after = (before, place)

    def read(transaction: Transaction) -> tuple[list[DeploymentDevice], list[tuple[str, int]]]:
        rollout = RolloutRepository(transaction).read(number)
        return deployment_devices(transaction, rollout, state, after, limit + 1)

    try:
        devices, places = call.store.read(read)
    except ValueError:
        raise wrong_token() from None
    token = encode_token(*places[limit - 1]) if len(devices) > limit else None
    return output("ListDeploymentDevices", devices=devices[:limit], next_token=token)


def list_device_deployments(call: StoreCall, asked: Members) -> Members:
    """Those in force; devices without one too."""
    limit, fleet = limit_of(asked), asked.get("DeviceFleetName")
    if fleet is not None:
        actions.require_fleet(call.store, fleet)
    found = device_deployments(call.store, fleet, after=start_of(asked), limit=limit + 1)
    devices, more = page_of(found, limit)
    token = device_token(devices[-1], more) if devices else None
    return output("ListDeviceDeployments", devices=devices, next_token=token)


def _reports(call: StoreCall, rollouts: Sequence[Rollout]) -> list[RolloutReport]:
    urls = {each.url for rollout in rollouts for each in rollout.definitions if each.url is not None}
    known = call.store.read(lambda transaction: versions(transaction.connection, urls))
    return [rollout_report(each, known) for each in rollouts]


OPERATIONS = {
    "Deploy": StoreOperation(deploy),
    "Undeploy": StoreOperation(undeploy),
    "PauseDeployment": StoreOperation(pause),
    "ResumeDeployment": StoreOperation(resume),
    "AbortDeployment": StoreOperation(abort),
    "UndoDeployment": StoreOperation(undo),
    "DescribeDeployment": StoreOperation(describe),
    "ListDeployments": StoreOperation(list_deployments),
    "ListDeploymentDevices": StoreOperation(list_deployment_devices),
    "ListDeviceDeployments": StoreOperation(list_device_deployments),
}
