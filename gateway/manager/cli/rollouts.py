"""The commands about deployments and their rollouts: `app`, which the manager's commands mount. Decides nothing.

They work on the data directory, whether `serve` runs or not; the later stages of a rollout come while it runs.
"""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.manager.api import POLICIES
from gateway.manager.cli import options, tables
from gateway.manager.cli.options import DatabaseOption, DataOption, FleetArgument, FleetFilter, JsonOption
from gateway.manager.place import DEFAULT_DATA, Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.manager.rollouts import Rollout
    from gateway.manager.store import Store

app = typer.Typer()

DeploymentArgument = Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="Its name.", show_default=False)]
AllOption = Annotated[bool, typer.Option("--all", help="Every registered device of the fleet.")]
NameOption = Annotated[str | None, typer.Option(help="Name of the deployment; else the handle and a number.")]


def _show_rollout(store: "Store", rollout: "Rollout") -> None:
    from gateway.manager.reports import rollout_report

    options.show(tables.rollouts_table([rollout_report(rollout, _versions(store, [rollout]))]))


def _versions(store: "Store", rollouts: "Sequence[Rollout] | None" = None) -> dict[str, str]:
    """By URLs: of the files of these rollouts, or of all."""
    from gateway.manager.store import versions

    definitions = [each for rollout in rollouts or () for each in rollout.definitions]
    urls = None if rollouts is None else {each.url for each in definitions if each.url is not None}
    return store.read(lambda transaction: versions(transaction.connection, urls))


@app.command()
def deploy(
    fleet: FleetArgument,
    targets: Annotated[list[str], typer.Argument(metavar="[DEVICE]... HANDLE=FILE...", show_default=False)],
    all_devices: AllOption = False,
    percent: Annotated[
        str | None, typer.Option(help="That share of the fleet's devices, chosen by their and the deployment's names.")
    ] = None,
    stages: Annotated[
        str, typer.Option(help="Shares of these devices, each stage with all of the one before: 1%,10%,100%.")
    ] = "100%",
    min_success: Annotated[
        str, typer.Option(help="The next stage starts when that share of a stage succeeded; one, or one a stage.")
    ] = "90%",
    wait: Annotated[
        str, typer.Option(help="... and this time passed since it started: 90s, 10m, 2h, 1d; one, or one a stage.")
    ] = "0s",
    stop_at: Annotated[
        str | None,
        typer.Option(help="Stop where more than that share of the results is FAIL; else 10% where there are stages."),
    ] = None,
    stop_min: Annotated[
        int, typer.Option(help="... of so many results at least, unless the rest of the stage cannot change it.")
    ] = 10,
    silent_after: Annotated[
        str | None,
        typer.Option(help="A device that is silent for that time counts as not reached: 90s, 10m, 2h, 1d; else never."),
    ] = None,
    max_silent: Annotated[
        str, typer.Option(help="... of a stage's devices at most; then the next stage starts without them.")
    ] = "10%",
    name: NameOption = None,
    model_version: Annotated[
        str | None,
        typer.Option(help="Version of the files; else the one that a file has already, else of its SHA-1."),
    ] = None,
    policy: Annotated[str, typer.Option(help=" or ".join(POLICIES))] = "ROLLBACK_ON_FAILURE",
    bucket: Annotated[str, typer.Option(help="The bucket of the model store.")] = "models",
    data: DataOption = DEFAULT_DATA,
    database: DatabaseOption = None,
) -> None:
    """Deploy model files, at once or in stages; a newer deployment of a handle supersedes the older one."""
    from gateway.manager.rollouts import actions
    from gateway.manager.store import ObjectStore, local_auditor

    now = time.time()
    with options.open_data(Place(data, database)) as store:
        silence = silent_after, max_silent
        rules = options.parse_rollout_options(stages, min_success, wait, stop_at, stop_min, *silence)
        share = options.parse_nonzero_share(percent or "100%", "--percent")
        devices, files = actions.parse_targets(targets)
        chosen = actions.choose_devices(store, fleet, devices, all_devices or percent is not None)
        rollout = actions.deploy(
            store,
            ObjectStore(data, store),
            fleet,
            chosen,
            files,
            bucket=bucket,
            name=name,
            policy=policy,
            now=now,
            rules=rules,
            share=share,
            version=model_version,
            auditor=local_auditor("edge-manager:Deploy", now),
        )
        options.show(tables.definitions_table(rollout.definitions, _versions(store, [rollout])))
        _show_rollout(store, rollout)


@app.command()
def undeploy(
    fleet: FleetArgument,
    targets: Annotated[list[str], typer.Argument(metavar="[DEVICE]... HANDLE", show_default=False)],
    all_devices: Annotated[bool, typer.Option("--all", help="Every device of the fleet that has it.")] = False,
    name: NameOption = None,
    data: DataOption = DEFAULT_DATA,
    database: DatabaseOption = None,
) -> None:
    """Remove a model from devices: a deployment whose definition has the state UNDEPLOY."""
    from gateway.manager.rollouts import actions
    from gateway.manager.store import local_auditor

    now = time.time()
    auditor = local_auditor("edge-manager:Undeploy", now)
    with options.open_data(Place(data, database)) as store:
        *devices, handle = targets
        chosen = actions.choose_devices(store, fleet, devices, all_devices)
        if all_devices:
            chosen = actions.devices_with(store, chosen, handle)
        rollout = actions.undeploy(store, fleet, chosen, handle, name=name, now=now, auditor=auditor)
        options.show(tables.definitions_table(rollout.definitions, {}))
        _show_rollout(store, rollout)


@app.command()
def undo(
    fleet: FleetArgument,
    deployment: DeploymentArgument,
    data: DataOption = DEFAULT_DATA,
    database: DatabaseOption = None,
) -> None:
    """Undo a deployment: it ends, and each device that has it gets what it had before."""
    from gateway.manager.rollouts import RolloutRepository, actions
    from gateway.manager.store import local_auditor

    now = time.time()
    auditor = local_auditor("edge-manager:UndoDeployment", now)
    with options.open_data(Place(data, database)) as store:
        rollout = actions.undo(store, fleet, deployment, now=now, auditor=auditor)
        if rollout is not None:
            _show_rollout(store, rollout)
            return
        listed = store.read(lambda transaction: RolloutRepository(transaction).list_rollouts(fleet))
    before = [each for each in listed if each.undoes == deployment]
    done = f"{deployment} is undone already, by {before[-1].name}" if before else f"no device has {deployment}"
    typer.echo(f"nothing to undo: {done}; `deployments {fleet} --devices` shows what each device has")


def _set_state(place: Place, fleet: str, deployment: str, state: str, action: str) -> None:
    from gateway.manager.rollouts import RolloutState, actions
    from gateway.manager.store import local_auditor

    now = time.time()
    auditor = local_auditor(action, now)
    with options.open_data(place) as store:
        rollout = actions.set_state(store, fleet, deployment, RolloutState(state), now=now, auditor=auditor)
        _show_rollout(store, rollout)


@app.command()
def pause(
    fleet: FleetArgument,
    deployment: DeploymentArgument,
    data: DataOption = DEFAULT_DATA,
    database: DatabaseOption = None,
) -> None:
    """Let no further device have a deployment until `resume`. Results still count."""
    _set_state(Place(data, database), fleet, deployment, "paused", "edge-manager:PauseDeployment")


@app.command()
def resume(
    fleet: FleetArgument,
    deployment: DeploymentArgument,
    data: DataOption = DEFAULT_DATA,
    database: DatabaseOption = None,
) -> None:
    """Continue a deployment that was paused."""
    _set_state(Place(data, database), fleet, deployment, "running", "edge-manager:ResumeDeployment")


@app.command()
def abort(
    fleet: FleetArgument,
    deployment: DeploymentArgument,
    data: DataOption = DEFAULT_DATA,
    database: DatabaseOption = None,
) -> None:
    """End a deployment: no further device gets it, those that have it keep it until `undo` or a newer one."""
    _set_state(Place(data, database), fleet, deployment, "aborted", "edge-manager:AbortDeployment")


@app.command()
def deployments(
    fleet: FleetFilter = None,
    by_device: Annotated[
        bool, typer.Option("--devices", help="Those in force, device by device: what GetDeployments returns.")
    ] = False,
    as_json: JsonOption = False,
    data: DataOption = DEFAULT_DATA,
    database: DatabaseOption = None,
) -> None:
    """Show the deployments: how far each one has come, and the results of its devices."""
    from gateway.manager.reports import deployment_report, deployments_by_device, rollout_report
    from gateway.manager.rollouts import RolloutRepository

    with options.read_data(Place(data, database), fleet) as store:
        if by_device:
            with options.exit_on_error():
                versions = _versions(store)
            rows = options.guarded(deployments_by_device(store, fleet))
            if as_json:
                options.write_json({"device": device} | deployment_report(each, versions) for device, each in rows)
            else:
                options.show(tables.deployments_table(rows, versions))
            return
        with options.exit_on_error():
            found = store.read(lambda transaction: RolloutRepository(transaction).list_rollouts(fleet))
            versions = _versions(store, found)
        reports = [rollout_report(each, versions) for each in found]
        options.write_json(reports) if as_json else options.show(tables.rollouts_table(reports))
