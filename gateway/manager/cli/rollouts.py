"""The commands about deployments and their rollouts: `app`, which the manager's commands mount. Decides nothing.

They work on the data directory, whether `serve` runs or not; the later stages of a rollout come while it runs.
"""

import json
import time
from typing import Annotated

import typer

from gateway.manager.cli import options, tables
from gateway.manager.cli.options import DataOption, FleetArgument, FleetFilter, JsonOption
from gateway.manager.reports import deployment_report, rollout_report
from gateway.manager.rollouts import Rollout, RolloutRepository, RolloutState, actions
from gateway.manager.store import DEFAULT_DATA, ObjectStore

app = typer.Typer()

DeploymentArgument = Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="Its name.", show_default=False)]
AllOption = Annotated[bool, typer.Option("--all", help="Every registered device of the fleet.")]
NameOption = Annotated[str | None, typer.Option(help="Name of the deployment; else the handle and a number.")]


def _show_rollout(rollout: Rollout) -> None:
    options.show(tables.rollouts_table([rollout_report(rollout)]))


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
    name: NameOption = None,
    policy: Annotated[str, typer.Option(help=" or ".join(actions.POLICIES))] = "ROLLBACK_ON_FAILURE",
    bucket: Annotated[str, typer.Option(help="The bucket of the model store.")] = "models",
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Deploy model files, at once or in stages; a newer deployment of a handle supersedes the older one."""
    with options.open_data(data) as database:
        rules = options.parse_rollout_options(stages, min_success, wait, stop_at, stop_min)
        share = options.parse_nonzero_share(percent or "100%", "--percent")
        devices, files = actions.parse_targets(targets)
        chosen = actions.choose_devices(database, fleet, devices, all_devices or percent is not None)
        rollout = actions.deploy(
            database,
            ObjectStore(data),
            fleet,
            chosen,
            files,
            bucket=bucket,
            name=name,
            policy=policy,
            now=time.time(),
            rules=rules,
            share=share,
        )
        options.show(tables.definitions_table(rollout.definitions))
        _show_rollout(rollout)


@app.command()
def undeploy(
    fleet: FleetArgument,
    targets: Annotated[list[str], typer.Argument(metavar="[DEVICE]... HANDLE", show_default=False)],
    all_devices: Annotated[bool, typer.Option("--all", help="Every device of the fleet that has it.")] = False,
    name: NameOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Remove a model from devices: a deployment whose definition has the state UNDEPLOY."""
    with options.open_data(data) as database:
        *devices, handle = targets
        chosen = actions.choose_devices(database, fleet, devices, all_devices)
        if all_devices:
            chosen = actions.devices_with(database, chosen, handle)
        rollout = actions.undeploy(database, fleet, chosen, handle, name=name, now=time.time())
        options.show(tables.definitions_table(rollout.definitions))
        _show_rollout(rollout)


@app.command()
def undo(fleet: FleetArgument, deployment: DeploymentArgument, data: DataOption = DEFAULT_DATA) -> None:
    """Undo a deployment: it ends, and each device that has it gets what it had before."""
    with options.open_data(data) as database:
        rollout = actions.undo(database, fleet, deployment, now=time.time())
        if rollout is not None:
            _show_rollout(rollout)
            return
        before = [each for each in RolloutRepository(database).list_rollouts(fleet) if each.undoes == deployment]
    done = f"{deployment} is undone already, by {before[-1].name}" if before else f"no device has {deployment}"
    typer.echo(f"nothing to undo: {done}; `deployments {fleet} --devices` shows what each device has")


@app.command()
def pause(fleet: FleetArgument, deployment: DeploymentArgument, data: DataOption = DEFAULT_DATA) -> None:
    """Let no further device have a deployment until `resume`. Results still count."""
    with options.open_data(data) as database:
        _show_rollout(actions.set_state(database, fleet, deployment, RolloutState.PAUSED, now=time.time()))


@app.command()
def resume(fleet: FleetArgument, deployment: DeploymentArgument, data: DataOption = DEFAULT_DATA) -> None:
    """Continue a deployment that was paused."""
    with options.open_data(data) as database:
        _show_rollout(actions.set_state(database, fleet, deployment, RolloutState.RUNNING, now=time.time()))


@app.command()
def abort(fleet: FleetArgument, deployment: DeploymentArgument, data: DataOption = DEFAULT_DATA) -> None:
    """End a deployment: no further device gets it, those that have it keep it until `undo` or a newer one."""
    with options.open_data(data) as database:
        _show_rollout(actions.set_state(database, fleet, deployment, RolloutState.ABORTED, now=time.time()))


@app.command()
def deployments(
    fleet: FleetFilter = None,
    by_device: Annotated[
        bool, typer.Option("--devices", help="Those in force, device by device: what GetDeployments returns.")
    ] = False,
    as_json: JsonOption = False,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Show the deployments: how far each one has come, and the results of its devices."""
    with options.read_data(data, fleet) as database:
        if not by_device:
            reports = [rollout_report(each) for each in RolloutRepository(database).list_rollouts(fleet)]
            typer.echo(json.dumps(reports)) if as_json else options.show(tables.rollouts_table(reports))
            return
        rows = [
            (f"{name}/{device}", deployment)
            for name, device, _ in database.devices(fleet)
            for deployment in database.deployments_in_force(actions.require_device(database, name, device))
        ]
    if as_json:
        typer.echo(json.dumps([{"device": device} | deployment_report(deployment) for device, deployment in rows]))
    else:
        options.show(tables.deployments_table(rows))
