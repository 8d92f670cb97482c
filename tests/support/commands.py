"""The command lines of shell blocks: taken apart, and checked against what they name, without running them.

A program without an entry in `CHECKS` is a mistake, so no command is on a page unchecked. `check` raises Wrong.
"""

import importlib.util
import re
import shlex
from argparse import REMAINDER
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import boto3
import typer
from awscli.customizations.s3 import subcommands as s3_commands
from botocore import xform_name
from typer.main import get_command

from gateway.cli import app as edge_gateway
from gateway.config import Settings
from gateway.demo.__main__ import app as demo
from tests.support.needs import DEBIAN
from tests.support.paths import ROOT

LANGUAGES = {"sh", "console"}
"""Of blocks that hold commands. In a `console` block those lines are commands that begin with `$ `."""
OF_THE_READER = {"model.tflite", "beep.wav", "devices.csv"}
"""Files that a page may name and nothing makes."""
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_JOINED = re.compile(r"(\\|\||&&)\s*$")
_COMMENT = re.compile(r"(^|\s)#\s.*$")
_SETTINGS = {f"GATEWAY_{name.upper()}" for name in Settings.model_fields} | {"GATEWAY_CONFIG"}


class Wrong(Exception):
    """What is wrong with a command line."""


@dataclass(slots=True)
class Workspace:
    """The reader's folder: a clone of the repository, and the files and folders that a page has them make."""

    made: set[str] = field(default_factory=set)

    def require(self, path: str) -> None:
        """A relative path is there. Other paths are of the reader's machine. Raises Wrong."""
        name = path.rstrip("/").removesuffix("/*").removesuffix("/.")
        if name.startswith(("/", "~", "$", "..")) or name in OF_THE_READER | self.made | {"", ".", "-"}:
            return
        if any(name.startswith(f"{folder}/") for folder in self.made) or list(ROOT.glob(name)):
            return
        raise Wrong(f"there is no {path}")


def lines(text: str, language: str = "sh") -> Iterator[str]:
    """The command lines of a block, those that go on in the next line joined to one."""
    whole = ""
    for line in text.splitlines():
        if language == "console":
            if not line.startswith("$ "):
                continue
            line = line[2:]
        line = _COMMENT.sub("", line)
        whole += line.removesuffix("\\") + " "
        if not _JOINED.search(line) and whole.strip():
            yield whole.strip()
            whole = ""
    if whole.strip():
        raise Wrong(f"the last line goes on: {whole}")


def simple_commands(line: str) -> Iterator[tuple[list[str], list[str]]]:
    """(words, files that its output goes to) of each command of a line."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    outputs: list[str] = []
    for token in lexer:
        if set(token) <= set("|&;"):
            if words:
                yield words, outputs
            words, outputs = [], []
        elif set(token) <= set("<>"):
            target = next(iter(lexer), "")
            if token.startswith(">"):
                outputs.append(target)
            else:
                words.append(f"<{target}")
        elif set(token) <= set("()"):
            raise Wrong(f"not plain enough: {line}")
        else:
            words.append(token)
    if words:
        yield words, outputs


def ours(line: str) -> Iterator[list[str]]:
    """The words after `edge-gateway` of each such command of a line, in a container too."""
    for words, _ in simple_commands(line):
        if words[:2] == ["docker", "compose"]:
            words = _in_container(words[2:])
        if words and Path(words[0]).name == "edge-gateway":
            yield [word for word in words[1:] if not word.startswith("<")]


def check(line: str, workspace: Workspace) -> None:
    """Raises Wrong."""
    for words, outputs in simple_commands(line):
        while words and _ASSIGNMENT.match(words[0]):
            _variable(words.pop(0))
        for word in [word for word in words if word.startswith("<")]:
            words.remove(word)
            workspace.require(word[1:])
        if words:
            name = Path(words[0]).name
            if words[0] != f"./{name}" or name not in workspace.made:  # else the page has the reader compile it
                if name not in CHECKS:
                    raise Wrong(f"no check knows the program {name}")
                CHECKS[name](words[1:], workspace)
        workspace.made.update(outputs)


def _variable(assignment: str) -> None:
    name = assignment.partition("=")[0]
    ours = _SETTINGS | _variables_of(get_command(edge_gateway)) | _variables_of_compose()
    if name.startswith(("GATEWAY_", "EDGE_")) and name not in ours and name.removesuffix("_FILE") not in ours:
        raise Wrong(f"nothing reads the variable {name}")


# -- our own commands --


def _parse(command: Any, name: str, words: list[str]) -> None:
    """Through click's own parser, down to the last subcommand. `command`: a Command of whatever click typer has."""
    context = None
    while True:
        try:
            context = command.make_context(name, list(words), parent=context)
        except typer.Exit:
            return  # --help and --version
        except Exception as error:
            raise Wrong(f"{name} {' '.join(words)}: {getattr(error, 'message', error)}") from error
        if not hasattr(command, "resolve_command"):
            return
        rest = [*getattr(context, "_protected_args", ()), *context.args]
        try:
            name, command, words = command.resolve_command(context, rest)
        except Exception as error:
            raise Wrong(f"{name} {' '.join(rest)}: {getattr(error, 'message', error)}") from error


def _variables_of(command: Any) -> set[str]:
    """The environment variables of its options, and of those of its subcommands."""
    found = {str(each.envvar) for each in command.params if getattr(each, "envvar", None)}
    context = typer.Context(command)
    names = list(getattr(command, "commands", {}))
    return found.union(*(_variables_of(command.resolve_command(context, [name])[1]) for name in names))


def _edge_gateway(words: list[str], workspace: Workspace) -> None:
    _parse(get_command(edge_gateway), "edge-gateway", words)
    for option, word in pairwise(words if "deploy" in words else ()):
        handle, is_file, file = word.partition("=")
        if is_file and option != "--label" and not handle.startswith("-"):
            workspace.require(file)


def _make(words: list[str], workspace: Workspace) -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", text, re.MULTILINE))
    for word in words:
        variable, is_variable, value = word.partition("=")
        if is_variable and f"$({variable})" not in text:
            raise Wrong(f"the Makefile has no {variable}")
        if not is_variable and word not in targets:
            raise Wrong(f"the Makefile has no target {word}")
        if is_variable and variable == "ARGS" and "demo" in words:
            _parse(get_command(demo), "python -m gateway.demo", shlex.split(value))
    if "mpy" in words:
        workspace.made.add("build/mpy")


def _python(words: list[str], workspace: Workspace) -> None:
    match words:
        case ["-m", "venv", folder]:
            workspace.made.add(folder)
        case ["-m", "pip", *rest]:
            _pip(rest, workspace)
        case ["-m", "pytest", *rest]:
            _pytest(rest, workspace)
        case ["-c", code]:
            compile(code, "<page>", "exec")
        case ["-m", module, *_]:
            if importlib.util.find_spec(module) is None:
                raise Wrong(f"there is no module {module}")
        case [script, *_] if not script.startswith("-"):
            workspace.require(script)
        case _:
            raise Wrong(f"python {' '.join(words)}: not plain enough")


def _pip(words: list[str], workspace: Workspace) -> None:
    if not words or words[0] not in ("install", "uninstall"):
        raise Wrong(f"pip {' '.join(words)}: only install and uninstall are known")
    for option, value in pairwise(words):
        if option in ("-c", "-r"):
            workspace.require(value)


def _pytest(words: list[str], workspace: Workspace) -> None:
    for option, word in zip(["", *words], words, strict=False):
        if not word.startswith("-") and option not in ("-k", "-n", "-o", "-p", "-m", "--dist"):
            workspace.require(word.partition("::")[0])


# -- others that name something of ours --


@cache
def _compose() -> str:
    return (ROOT / "compose.yaml").read_text("utf-8")


def _variables_of_compose() -> set[str]:
    return set(re.findall(r"\$\{([A-Z_]+)", _compose()))


def _docker(words: list[str], workspace: Workspace) -> None:
    match words:
        case ["compose", *rest]:
            _docker_compose(rest, workspace)
        case ["build", *rest]:
            if rest[-1] != "." or not (ROOT / "Dockerfile").exists():
                raise Wrong(f"docker build {' '.join(rest)}: only the Dockerfile of this repository is known")
        case ["run", *rest]:
            for option, value in pairwise(rest):
                if option == "-e":
                    _variable(value)
        case ["rmi" | "volume", *_]:
            pass
        case _:
            raise Wrong(f"docker {' '.join(words)}: not known")


_COMPOSE_COMMANDS = set("build cp down exec kill logs ps pull restart run start stop up".split())


def _docker_compose(words: list[str], workspace: Workspace) -> None:
    """The services that it names exist, and what it runs in one of them is right."""
    services = set(re.findall(r"^  ([a-z]+):$", _compose().partition("\nnetworks:")[0], re.MULTILINE))
    if not words or words[0] not in _COMPOSE_COMMANDS:
        raise Wrong(f"docker compose {' '.join(words)}: not known")
    named = _after_options(words[1:])
    for service in named[:1] if words[0] in ("run", "exec") else named:
        if service not in services:
            raise Wrong(f"compose.yaml has no service {service}")
    if inner := _in_container(words):
        check(shlex.join(inner), workspace)


def _after_options(words: list[str]) -> list[str]:
    while words and words[0].startswith("-"):
        words = words[2 if words[0] in ("-s", "--entrypoint") else 1 :]
    return words


def _in_container(words: list[str]) -> list[str]:
    """What `docker compose` with these words runs in a service's container, where the words say so; else nothing."""
    verb, (service, *inner) = words[0], _after_options(words[1:]) or [""]
    if not inner or verb not in ("run", "exec") or "--entrypoint" in words:
        return []
    if verb == "run":
        inner = ["edge-gateway", *(["devices"] if service == "devices" else []), *inner]
    return inner


def _mpremote(words: list[str], workspace: Workspace) -> None:
    """By mpremote's own parsers; what goes to the board must exist."""
    from mpremote import main as mpremote  # type: ignore[import-untyped]

    mpremote.prepare_command_expansions(mpremote.load_user_config())
    rest = list(words)
    while rest:
        mpremote.do_command_expansion(rest)
        name = rest.pop(0)
        if name not in mpremote._COMMANDS:
            raise Wrong(f"mpremote has no command {name}")
        parser = mpremote._COMMANDS[name][1]()
        parser.add_argument("next_command", nargs=REMAINDER)
        try:
            parsed = parser.parse_args(rest)
        except SystemExit as error:
            raise Wrong(f"mpremote {' '.join(words)}: its parser refuses it") from error
        locals_ = getattr(parsed, "packages", []) + getattr(parsed, "path", []) * (name in ("fs", "run"))
        if name == "romfs" and parsed.path:
            locals_ = [parsed.path]
        for path in locals_:
            if not path.startswith(":"):
                workspace.require(path)
        rest = parsed.next_command


def _apt_get(words: list[str], workspace: Workspace) -> None:
    known = {*DEBIAN.values(), "python3-venv", "make", "git"}
    match [word for word in words if not word.startswith("-")]:
        case ["update" | "upgrade"]:
            pass
        case ["install" | "remove" | "purge", *packages] if packages:
            if unknown := sorted(set(packages) - known):
                raise Wrong(f"no test installs {' '.join(unknown)}")
        case _:
            raise Wrong(f"apt-get {' '.join(words)}: not known")


def _systemctl(words: list[str], workspace: Workspace) -> None:
    match [word for word in words if word[0] != "-"]:
        case ["daemon-reload"]:
            pass
        case ["restart" | "reload" | "start" | "stop" | "enable" | "disable", *units] if units:
            _units(units)
        case ["kill", _, *units] if "-s" in words:
            _units(units)
        case _:
            raise Wrong(f"systemctl {' '.join(words)}: not known")


def _journalctl(words: list[str], workspace: Workspace) -> None:
    _units([unit for option, unit in pairwise(words) if option == "-u"])


def _units(names: list[str]) -> None:
    known = {path.stem for path in ROOT.glob("gateway/**/*.service")} | {"mosquitto", "prometheus"}
    if unknown := {each.removesuffix(".service") for each in names} - known:
        raise Wrong(f"there is no unit {' '.join(sorted(unknown))}")


def _aws(words: list[str], workspace: Workspace) -> None:
    """The operation and its parameters are in botocore's model of the service; `aws s3` has commands of its own."""
    options = [word for word in words if word.startswith("--")]
    service, operation = [word for before, word in pairwise(["", *words]) if "--" not in before + word][:2]
    if service == "s3":
        of_s3 = {each.NAME: each for each in vars(s3_commands).values() if getattr(each, "ARG_TABLE", None)}
        if operation not in of_s3:
            raise Wrong(f"aws s3 has no {operation}")
        if unknown := set(options) - {f"--{each['name']}" for each in of_s3[operation].ARG_TABLE}:
            raise Wrong(f"aws s3 {operation} has no {' '.join(sorted(unknown))}")
        return
    client = boto3.client(service.removesuffix("api"), region_name="us-east-1")  # type: ignore[call-overload]
    methods = {xform_name(name, "-"): name for name in client.meta.service_model.operation_names}
    if operation not in methods:
        raise Wrong(f"aws {service} has no {operation}")
    members = client.meta.service_model.operation_model(methods[operation]).input_shape.members
    known = {"--region", "--endpoint-url", *(f"--{xform_name(name, '-')}" for name in members)}
    if unknown := set(options) - known:
        raise Wrong(f"aws {service} {operation} has no {' '.join(sorted(unknown))}")


def _cc(words: list[str], workspace: Workspace) -> None:
    for before, word in pairwise(["", *words]):
        if before == "-o":
            workspace.made.add(word)
        elif not word.startswith("-"):
            workspace.require(word)


def _copy(words: list[str], workspace: Workspace) -> None:
    *sources, target = [word for word in words if not word.startswith("-")]
    if target.startswith("/etc/") and "--backup=numbered" not in words:
        raise Wrong(f"cp overwrites without a word what an operator has changed in {target}: --backup=numbered")
    for source in sources:
        workspace.require(source)
    workspace.made.add(target)


def _makes(words: list[str], workspace: Workspace) -> None:
    workspace.made.update(word for word in words if not word.startswith("-"))


def _export(words: list[str], workspace: Workspace) -> None:
    for word in words:
        _variable(word)


def _of_the_system(words: list[str], workspace: Workspace) -> None:
    """A program of the reader's machine, that names nothing of ours."""


CHECKS: dict[str, Callable[[list[str], Workspace], None]] = {
    "apt-get": _apt_get,
    "aws": _aws,
    "cc": _cc,
    "cp": _copy,
    "docker": _docker,
    "edge-gateway": _edge_gateway,
    "export": _export,
    "install": _makes,
    "journalctl": _journalctl,
    "ln": _copy,
    "make": _make,
    "mkdir": _makes,
    "mpremote": _mpremote,
    "pip": _pip,
    "python": _python,
    "python3": _python,
    "systemctl": _systemctl,
    **dict.fromkeys(
        (
            "cd chmod chown curl echo git mosquitto mosquitto_pub mosquitto_sub printf promtool rm tar test umask"
        ).split(),
        _of_the_system,
    ),
}
