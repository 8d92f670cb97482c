"""The `edge-gateway` command and its sub-commands. It must hold no logic.

Heavy modules are imported inside the commands, so that `--help` and mistakes are quick.
"""

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_group

from gateway.errors import ConfigError, explain
from gateway.kubernetes import drop_service_links
from gateway.options import DEFAULT_SITE, SiteOption
from gateway.stderr import discard_stdout, protect_stderr

EXIT_FAILURE = 1
EXIT_CONFIG = 2
EXIT_INTERRUPTED = 130
WIDE = 400
"""Columns of the output where it is not a terminal: no line is broken."""

_GROUPS = {"manager": "gateway.manager.cli", "devices": "gateway.provisioning.cli"}
"""Where the commands of a group are."""


class _Commands(TyperGroup):
    """Imports the commands of a group where it is called: `--help` and `run` do not need them."""

    def get_params(self, ctx: Any) -> Any:
        return _without_flag_types(super().get_params(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name in _GROUPS:
            command = get_group(import_module(_GROUPS[name]).app)
        if command is not None:
            _describe_flags(command, ctx)
        return name, command, rest


def _describe_flags(command: Any, ctx: Any) -> None:
    """Of the command and those below it. Typer shows the type of a flag, which takes no value."""
    _without_flag_types(command.get_params(ctx))
    for each in getattr(command, "commands", {}).values():
        _describe_flags(each, ctx)


def _without_flag_types(params: Any) -> Any:
    for each in params:
        if getattr(each, "is_flag", False):
            each.metavar = ""
    return params


# A pretty traceback would show local variables, and a secret among them.
app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(typer.Typer(), name="manager", help="The embedded Edge Manager: a sagemaker-edge API and a model store.")
app.add_typer(typer.Typer(), name="devices", help="The site's identities: who may connect to the broker.")

PayloadChannel = Literal["hello", "hb", "get", "read", "live", "plan", "ack", "block"]
"""gateway.protocol.FORMS, which is not loaded for `--help`."""

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="TOML file of settings; else the one that GATEWAY_CONFIG names."),
]


def main() -> None:
    """The entry point; ends the process with the command's exit status, or 1 where stdout cannot be written."""
    protect_stderr()
    try:
        try:
            app(prog_name="edge-gateway")
        finally:
            _flush_stdout()
    except OSError as error:  # of stdout, for example
        if sys.argv[1:2] == ["run"]:
            raise  # a defect of the gateway: the traceback is to be reported
        discard_stdout()
        sys.exit(f"edge-gateway: {explain(error)}")


def _flush_stdout() -> None:
    if sys.stdout is not None:  # as it is where it was closed at the start
        sys.stdout.flush()


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        try:
            number = metadata.version("edge-gateway")
        except metadata.PackageNotFoundError:
            number = "(not installed)"
        typer.echo(f"edge-gateway {number}")
        raise typer.Exit


@app.callback()
def main_callback(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Microcontrollers under Amazon SageMaker Edge Manager, by msgpack over MQTT."""
    drop_service_links("GATEWAY_", "EDGE_MANAGER_")


@app.command()
def run(config: ConfigOption = None) -> None:
    """Run the gateway until SIGTERM or SIGINT. Exit status 2: the settings cannot work; each mistake is on stderr."""
    import asyncio

    from gateway.config import load
    from gateway.log import configure_log

    try:
        settings = load(config)
        log = configure_log(settings.log_level, settings.log_format)
        from gateway import app

        status = asyncio.Runner().run(app.run(settings))
    except ConfigError as error:
        _exit_with_mistakes(error)
    # All is closed. The interpreter would wait for threads that call the service or the broker, for longer than
    # drain_timeout allows.
    log.drain()
    os._exit(status)


@app.command("settings")
def show_settings(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for a machine.")] = False,
) -> None:
    """Show every setting, its value, where it was set and what it means. Secrets are masked."""
    from gateway.config import Settings, load_with_places

    try:
        settings, places = load_with_places(config)
    except ConfigError as error:
        _exit_with_mistakes(error)
    values = settings.redacted()
    if as_json:
        rows = {name: {"value": value, "from": places.get(name, "default")} for name, value in values.items()}
        typer.echo(json.dumps(rows, indent=2))
        return
    for name, field in Settings.model_fields.items():
        value = "none" if values[name] is None else json.dumps(values[name])
        typer.echo(f"{name} = {value}  ({places.get(name, 'default')})")
        typer.echo(f"    {field.description}.")


@app.command()
def doctor(
    config: ConfigOption = None,
    conf: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The broker's mosquitto.conf, where it can be read from here.")
    ] = None,
    devices: Annotated[
        int | None, typer.Option(min=1, help="For how many devices the broker's queues must be enough.")
    ] = None,
    board: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Board file of the device doctor/probe; else gateway/probe.json of the site."
        ),
    ] = None,
    site: SiteOption = DEFAULT_SITE,
    model: Annotated[
        str | None, typer.Option(metavar="S3URL", help="A model file to try to read: s3://BUCKET/KEY.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for a machine.")] = False,
) -> None:
    """Check on the live broker and endpoint what the promises need. Exit status 1: something fails; 2: as for run."""
    from gateway.config import load
    from gateway.log import configure_log

    try:
        settings = load(config)
        configure_log("warning")
        import asyncio

        from rich.console import Console

        from gateway import doctor

        options = doctor.Options(site, board, conf, devices, model)
        results = asyncio.Runner().run(doctor.run_checks(settings, options))
    except ConfigError as error:
        _exit_with_mistakes(error)
    except KeyboardInterrupt:
        os._exit(EXIT_INTERRUPTED)
    if as_json:
        typer.echo(doctor.as_json(results))
    else:
        doctor.print_report(results, Console(width=None if sys.stdout.isatty() else WIDE))
    _flush_stdout()
    os._exit(doctor.exit_status(results))  # as above


@app.command()
def watch(
    target: Annotated[
        str | None, typer.Argument(metavar="FLEET[/DEVICE]", help="What to watch; else the fleets of the settings.")
    ] = None,
    config: ConfigOption = None,
    wide: Annotated[bool, typer.Option("--wide", help="Wrap long lines on a terminal; else they are cut.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a message, for a machine.")] = False,
) -> None:
    """Show the messages of devices and gateway on the live broker, decoded, until Ctrl-C. It only reads."""
    from gateway.config import load
    from gateway.errors import BrokerError
    from gateway.log import configure_log

    try:
        settings = load(config)
        configure_log("error")
        import asyncio

        from gateway.watch import WatchOptions
        from gateway.watch import watch as watch_broker

        asyncio.Runner().run(watch_broker(settings, WatchOptions(target, as_json, wide)))
    except ConfigError as error:
        _exit_with_mistakes(error)
    except BrokerError as error:
        _fail(f"edge-gateway watch: {error}")
    except KeyboardInterrupt:
        _flush_stdout()
        os._exit(0)  # as for run


ChannelOption = Annotated[
    PayloadChannel, typer.Option("--channel", help="The last level of the topic: which payload it is.")
]


@app.command("decode")
def decode_payload(
    channel: ChannelOption,
    payload: Annotated[
        str, typer.Argument(metavar="HEX", help="Or base64; - for stdin, @FILE for a file, there the bytes too.")
    ] = "-",
    hello: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="The hello of the heartbeat's tag, given likewise: names its samples."),
    ] = None,
) -> None:
    """Show a payload as JSON, in the names of the protocol page. Exit status 1: it is none; stderr says where."""
    from gateway.watch import InputError, decode, read_bytes

    try:
        named = decode(channel, read_bytes(payload), None if hello is None else read_bytes(hello))
    except (InputError, OSError) as error:
        _fail(f"edge-gateway decode: {explain(error)}")
    typer.echo(json.dumps(named, indent=2))


@app.command("encode")
def encode_payload(
    channel: ChannelOption,
    source: Annotated[
        str,
        typer.Argument(
            metavar="JSON", help="An object as decode shows it, or the array; - for stdin, @FILE for a file."
        ),
    ] = "-",
    out: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the bytes there, - for stdout; else hex is shown.")
    ] = None,
) -> None:
    """Make a payload of JSON. Exit status 1: there is none of that; stderr says where."""
    from gateway.watch import InputError, encode, read_text

    try:
        payload = encode(channel, read_text(source))
        if out is None:
            typer.echo(payload.hex())
        elif out == "-":
            sys.stdout.buffer.write(payload)
        else:
            Path(out).write_bytes(payload)
    except (InputError, OSError) as error:
        _fail(f"edge-gateway encode: {explain(error)}")


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(EXIT_FAILURE)


def _exit_with_mistakes(error: ConfigError) -> NoReturn:
    for mistake in error.mistakes:
        typer.echo(mistake, err=True)
    raise typer.Exit(EXIT_CONFIG)
