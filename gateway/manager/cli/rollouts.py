"""The commands about deployments and their rollouts: `app`, whose commands stand among the manager's others.

They work on the manager's data directory, whether it runs or not; the later stages of a rollout come while it runs.
Nothing is decided here.
"""

import json
import time
from typing import Annotated

import typer

from gateway.manager.cli import tables
from gateway.manager.cli.options import Data, Fleet, Json, OneFleet, opened, show
from gateway.manager.cli.reports import deployment_report, rollout_report
from gateway.manager.cli.rollout_options import read_part, read_rules
from gateway.manager.config import DEFAULT_DATA, objects_directory
from gateway.manager.objects.object_store import Objects
from gateway.manager.rollouts import service
from gateway.manager.rollouts.decisions import State
from gateway.manager.rollouts.repository import Rollout, Rollouts

app = typer.Typer()

Deployment = Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="Its name.", show_default=False)]
Everyone = Annotated[bool, typer.Option("--all", help="Every registered device of the fleet.")]
Name = Annotated[str | None, typer.Option(help="Name of the deployment; else the handle and a number.")]


def _tell(*rollouts: Rollout) -> None:
    show(tables.rollouts_table(rollout_report(each) for each in rollouts))


@app.command()
def deploy(
    fleet: Fleet,
    what: Annotated[list[str], typer.Argument(metavar="[DEVICE]... HANDLE=FILE...", show_default=False)],
    everyone: Everyone = False,
    percent: Annotated[
        str | None, typer.Option(help="That share of the fleet's devices, chosen by their and the deployment's names.")
    ] = None,
    stages: Annotated[
        str, typer.Option(help="Shares of these devices, each stage with all of the one before: 1%,10%,100%.")
    ] = "100%",
    min_success: Annotated[
        str, typer.Option(help="The next stage begins when that share of a stage succeeded; one, or one a stage.")
    ] = "90%",
    wait: Annotated[
        str, typer.Option(help="... and this time passed since it began: 90s, 10m, 2h, 1d; one, or one a stage.")
    ] = "0s",
    stop_at: Annotated[
        str | None,
        typer.Option(help="Stop where more than that share of the results is FAIL; else 10% where there are stages."),
    ] = None,
    stop_min: Annotated[
        int, typer.Option(help="... of so many results at least, unless the rest of the stage can mend it no more.")
    ] = 10,
    name: Name = None,
    policy: Annotated[str, typer.Option(help=" or ".join(service.POLICIES))] = "ROLLBACK_ON_FAILURE",
    bucket: Annotated[str, typer.Option(help="The bucket of the model store.")] = "models",
    data: Data = DEFAULT_DATA,
) -> None:
    """Deploy model files, at once or in stages; a newer deployment of a handle supersedes the older one."""
    with opened(data) as store:
        rules = read_rules(stages, min_success, wait, stop_at, stop_min)
        share = read_part(percent or "100%")
        names, files = service.read_pairs(what)
        chosen = service.choose_devices(store, fleet, names, everyone or percent is not None)
        rollout = service.deploy(
            store,
            Objects(objects_directory(data)),
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
        show(tables.definitions_table(rollout.definitions))
        _tell(rollout)


@app.command()
def undeploy(
    fleet: Fleet,
    what: Annotated[list[str], typer.Argument(metavar="[DEVICE]... HANDLE", show_default=False)],
    everyone: Annotated[bool, typer.Option("--all", help="Every device of the fleet that has it.")] = False,
    name: Name = None,
    data: Data = DEFAULT_DATA,
) -> None:
    """Take a model off devices: a deployment whose definition has the state UNDEPLOY."""
    with opened(data) as store:
        *devices, handle = what
        chosen = service.choose_devices(store, fleet, devices, everyone)
        if everyone:
            chosen = service.having(store, chosen, handle)
        rollout = service.undeploy(store, fleet, chosen, handle, name=name, now=time.time())
        show(tables.definitions_table(rollout.definitions))
        _tell(rollout)


@app.command()
def undo(fleet: Fleet, deployment: Deployment, data: Data = DEFAULT_DATA) -> None:
    """Take a deployment back: it ends, and each device that heard of it gets what it had before."""
    with opened(data) as store:
        _tell(service.undo(store, fleet, deployment, now=time.time()))


@app.command()
def pause(fleet: Fleet, deployment: Deployment, data: Data = DEFAULT_DATA) -> None:
    """Let no further device have a deployment until `resume`. Results still count."""
    with opened(data) as store:
        _tell(service.switch(store, fleet, deployment, State.PAUSED, now=time.time()))


@app.command()
def resume(fleet: Fleet, deployment: Deployment, data: Data = DEFAULT_DATA) -> None:
    """Go on with a deployment that was paused."""
    with opened(data) as store:
        _tell(service.switch(store, fleet, deployment, State.RUNNING, now=time.time()))


@app.command()
def abort(fleet: Fleet, deployment: Deployment, data: Data = DEFAULT_DATA) -> None:
    """End a deployment: no further device gets it, those that have it keep it until `undo` or a newer one."""
    with opened(data) as store:
        _tell(service.switch(store, fleet, deployment, State.ABORTED, now=time.time()))


@app.command()
def deployments(
    fleet: OneFleet = None,
    by_device: Annotated[
        bool, typer.Option("--devices", help="Those in force, device by device: what GetDeployments answers.")
    ] = False,
    as_json: Json = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Show the deployments: how far each one has come, and what its devices told."""
    with opened(data, fleet) as store:
        if not by_device:
            reports = [rollout_report(each) for each in Rollouts(store).of_fleet(fleet)]
            typer.echo(json.dumps(reports)) if as_json else show(tables.rollouts_table(reports))
            return
        rows = [
            (f"{name}/{device}", plan)
            for name, device, _ in store.devices(fleet)
            for plan in store.deployments(service.registered(store, name, device))
        ]
    if as_json:
        typer.echo(json.dumps([{"device": whose} | deployment_report(plan) for whose, plan in rows]))
    else:
        show(tables.deployments_table(rows))
