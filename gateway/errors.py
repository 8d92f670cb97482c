"""Every way to fail, by whose fault it is and whether trying again can help.

The cellar of the house: anyone may import this file, it imports nothing of ours and performs nothing.
"""

from enum import IntEnum


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


class GatewayError(Exception):
    """The root of everything that this package raises on purpose."""


class ConfigError(GatewayError):
    """The operator's fault: settings that cannot work. `mistakes` holds one sentence for each, none left out."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class MessageError(GatewayError):
    """The device's fault: sending the same payload again cannot help. `code` is what the device is told.

    `seq`: what its payload asks to be acked as, where that much of it could be read.
    """

    code: Code = Code.REFUSED

    def __init__(self, detail: str, seq: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.seq = seq


class DecodeError(MessageError):
    """The payload is not of the protocol's form."""

    code = Code.MALFORMED


class LimitError(MessageError):
    """The form is right, but a name, version, value or time breaks a limit of the service model."""

    code = Code.REFUSED


class RateError(MessageError):
    """The device sends more than the operator lets it."""

    code = Code.GAVE_UP


class CloudError(GatewayError):
    """A call to the Edge Manager failed. `reason` is the error's code there, or the kind of the fault."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class PermanentError(CloudError):
    """The message's fault: the service will never take this call."""


class TransientError(CloudError):
    """Nobody's fault: throttled, too busy, unreachable. Trying again can help."""


class OperatorError(CloudError):
    """The operator's fault: credentials, permissions, endpoint. Trying again helps once somebody has mended it."""


class StateError(GatewayError):
    """What should outlive the gateway cannot be written: the operator must look at the disk."""


class ProvisioningError(GatewayError):
    """A name, or a file of the site's identities, that an operator must mend before the command can go on."""


class BrokerError(GatewayError):
    """The broker cannot be reached or refuses what the gateway needs. Trying again can help."""


class BrokerRefused(BrokerError):
    """The broker answers CONNECT with a refusal: `code` is its MQTT 5 reason code."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class FileError(GatewayError):
    """A model file cannot be read. `code` is what the device is told, with the text."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
