"""Exception hierarchy, grouped by who must act: the device, the operator, or nobody (retry). And the text of errors.

Imports nothing from this package.
"""

import errno
import re
from enum import IntEnum

_NUMBER = re.compile(r"^\[errno \d+\] ")
_USERINFO = re.compile(r"(?<=//)[^/?#\s\"'<>]*@")


class Code(IntEnum):
    """The `code` of an `ack`, as the protocol page numbers them."""

    ACCEPTED = 0
    MALFORMED = 1
    UNKNOWN_TAG = 2
    NOT_REGISTERED = 3
    REFUSED = 4
    UNKNOWN_PLAN = 5
    TOO_LARGE = 6
    GAVE_UP = 7


def code_words(code: int) -> str:
    """What the `code` of an `ack` says, for a person."""
    return Code(code).name.lower().replace("_", " ") if code in set(Code) else "unknown"


class GatewayError(Exception):
    """The base of all exceptions that this package raises on purpose."""


class ConfigError(GatewayError):
    """The operator must correct the settings. `mistakes` has one sentence for each mistake."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class MessageError(GatewayError):
    """The device must act: the same payload would be rejected again. `code` and `detail` go into its error ack.

    `seq`: the seq of the payload, where it could be read.
    """

    code: Code = Code.REFUSED

    def __init__(self, detail: str, seq: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.seq = seq


class DecodeError(MessageError):
    """The payload does not have the form of the protocol."""

    code = Code.MALFORMED


class LimitError(MessageError):
    """The form is right, but a name, version, value or time breaks a limit of the service model."""

    code = Code.REFUSED


class RateError(MessageError):
    """The device sends more than the operator allows."""

    code = Code.GAVE_UP


class CloudError(GatewayError):
    """A call to the Edge Manager failed. `reason`: the service's error code, or the kind of the error."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class PermanentError(CloudError):
    """The service will never accept this call."""


class TransientError(CloudError):
    """Throttled, overloaded or unreachable. A retry can succeed."""


class OperatorError(CloudError):
    """Credentials, permissions or endpoint are wrong. A retry succeeds once the operator has corrected them."""


class StateError(GatewayError):
    """State cannot be written: the operator must look at the disk."""


class ProvisioningError(GatewayError):
    """A name, or a file of the site's identities, that the operator must correct."""


class BrokerError(GatewayError):
    """The broker is unreachable or refuses what the gateway needs. A retry can succeed."""


class BrokerClosed(BrokerError):
    """The broker ended the connection, perhaps because of what it was asked. `reason`: the MQTT 5 code of its
    DISCONNECT; 0: none came, so the network or a restart may have ended it."""

    def __init__(self, detail: str, reason: int) -> None:
        super().__init__(detail)
        self.reason = reason


class BrokerRefused(BrokerError):
    """The broker refuses CONNECT: `code` is its MQTT 5 reason code."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class FileError(GatewayError):
    """A model file cannot be read. `code` and `detail` go into the device's error ack."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def printable(text: str, replacement: str = "?") -> str:
    """Replace characters that are not printable, so that `text` cannot control a terminal."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else replacement for character in text)


def redact_credentials(text: object) -> str:
    """The text, each URL in it without user name and password: libraries show URLs in their errors."""
    return _USERINFO.sub("", str(text))


def one_line(text: object) -> str:
    """One printable line of at most 500 characters.

    The reason of a dead letter is an MQTT user property: Mosquitto closes the connection for a control character in it.
    """
    return printable(" ".join(str(text).split())[:500])


_NO_ACCESS = "run the command as root, or as the user that owns it"
_NO_PATH = "correct the path"
_NO_SPACE = "make room on the disk"
_DISK_FAILS = "check the disk"
_DAMAGED = "put a copy in its place, or move it away"
_ADVICE = {
    errno.EACCES: _NO_ACCESS,
    errno.EPERM: _NO_ACCESS,
    errno.EROFS: "name a folder that can be written",
    errno.ENOENT: _NO_PATH,
    errno.ENOTDIR: _NO_PATH,
    errno.EISDIR: "name a file",
    errno.EEXIST: "a file is where a folder belongs: give another path",
    errno.ELOOP: "a symbolic link is not followed here: put the file itself in its place",
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EIO: _DISK_FAILS,
    errno.EMFILE: "raise the limit (ulimit -n, or LimitNOFILE of the unit)",
    errno.EADDRINUSE: "end the process that listens there, or give another port",
    errno.EADDRNOTAVAIL: "give an address of this machine",
    errno.ECONNREFUSED: "start the server, or correct host and port",
    # Of sqlite3, whose exceptions are no OSError.
    "SQLITE_READONLY": _NO_ACCESS,
    "SQLITE_PERM": _NO_ACCESS,
    "SQLITE_CANTOPEN": "the folder must exist, and this user must be able to write it",
    "SQLITE_FULL": _NO_SPACE,
    "SQLITE_IOERR": _DISK_FAILS,
    "SQLITE_BUSY": "end the process that uses it, or try again",
    "SQLITE_NOTADB": _DAMAGED,
    "SQLITE_CORRUPT": _DAMAGED,
}


def explain(error: Exception, subject: object = None) -> str:
    """One line for a person: what an OSError or sqlite3.Error is about, what happened, and what to do.

    `subject`: the file, folder or address; None: the file that the error names, if it names one.
    """
    subject = subject or getattr(error, "filename", None)
    found = one_line(getattr(error, "strerror", None) or error)
    # asyncio puts the address before the reason, and from Python 3.13 on its number too.
    found = _NUMBER.sub("", found.rpartition("): ")[2])
    sqlite = "_".join(getattr(error, "sqlite_errorname", "").split("_")[:2])  # without what is more specific
    advice = _ADVICE.get(sqlite or getattr(error, "errno", None) or "")
    if type(error).__name__ == "gaierror":
        advice = "correct the host name, or check the DNS"
    return (f"{subject}: " if subject else "") + found + (f"; {advice}" if advice else "")
