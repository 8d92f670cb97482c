"""Single elements of a payload: a decoded msgpack value in, the same value out, or DecodeError with what belongs there.

Must never depend on a message. `type(x) is int` and not isinstance: a bool is malformed where a number belongs.
"""

import math
from typing import Any

from gateway.errors import DecodeError


class ForbiddenMap:
    """In place of a msgpack map, which no known element is: its pairs are never kept."""

    def __init__(self, pairs: object) -> None:
        pass


def array(value: Any, known: int, what: str) -> tuple[Any, ...]:
    """Exactly `known` elements: missing ones are None, those that a later version may add are left out."""
    if type(value) is not tuple:
        raise type_error(value, what, "an array")
    return value[:known] if len(value) >= known else value + (None,) * (known - len(value))


def optional_array(value: Any, what: str) -> tuple[Any, ...]:
    if value is None:
        return ()
    if type(value) is not tuple:
        raise type_error(value, what, "an array or nil")
    return value


def needed_array(value: Any, what: str) -> tuple[Any, ...]:
    if value is None:
        raise type_error(value, what, "an array")
    return optional_array(value, what)


def check_series(series: tuple[Any, ...]) -> None:
    if len(series) % 2:
        raise DecodeError("samples: an age is missing (number, age, number, age, ...)")
    for number in series[::2]:
        check_number(number)
    for age in series[1::2]:
        uint(age, "age")


def check_number(value: Any) -> None:
    if type(value) is not int and not (type(value) is float and math.isfinite(value)):
        raise type_error(value, "sample", "an int or a finite float")


def enum_value(value: Any, names: dict[int, str], what: str) -> str | None:
    """The API's name: of a number that the protocol page lists, or as the device sent it, for the service to check."""
    if value is None or type(value) is str:
        return value
    if type(value) is int and value in names:
        return names[value]
    raise type_error(value, what, f"one of {sorted(names)}, a str or nil")


def tag(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= 0xFFFF:
        raise type_error(value, "tag", "an int from 0 to 65535")
    return value


def uint(value: Any, what: str) -> int:
    if type(value) is not int or value < 0:
        raise type_error(value, what, "an int of 0 or more")
    return value


def optional_uint(value: Any, what: str) -> int | None:
    if value is not None and (type(value) is not int or value < 0):
        raise type_error(value, what, "an int of 0 or more")
    return value


def uint_or_none(value: Any) -> int | None:
    """For what is read of a payload that is rejected anyway."""
    return value if type(value) is int and value >= 0 else None


def text(value: Any, what: str) -> str:
    if type(value) is not str:
        raise type_error(value, what, "a str")
    return value


def optional_text(value: Any, what: str) -> str | None:
    return None if value is None else text(value, what)


def type_error(value: Any, what: str, expected: str) -> DecodeError:
    """The error that names the element, what it is and what belongs there."""
    names = {type(None): "nil", ForbiddenMap: "a map", tuple: "an array"}
    actual = str(value) if type(value) in (int, float, bool) else names.get(type(value), type(value).__name__)
    return DecodeError(f"{what}: {actual} where {expected} belongs")
