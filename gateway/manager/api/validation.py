"""botocore's service model of `sagemaker-edge`, turned into checks of an input.

Required members, types, minimum and maximum lengths, patterns and enums all come from the model that botocore ships;
none is repeated here. Wrong types are a SerializationException, broken limits a ValidationException, in AWS's words.
This file never performs an operation, and takes no time that grows faster than the input.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from botocore.loaders import Loader
from botocore.model import ListShape, ServiceModel, Shape, StructureShape

from gateway.manager.errors import ApiError, serialization, validation

EARLIEST = -62135596800.0
"""Unix seconds of 0001-01-01: what an SDK can show as a date ends here."""
LATEST = 253402300799.0
"""Unix seconds of 9999-12-31T23:59:59."""
TOLD = 10
"""A refusal names this many findings at most: its size shall not grow with the input."""


@dataclass(slots=True)
class Findings:
    """What is wrong with one input, by the error that it leads to."""

    types: list[str] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)

    def wrong_type(self, where: str, value: object, wanted: str) -> None:
        if len(self.types) < TOLD:
            self.types.append(f"{json_name(value)} at '{where}' can not be converted to {wanted}")

    def broken(self, where: str, value: object, constraint: str) -> None:
        if len(self.limits) < TOLD:
            shown = "null" if value is None else repr(value)[:80]
            self.limits.append(f"Value {shown} at '{where}' failed to satisfy constraint: {constraint}")

    def refusal(self) -> ApiError | None:
        if self.types:
            return serialization("; ".join(self.types))
        if self.limits:
            count = len(self.limits)
            plural = "error" if count == 1 else "errors"
            return validation(f"{count} validation {plural} detected: {'; '.join(self.limits)}")
        return None


Check = Callable[[object, str, Findings], object]
"""(value, its path, where to tell) -> the value with only what the model knows in it."""


def json_name(value: object) -> str:
    """What JSON calls the type of a parsed value."""
    names = {dict: "OBJECT", list: "LIST", str: "STRING", bool: "BOOLEAN", type(None): "NULL"}
    return names.get(type(value), "NUMBER")


def is_number(value: object) -> bool:
    """An int or a finite float that a double can hold; a boolean is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def load() -> ServiceModel:
    """The service model that the installed botocore ships."""
    return ServiceModel(Loader().load_service_model("sagemaker-edge", "service-2"), "sagemaker-edge")


def compile_operations(service: ServiceModel) -> Mapping[str, Check]:
    """Operation name -> the check of its input."""
    checks = {}
    for name in service.operation_names:
        shape = service.operation_model(name).input_shape
        if shape is not None:
            checks[name] = compile_shape(shape)
    return checks


def compile_shape(shape: Shape) -> Check:
    """The check of one shape and of all below it; compiled once, so that a call reads no model."""
    if isinstance(shape, StructureShape):
        members = {name: compile_shape(member) for name, member in shape.members.items()}
        return partial(_structure, members, tuple(shape.required_members))
    if isinstance(shape, ListShape):
        return partial(_list, compile_shape(shape.member))
    if shape.type_name == "string":
        return _compile_string(shape)
    return {"double": _double, "timestamp": _timestamp}[shape.type_name]


def _compile_string(shape: Shape) -> Check:
    rules: Mapping[str, Any] = shape.metadata
    pattern = re.compile(rules["pattern"]) if "pattern" in rules else None
    return partial(_string, rules.get("min", 0), rules.get("max"), pattern, tuple(rules.get("enum", ())))


def _structure(
    members: Mapping[str, Check], required: tuple[str, ...], value: object, where: str, found: Findings
) -> dict[str, object]:
    """A member that is null counts as absent; one that the model does not know is left out. AWS does the same."""
    if not isinstance(value, dict):
        found.wrong_type(where or "input", value, "a structure")
        return {}
    for name in required:
        if value.get(name) is None:
            found.broken(_join(where, name), None, "Member must not be null")
    return {
        name: members[name](inner, _join(where, name), found)
        for name, inner in value.items()
        if inner is not None and name in members
    }


def _list(member: Check, value: object, where: str, found: Findings) -> list[object]:
    """A null inside a list has the wrong type: no list of this service is sparse."""
    if not isinstance(value, list):
        found.wrong_type(where, value, "a list")
        return []
    return [member(inner, f"{where}.{place}.member", found) for place, inner in enumerate(value, start=1)]


def _string(
    least: int,
    most: int | None,
    pattern: re.Pattern[str] | None,
    enum: tuple[str, ...],
    value: object,
    where: str,
    found: Findings,
) -> object:
    if not isinstance(value, str) or not _is_unicode(value):
        found.wrong_type(where, value, "a String of Unicode characters")
    elif len(value) < least:
        found.broken(where, value, f"Member must have length greater than or equal to {least}")
    elif most is not None and len(value) > most:
        found.broken(where, value, f"Member must have length less than or equal to {most}")
    elif pattern is not None and not pattern.fullmatch(value):
        found.broken(where, value, f"Member must satisfy regular expression pattern: {pattern.pattern}")
    elif enum and value not in enum:
        found.broken(where, value, f"Member must satisfy enum value set: [{', '.join(enum)}]")
    return value


def _double(value: object, where: str, found: Findings) -> object:
    if not is_number(value):
        found.wrong_type(where, value, "a finite Double")
    return value


def _timestamp(value: object, where: str, found: Findings) -> object:
    """rest-json dates are Unix seconds, with or without a fraction (the model names no other format)."""
    if not isinstance(value, int | float) or not is_number(value):
        found.wrong_type(where, value, "a Timestamp in seconds since 1970")
    elif not EARLIEST <= value <= LATEST:
        found.broken(where, value, "Member must lie in the years 1 to 9999")
    return value


def _is_unicode(text: str) -> bool:
    """JSON can spell half of a surrogate pair, which no file and no terminal can take."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _join(where: str, name: str) -> str:
    """AWS writes the path of a member in lower camel case."""
    name = name[0].lower() + name[1:]
    return f"{where}.{name}" if where else name


def parse(check: Check, body: bytes) -> dict[str, Any]:
    """The input in a request's body, checked, with the members that the model knows and no null among them.

    An empty body is an empty structure. Raises ApiError: SerializationException or ValidationException.
    """
    value = _from_json(body) if body.strip() else {}
    found = Findings()
    known = check(value, "", found)
    refusal = found.refusal()
    if refusal is not None:
        raise refusal
    return cast(dict[str, Any], known)


def _from_json(body: bytes) -> object:
    """UnicodeDecodeError and JSONDecodeError are ValueErrors; so is an int of more digits than Python converts."""
    try:
        return json.loads(body.decode(), parse_constant=_no_constant)
    except ValueError as error:
        raise serialization(f"the body is not JSON: {error}") from error
    except RecursionError as error:
        raise serialization("the body is not JSON that a service reads: it is nested too deeply") from error


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON number")


def check_name(service: ServiceModel, shape: str, name: str) -> str | None:
    """Why the service would refuse `name` as a value of that shape of its model, or None."""
    found = Findings()
    compile_shape(service.shape_for(shape))(name, shape, found)
    refusal = found.refusal()
    return None if refusal is None else refusal.message
