"""The commands about deployments and their rollouts: `app`, which the manager's commands mount. Decides nothing.

The later stages of a rollout come while `serve` runs.
"""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.manager.api import POLICIES
from gateway.manager.cli import options, output, tables, waiting
from gateway.manager.cli.options import FleetArgument, FleetFilter
from gateway.manager.cli.output import Form, takes_form
from gateway.manager.cli.sites import ManagerSite, open_client, takes_site
from gateway.manager.errors import ManagerError

if TYPE_CHECKING:
    from gateway.manager.reports import RolloutReport

ASKED = 100
"""Devices of a deployment that needs no question."""
app = typer.Typer()

DeploymentArgument = Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="Its name.", show_default=False)]
AllOption = Annotated[bool, typer.Option("--all", help="Every registered device of the fleet.")]
NameOption = Annotated[str | None, typer.Option(help="Name of the deployment; else the handle and a number.")]


def _show(form: Form, report: "RolloutReport") -> None:
    """Before it, for people, the files and the handles."""
    if form is Form.TABLE:
        output.write(form, report["definitions"], tables.definitions_table)
    output.write(form, [report], tables.rollouts_table)


@app.command()
@takes_site
@takes_form
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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check all, and show how many devices each stage has; change nothing.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help=f"On a terminal: do not ask where more than {ASKED} devices get it.")
    ] = False,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Every device of the fleet with that label; several: with each."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Wait until it has ended, with the exit status of `wait`.")
    ] = False,
    *,
    form: Form,
    site: ManagerSite,
) -> None:
    """Deploy model files, at once or in stages; a newer deployment of a handle supersedes the older one."""
    from gateway.manager.rollouts import actions, rules_text
    from gateway.manager.store import check_readable

    with open_client(site) as client, options.exit_on_error():
        silence = silent_after, max_silent
        rules = rules_text.parse_rollout_options(stages, min_success, wait, stop_at, stop_min, *silence)
        share = rules_text.parse_nonzero_share(percent or "100%", "--percent")
        devices, files = actions.parse_targets(targets)
        labels = options.parse_labels(label)
        everybody = all_devices or percent is not None or bool(labels)
        if everybody == bool(devices):
            raise ManagerError("name the devices, or give --all, --percent or --label to choose them; not both")
        actions.check_names("HANDLE", "EntityName", list(files))
        actions.check_names("--model-version", "Version", [] if model_version is None else [model_version])
        actions.check_names("--name", "EntityName", [] if name is None else [name])
        if policy not in POLICIES:
            raise ManagerError(f"--policy '{policy}' is not one: {' or '.join(POLICIES)}")
        for file in files.values():
            check_readable(file)
        asked = {
            "DeviceFleetName": fleet,
            **({"AllDevices": True, "Percent": float(share * 100)} if everybody else {"DeviceNames": devices}),
            "Labels": labels or None,
            "DeploymentName": name,
            "FailureHandlingPolicy": policy,
            **rules_text.rollout_members(rules),
        }
        version = {} if model_version is None else {"ModelVersion": model_version}
        # Before a large file is stored: whether all else is right.
        unknown = [{"ModelHandle": handle, "S3Url": f"s3://{bucket}/{handle}"} | version for handle in files]
        planned = client.call("Deploy", Models=unknown, DryRun=True, **asked)["deployment"]
        if dry_run:
            output.write(form, [planned], lambda _: tables.stages_table(planned))
            return
        if not yes:
            _confirm(planned)
        urls = {handle: client.store_file(file, bucket, handle) for handle, file in files.items()}
        models = [{"ModelHandle": handle, "S3Url": url} | version for handle, url in urls.items()]
        report = client.call("Deploy", Models=models, **asked)["deployment"]
        if form is Form.TABLE or not watch:
            _show(form, report)
        if watch:
            waiting.wait_for_end(client, fleet, report["deployment"], form)


def _confirm(planned: "RolloutReport") -> None:
    """Without a terminal there is no question: a program cannot answer it."""
    devices, models = planned["devices"], ", ".join(str(each["ModelHandle"]) for each in planned["definitions"])
    if devices > ASKED and sys.stdin.isatty():
        typer.confirm(f"Deploy {models} to {devices:,} devices of {planned['fleet']}?", abort=True, err=True)


@app.command("wait")
@takes_site
@takes_form
def wait_for(
    fleet: FleetArgument,
    deployment: DeploymentArgument,
    timeout: Annotated[str | None, typer.Option(metavar="TIME", help="90s, 10m, 2h, 1d; else for ever.")] = None,
    *,
    form: Form,
    site: ManagerSite,
) -> None:
    """Wait until a deployment has ended. Exit status 0: completed; 3: stopped or aborted; 4: --timeout is over."""
    from gateway.manager.rollouts import rules_text

    with open_client(site, read_only=True) as client, options.exit_on_error():
        seconds = None if timeout is None else rules_text.parse_duration(timeout, "--timeout")
        waiting.wait_for_end(client, fleet, deployment, form, seconds)


@app.command()
@takes_site
@takes_form
def undeploy(
    fleet: FleetArgument,
    targets: Annotated[list[str], typer.Argument(metavar="[DEVICE]... HANDLE", show_default=False)],
    all_devices: Annotated[bool, typer.Option("--all", help="Every device of the fleet that has it.")] = False,
    name: NameOption = None,
    *,
    form: Form,
    site: ManagerSite,
) -> None:
    """Remove a model from devices: a deployment whose definition has the state UNDEPLOY."""
    from gateway.manager.rollouts import actions

    with open_client(site) as client, options.exit_on_error():
        *devices, handle = targets
        if all_devices == bool(devices):
            raise ManagerError("name the devices, or give --all for every device of the fleet; not both")
        actions.check_names("HANDLE", "EntityName", [handle])
        actions.check_names("--name", "EntityName", [] if name is None else [name])
        chosen = {"AllDevices": True} if all_devices else {"DeviceNames": devices}
        asked = {"DeviceFleetName": fleet, "ModelHandle": handle, "DeploymentName": name}
        report = client.call("Undeploy", **asked, **chosen)["deployment"]
        _show(form, report)


@app.command()
@takes_site
@takes_form
def undo(fleet: FleetArgument, deployment: DeploymentArgument, *, form: Form, site: ManagerSite) -> None:
    """Undo a deployment: it ends, and each device that has it gets what it had before."""
    asked = {"DeviceFleetName": fleet, "DeploymentName": deployment}
    with open_client(site) as client, options.exit_on_error():
        report = client.call("UndoDeployment", **asked)["deployment"]
        if report is not None:
            output.write(form, [report], tables.rollouts_table)
            return
        listed = client.items("ListDeployments", "deployments", DeviceFleetName=fleet)
        before = [each["deployment"] for each in listed if each["undoes"] == deployment]
    done = f"{deployment} is undone already, by {before[-1]}" if before else f"no device has {deployment}"
    if form is not Form.TABLE:
        output.write(form, [], tables.rollouts_table)
    said = f"nothing to undo: {done}; `deployments {fleet} --devices` shows what each device has"
    typer.echo(said, err=form is not Form.TABLE)


def _change(site: ManagerSite, form: Form, operation: str, fleet: str, deployment: str) -> None:
    with open_client(site) as client, options.exit_on_error():
        report = client.call(operation, DeviceFleetName=fleet, DeploymentName=deployment)["deployment"]
        output.write(form, [report], tables.rollouts_table)


@app.command()
@takes_site
@takes_form
def pause(fleet: FleetArgument, deployment: DeploymentArgument, *, form: Form, site: ManagerSite) -> None:
    """Let no further device have a deployment until `resume`. Results still count."""
    _change(site, form, "PauseDeployment", fleet, deployment)


@app.command()
@takes_site
@takes_form
def resume(fleet: FleetArgument, deployment: DeploymentArgument, *, form: Form, site: ManagerSite) -> None:
    """Continue a deployment that was paused."""
    _change(site, form, "ResumeDeployment", fleet, deployment)


@app.command()
@takes_site
@takes_form
def abort(fleet: FleetArgument, deployment: DeploymentArgument, *, form: Form, site: ManagerSite) -> None:
    """End a deployment: no further device gets it, those that have it keep it until `undo` or a newer one."""
    _change(site, form, "AbortDeployment", fleet, deployment)


@app.command()
@takes_site
@takes_form
def deployments(
    fleet: FleetFilter = None,
    by_device: Annotated[
        bool, typer.Option("--devices", help="Those in force, device by device: what GetDeployments returns.")
    ] = False,
    wide: Annotated[bool, typer.Option("--wide", help="All columns, on a terminal too.")] = False,
    *,
    form: Form,
    site: ManagerSite,
) -> None:
    """Show the deployments: how far each one has come, and the results of its devices."""
    with open_client(site, read_only=True) as client:
        if by_device:
            found = options.guarded(client.items("ListDeviceDeployments", "devices", DeviceFleetName=fleet))
            rows = (
                {"device": f"{each['fleet']}/{each['device']}"} | one for each in found for one in each["deployments"]
            )
            output.write(form, rows, tables.deployments_table)
            return
        reports = options.guarded(client.items("ListDeployments", "deployments", DeviceFleetName=fleet))
        table = tables.rollouts_table if wide or not output.is_terminal() else tables.progress_table
        output.write(form, reports, table)
