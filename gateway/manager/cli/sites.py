"""Which manager a command is for: the database of this machine, or a manager that runs elsewhere.

A command that takes a `site` gets the options that name one. Decides nothing else.
"""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.manager.cli.options import DatabaseOption, DataOption, exit_on_error
from gateway.manager.place import DEFAULT_DATA, Place

if TYPE_CHECKING:
    from gateway.manager.client import ManagerClient

EndpointOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint-url",
        metavar="URL",
        envvar="EDGE_MANAGER_ENDPOINT_URL",
        show_envvar=False,  # at 80 columns its name would be cut
        help="A manager that runs there, with the keys of AWS's settings; else the database of this machine.",
    ),
]
ProfileOption = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        envvar="EDGE_MANAGER_PROFILE",
        show_envvar=False,
        help="Of AWS's settings: keys, and the endpoint_url where the option names none.",
    ),
]


@dataclass(frozen=True, slots=True)
class ManagerSite:
    """`endpoint` (a URL) or `profile`: a manager that runs elsewhere; else the one of `place`."""

    place: Place
    endpoint: str | None = None
    profile: str | None = None

    @property
    def is_remote(self) -> bool:
        return self.endpoint is not None or self.profile is not None


_OPTIONS = [
    inspect.Parameter("data", inspect.Parameter.KEYWORD_ONLY, default=DEFAULT_DATA, annotation=DataOption),
    inspect.Parameter("database", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=DatabaseOption),
    inspect.Parameter("endpoint_url", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=EndpointOption),
    inspect.Parameter("profile", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=ProfileOption),
]


def takes_site(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with the options of a site in place of its parameter `site`."""

    @functools.wraps(command)
    def run(*args: Any, data: Any, database: Any, endpoint_url: Any, profile: Any, **options: Any) -> None:
        command(*args, site=ManagerSite(Place(data, database), endpoint_url, profile), **options)

    signature = inspect.signature(command, eval_str=True)
    own = [each for name, each in signature.parameters.items() if name != "site"]
    run.__signature__ = signature.replace(parameters=[*own, *_OPTIONS])  # type: ignore[attr-defined]
    return run


@contextlib.contextmanager
def open_client(site: ManagerSite, *, read_only: bool = False) -> "Iterator[ManagerClient]":
    """The manager of the site, to read alone where `read_only` says so.

    Of the block no error is caught, since it prints: `exit_on_error` and `guarded` are for what it asks for.
    """
    with contextlib.ExitStack() as stack:
        with exit_on_error():
            client = stack.enter_context(contextlib.closing(_client(site, read_only)))
        yield client


def _client(site: ManagerSite, read_only: bool) -> "ManagerClient":
    if site.is_remote:
        from gateway.manager.client import RemoteClient

        return RemoteClient(site.endpoint, site.profile)
    from gateway.manager.client import LocalClient

    return LocalClient(site.place, read_only=read_only)
