"""What protects a browser's session: headers, whose form it is, which names the console has. No I/O.

A form carries a token made of a cookie that no other site can read; and a browser says of which site a form is.
"""

import hashlib
import hmac
from urllib.parse import urlsplit

from gateway.manager.console.requests import ConsoleRequest
from gateway.manager.loopback import is_loopback

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of each answer. Without a referrer at all browsers would send `Origin: null` with our own forms."""


def is_own_name(host: str | None) -> bool:
    """Whether the header Host names this machine: else the page of another site has its name resolved to here."""
    try:
        name = urlsplit(f"//{host or ''}").hostname
    except ValueError:
        return False
    return name is not None and is_loopback(name)


def is_same_origin(request: ConsoleRequest) -> bool:
    """Whether a browser says that the form is of this site; a program that is no browser says nothing, and may."""
    site, origin = request.header("sec-fetch-site"), request.header("origin")
    if site is not None and site != "same-origin":
        return False
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc == request.header("host") and bool(urlsplit(origin).netloc)
    except ValueError:
        return False


def form_token(secret: str) -> str:
    """What a form carries. `secret`: the value of the cookie, which the token does not tell."""
    return _mac(secret, "form")


def is_form_token(token: str, secret: str | None) -> bool:
    return secret is not None and hmac.compare_digest(token.encode(), form_token(secret).encode())


def signed(text: str, secret: str) -> str:
    """The text with a mark by which `unsigned` knows it."""
    return f"{_mac(secret, text)}{text}"


def unsigned(value: str, secret: str | None) -> str | None:
    """The text; None: somebody else made it."""
    mark, text = value[:64], value[64:]
    if secret is None or not hmac.compare_digest(mark.encode(), _mac(secret, text).encode()):
        return None
    return text


def local_target(text: str) -> str:
    """Where to go after a form: a path of this console, else its first page."""
    is_ours = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable() and " " not in text
    return text if is_ours else "/"


def _mac(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
