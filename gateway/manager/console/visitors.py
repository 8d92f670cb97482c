"""Who looks at the console: a user with a session, one whom a proxy names, or whoever is on this machine."""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.manager.console import sessions
from gateway.manager.console.config import ConsoleConfig
from gateway.manager.console.errors import PageError
from gateway.manager.console.requests import ConsoleRequest
from gateway.manager.console.security import is_own_name
from gateway.manager.control import Caller
from gateway.manager.control.access import Role, allows
from gateway.manager.control.users import USER_ROLES, any_made
from gateway.manager.errors import StoreUnavailable
from gateway.manager.store import Store, Transaction

SESSION, SESSION_SECURE = "edge-session", "__Host-edge-session"
"""Browsers keep the second one for https alone, and no other host can set it."""
LONGEST_NAME = 128


@dataclass(frozen=True, slots=True)
class Viewer:
    """`name`: empty where no user was ever made. `has_session`: may log out. `address`: of the connection."""

    name: str
    role: str
    address: str
    has_session: bool = False

    def may(self, action: str) -> bool:
        """`action`: as `control.access` has them; empty: one that every viewer may do."""
        return not action or allows(self.role, action)

    def caller(self) -> Caller:
        return Caller(f"user/{self.name}" if self.name else "", self.role, self.address)


class Visitors:
    """Knows them by the database and the settings. Any thread but the event loop's may ask."""

    def __init__(self, store: Store, config: ConsoleConfig) -> None:
        self._store = store
        self._config = config

    def identify(self, request: ConsoleRequest, *, uses: bool = True) -> Viewer | None:
        """None: they must log in. Raises PageError where they cannot, StoreUnavailable.

        `uses`: whether the session counts as used: an open page alone does not keep it.
        """
        named = self._named_by_proxy(request)
        if named is not None:
            return named
        token = session_token(request)
        found, are_users = self._store.read(_finding(token, request.now))
        if found is not None and token is not None:
            if uses and found.is_stale:
                self._touch(token, request.now)
            return Viewer(found.user, found.role, request.peer, has_session=True)
        if are_users:
            return None
        if self._config.trust_header is not None:
            what = f"The proxy did not say who you are: {self._config.trust_header} is missing."
            raise PageError(403, what, "Open the console by the proxy, or make a user: edge-gateway manager users add")
        if not is_own_name(request.header("host")):
            what = "Without a user the console is for this machine alone."
            raise PageError(
                403, what, "Open it as localhost or 127.0.0.1, or make a user: edge-gateway manager users add"
            )
        return Viewer("", Role.ADMIN, request.peer)

    def _named_by_proxy(self, request: ConsoleRequest) -> Viewer | None:
        config = self._config
        if config.trust_header is None or not config.trusts(request.peer):
            return None
        names = request.headers.get(config.trust_header.lower(), ())
        if not names:
            return None
        name = names[0]
        if len(names) > 1 or not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or not name.isascii():
            todo = "Correct the proxy, which must replace what a browser sends."
            raise PageError(403, f"The header {config.trust_header} does not name one user.", todo)
        given = None if config.role_header is None else request.header(config.role_header)
        role = given or config.trust_role
        if role not in USER_ROLES:
            what = f"The proxy gives you the role {role[:80]!r}, which there is not."
            raise PageError(403, what, f"Correct {config.role_header}: {', '.join(USER_ROLES)}.")
        return Viewer(name, role, request.peer)

    def _touch(self, token: str, now: float) -> None:
        """Where the database takes no changes it can be read all the same."""
        try:
            self._store.write(lambda transaction: sessions.touch(transaction, token, now))
        except StoreUnavailable:
            pass

    def is_secure(self, request: ConsoleRequest) -> bool:
        """Whether the browser speaks TLS, by the words of a proxy."""
        return request.header("x-forwarded-proto") == "https" and self._config.trusts(request.peer)

    def address(self, request: ConsoleRequest) -> str:
        """Of the browser, where the proxy tells it."""
        told = request.header("x-forwarded-for")
        if told is None or not self._config.trusts(request.peer):
            return request.peer
        return told.rpartition(",")[2].strip()[:64]


def session_token(request: ConsoleRequest) -> str | None:
    return request.cookies.get(SESSION_SECURE) or request.cookies.get(SESSION)


def _finding(token: str | None, now: float) -> Callable[[Transaction], tuple[sessions.UserSession | None, bool]]:
    def work(transaction: Transaction) -> tuple[sessions.UserSession | None, bool]:
        found = None if token is None else sessions.find_session(transaction, token, now)
        return found, found is not None or any_made(transaction)

    return work
