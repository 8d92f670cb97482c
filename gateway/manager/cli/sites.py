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

from gateway.errors import explain
from gateway.lock import FolderInUse, FolderLock
from gateway.manager.cli.options import DatabaseOption, DataOption, exit_on_error
from gateway.manager.errors import ManagerError
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


def make_database(site: ManagerSite) -> None:
    """Where no `serve` has the folder, the database is made, or brought to the newest format. Raises ManagerError."""
    from gateway.manager.store import open_store

    if site.is_remote:
        raise ManagerError("--create makes a database of this machine: without --endpoint-url and --profile")
    with contextlib.suppress(FolderInUse):
        try:
            site.place.data.mkdir(parents=True, exist_ok=True)
            lock = FolderLock(site.place.data)
        except OSError as error:
            raise ManagerError(explain(error, site.place.data)) from error
        with contextlib.closing(lock):
            open_store(site.place, create=True).close()


def restrict_database(site: ManagerSite) -> None:
    """Before a secret comes into it: nobody else on this machine may read it."""
    from gateway.manager.store import restrict_files

    if not site.is_remote:
        restrict_files(site.place)


def _client(site: ManagerSite, read_only: bool) -> "ManagerClient":
    if site.is_remote:
        from gateway.manager.client import RemoteClient

        return RemoteClient(site.endpoint, site.profile)
    from gateway.manager.client import LocalClient

    return LocalClient(site.place, read_only=read_only)
