"""What a page says in place of its content: which fault, and what the viewer can do."""

from gateway.errors import GatewayError
from gateway.manager.errors import ApiError, StoreUnavailable

_STATUSES = {
    "AccessDeniedException": 403,
    "ResourceNotFound": 404,
    "ResourceInUse": 409,
    "ConflictException": 409,
    "ServiceUnavailableException": 503,
}


class PageError(GatewayError):
    """`what` was found, and what to do: whole sentences. `retry_after` in seconds; None: it does not end by itself."""

    def __init__(self, status: int, what: str, todo: str, retry_after: int | None = None) -> None:
        super().__init__(what)
        self.status = status
        self.what = what
        self.todo = todo
        self.retry_after = retry_after


def not_found(path: str) -> PageError:
    todo = "Correct the address, or take a link of the navigation. A device or a rollout may have been removed."
    return PageError(404, f"There is no page {path[:200]}.", todo)


def not_allowed(role: str) -> PageError:
    what = f"The role {role} does not allow this."
    return PageError(403, what, "Ask an admin for a user with another role.")


def of_store(error: StoreUnavailable) -> PageError:
    todo = "Check the disk or the database server, and load the page again; devices are served again by themselves."
    return PageError(503, f"The database cannot be used: {error}", todo, retry_after=5)


def of_operation(error: ApiError) -> PageError:
    status = _STATUSES.get(error.code, 400)
    return PageError(status, f"It was refused: {error.message}", "Go back, correct it, and send it again.")


def unexpected() -> PageError:
    return PageError(500, "The page could not be made.", "Look at the manager's log, and report what it says.")
