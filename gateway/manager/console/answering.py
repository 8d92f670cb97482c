"""From a request to its answer: who asks, whether they may, the view, the page. Called in threads alone.

It must never let a form change anything whose token or origin is not this site's.
"""

import base64
import binascii
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from gateway.manager.console import errors, sessions
from gateway.manager.console.config import ConsoleConfig
from gateway.manager.console.errors import PageError
from gateway.manager.console.live import LiveParts
from gateway.manager.console.logins import BY_ADDRESS, BY_NAME, Tries
from gateway.manager.console.rendering import Renderer
from gateway.manager.console.requests import ConsoleAnswer, ConsoleRequest, SetCookie
from gateway.manager.console.security import (
    form_token,
    is_form_token,
    is_same_origin,
    local_target,
    signed,
    unsigned,
)
from gateway.manager.console.views import (
    ControlFunction,
    Downloaded,
    Operations,
    Shown,
    View,
    ViewAnswer,
    ViewRequest,
    link_to,
)
from gateway.manager.console.visitors import SESSION, SESSION_SECURE, Viewer, Visitors, session_token
from gateway.manager.control.passwords import is_password
from gateway.manager.errors import ApiError, StoreUnavailable
from gateway.manager.store import ObjectStore, Store

NAVIGATION = (
    ("/", "Overview"),
    ("/devices", "Devices"),
    ("/rollouts", "Rollouts"),
    ("/models", "Models"),
    ("/audit", "Audit"),
    ("/alerts", "Alerts"),
    ("/settings", "Settings"),
)
"""In this order; those that have a view are shown to whoever may see it."""
THEMES = ("light", "dark")
FORM, THEME, MESSAGE = "edge-form", "edge-theme", "edge-message"
"""Cookies, beside that of the session."""
YEAR = 365 * 86400

LOG: structlog.stdlib.BoundLogger = structlog.get_logger("manager.console")


class Answerer:
    """`log_in` is for one thread alone."""

    def __init__(
        self,
        store: Store,
        control: ControlFunction,
        objects: ObjectStore,
        config: ConsoleConfig,
        views: Sequence[View],
    ) -> None:
        self.renderer = Renderer()
        self._store = store
        self._control = control
        self._objects = objects
        self._visitors = Visitors(store, config)
        self._navigation = [
            (path, title, view.action)
            for path, title in NAVIGATION
            for view in views
            if view.path == path and not view.changes
        ]
        self._names = Tries(BY_NAME)
        self._addresses = Tries(BY_ADDRESS)

    def show(self, view: View | None, request: ConsoleRequest) -> ConsoleAnswer:
        """What a view answers. None: there is no view of that path."""

        def answer(viewer: Viewer, view: View) -> ConsoleAnswer:
            return self._finish(request, viewer, view.answer(self._view_request(request, viewer)))

        return self._admitted(view, request, answer)

    def live_role(self, view: View | None, request: ConsoleRequest) -> str | None:
        """The role of who may be shown that view live; None: nobody who asks so, or the page cannot be made."""
        try:
            viewer = self._visitors.identify(request, uses=False)
        except PageError:
            return None
        return viewer.role if viewer is not None and view is not None and viewer.may(view.action) else None

    def live_parts(self, view: View, request: ConsoleRequest, role: str) -> LiveParts | None:
        """Of the page as viewers of that role see it; empty: the database is away; None: there is no page any more."""
        viewer = Viewer("", role, request.peer)
        try:
            answer = view.answer(self._view_request(request, viewer))
            if not isinstance(answer, Shown):
                return None
            variables = self._frame(request, viewer, "") | dict(answer.variables)
            return self.renderer.render_parts(answer.template, variables)
        except StoreUnavailable:
            return {}
        except (PageError, ApiError):
            return None
        except Exception:
            _log_unexpected(request)
            return None

    def refuse_file(self, view: View, request: ConsoleRequest) -> ConsoleAnswer | None:
        """What is answered in place of receiving a file; None: it may come, and the view is asked then."""
        may_come = ConsoleAnswer()
        answered = self._admitted(view, request, lambda viewer, view: may_come)
        return None if answered is may_come else answered

    def fail(self, error: PageError, request: ConsoleRequest) -> ConsoleAnswer:
        """Where a form did not come as it should."""
        return self._error(request, None, error)

    def show_login(self, request: ConsoleRequest) -> ConsoleAnswer:
        def answer(viewer: Viewer | None) -> ConsoleAnswer:
            target = local_target(request.query.get("next", "/"))
            return _redirect(target) if viewer is not None else self._login_page(request, target, "", 200)

        return self._guarded(request, answer)

    def log_in(self, request: ConsoleRequest) -> ConsoleAnswer:
        """Takes the time of a hash also where the name is unknown."""
        return self._guarded(request, lambda viewer: self._log_in(request))

    def log_out(self, request: ConsoleRequest) -> ConsoleAnswer:
        def answer(viewer: Viewer | None) -> ConsoleAnswer:
            token = session_token(request)
            if token is not None:
                self._store.write(lambda transaction: sessions.end_session(transaction, token))
            done = _redirect("/login")
            done.cookies += [SetCookie(SESSION, "", 0), SetCookie(SESSION_SECURE, "", 0, secure=True)]
            return done

        return self._guarded(request, answer)

    def set_theme(self, request: ConsoleRequest) -> ConsoleAnswer:
        def answer(viewer: Viewer | None) -> ConsoleAnswer:
            theme = request.form.get("theme", "")
            done = _redirect(local_target(request.form.get("next", "/")))
            done.cookies.append(SetCookie(THEME, theme, YEAR) if theme in THEMES else SetCookie(THEME, "", 0))
            return done

        return self._guarded(request, answer)

    def busy(self, request: ConsoleRequest) -> ConsoleAnswer:
        """In place of an answer for which no thread is free."""
        todo = "Wait a moment, and load the page again. Devices are served all the same."
        return self.fail(PageError(503, "Too many pages are asked for at once.", todo, 1), request)

    def _admitted(
        self, view: View | None, request: ConsoleRequest, make: Callable[[Viewer, View], ConsoleAnswer]
    ) -> ConsoleAnswer:
        """What `make` answers to whoever may see the view."""

        def answer(viewer: Viewer | None) -> ConsoleAnswer:
            if view is None:
                raise errors.not_found(request.path)
            if viewer is None:
                return _redirect(link_to("/login", next="/" if request.changes else request.target))
            if not viewer.may(view.action):
                raise errors.not_allowed(viewer.role)
            return make(viewer, view)

        return self._guarded(request, answer)

    def _guarded(self, request: ConsoleRequest, answer: Callable[[Viewer | None], ConsoleAnswer]) -> ConsoleAnswer:
        """The answer, or a page that says what is wrong."""
        viewer: Viewer | None = None
        try:
            viewer = self._visitors.identify(request)
            if request.changes:
                self._check_form(request)
            return answer(viewer)
        except PageError as error:
            return self._error(request, viewer, error)
        except StoreUnavailable as error:
            return self._error(request, viewer, errors.of_store(error))
        except ApiError as error:
            return self._error(request, viewer, errors.of_operation(error))
        except Exception:
            _log_unexpected(request)
            return self._error(request, viewer, errors.unexpected())

    def _check_form(self, request: ConsoleRequest) -> None:
        if not is_same_origin(request):
            what = "The form was sent by the page of another site, or the proxy changed the header Host."
            raise PageError(403, f"{what} Nothing was changed.", "Open the page here, and send its form.")
        if not is_form_token(request.form.get("token", ""), _secret(request)):
            what = "The form is older than this session, or the browser keeps no cookies. Nothing was changed."
            raise PageError(403, what, "Load the page again, and send its form.")

    def _log_in(self, request: ConsoleRequest) -> ConsoleAnswer:
        name, password = request.form.get("name", "")[:128], request.form.get("password", "")
        address, now = self._visitors.address(request), time.monotonic()
        target = local_target(request.form.get("next", "/"))
        wait = max(self._names.wait(name, now), self._addresses.wait(address, now))
        if wait:
            seconds = int(wait) + 1
            text = f"Too many tries failed. Try again in {seconds} s."
            answer = self._login_page(request, target, text, 429)
            answer.headers["Retry-After"] = str(seconds)
            return answer
        stored = self._store.read(lambda transaction: sessions.stored_password(transaction, name))
        token = None
        if is_password(password, stored):
            token = self._store.write(lambda transaction: sessions.open_session(transaction, name, stored, request.now))
        if token is None:
            self._names.failed(name, now)
            self._addresses.failed(address, now)
            LOG.warning("a login to the console failed: the name or the password is wrong", name=name, address=address)
            return self._login_page(request, target, "The name or the password is wrong.", 403)
        self._names.forget(name)
        answer = _redirect(target)
        secure = self._visitors.is_secure(request)
        session = SetCookie(SESSION_SECURE if secure else SESSION, token, int(sessions.LONGEST), secure)
        answer.cookies += [session, SetCookie(FORM, "", 0)]
        return answer

    def _login_page(self, request: ConsoleRequest, target: str, text: str, status: int) -> ConsoleAnswer:
        variables = {"next": target, "error": text, "name": request.form.get("name", "")}
        return self._page(request, None, Shown("login.html", variables, status))

    def _view_request(self, request: ConsoleRequest, viewer: Viewer) -> ViewRequest:
        return ViewRequest(
            viewer=viewer,
            store=self._store,
            operations=Operations(self._control, self._objects, viewer, request.now),
            now=request.now,
            path=request.path,
            parameters=request.parameters,
            query=request.query,
            form=request.form,
            file=request.file,
        )

    def _finish(self, request: ConsoleRequest, viewer: Viewer, answer: ViewAnswer) -> ConsoleAnswer:
        if isinstance(answer, Shown):
            return self._page(request, viewer, answer)
        if isinstance(answer, Downloaded):
            headers = {
                "Content-Type": answer.content_type,
                "Content-Disposition": f'attachment; filename="{answer.name}"',
            }
            return ConsoleAnswer(200, answer.body, headers)
        done = _redirect(answer.to)
        secret = _secret(request)
        if answer.message and secret is not None:
            text = base64.urlsafe_b64encode(answer.message[:500].encode()).decode()
            done.cookies.append(SetCookie(MESSAGE, signed(text, secret), 60))
        return done

    def _error(self, request: ConsoleRequest, viewer: Viewer | None, error: PageError) -> ConsoleAnswer:
        shown = Shown("error.html", {"what": error.what, "todo": error.todo}, error.status)
        answer = self._page(request, viewer, shown)
        if error.retry_after is not None:
            answer.headers["Retry-After"] = str(error.retry_after)
        return answer

    def _page(self, request: ConsoleRequest, viewer: Viewer | None, shown: Shown) -> ConsoleAnswer:
        answer = ConsoleAnswer(shown.status, headers={"Content-Type": "text/html; charset=utf-8"})
        secret = _secret(request)
        if secret is None:
            secret = secrets.token_urlsafe(32)
            answer.cookies.append(SetCookie(FORM, secret))
        frame = self._frame(request, viewer, secret)
        if frame["message"] is not None:
            answer.cookies.append(SetCookie(MESSAGE, "", 0))
        answer.body = self.renderer.render(shown.template, frame | dict(shown.variables))
        return answer

    def _frame(self, request: ConsoleRequest, viewer: Viewer | None, secret: str) -> dict[str, Any]:
        """What every page has. `secret`: of which the tokens of its forms are made."""
        theme = request.cookies.get(THEME)
        return {
            "viewer": viewer,
            "navigation": self._links(viewer),
            "section": f"/{request.path.split('/')[1]}",
            "token": form_token(secret),
            "theme": theme if theme in THEMES else None,
            "here": "/" if request.changes else request.target,
            "message": _message(request, secret),
        }

    def _links(self, viewer: Viewer | None) -> list[tuple[str, str]]:
        if viewer is None:
            return []
        return [(path, title) for path, title, action in self._navigation if viewer.may(action)]


def _log_unexpected(request: ConsoleRequest) -> None:
    event = "a page of the console could not be made: the viewer gets status 500; please report it"
    LOG.exception(event, path=request.path)


def _redirect(target: str) -> ConsoleAnswer:
    return ConsoleAnswer(303, headers={"Location": target})


def _secret(request: ConsoleRequest) -> str | None:
    """Of which the tokens of forms are made: the session's cookie, or that of a browser without one."""
    return session_token(request) or request.cookies.get(FORM)


def _message(request: ConsoleRequest, secret: str) -> str | None:
    text = unsigned(request.cookies.get(MESSAGE, ""), secret)
    if not text:
        return None
    try:
        return base64.urlsafe_b64decode(text).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
