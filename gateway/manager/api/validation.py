"""botocore's service model of `sagemaker-edge`, turned into checks of an input.

Required members, types, lengths, patterns and enums come from the model that botocore ships; none is repeated here.
A wrong type is a SerializationException, a broken limit a ValidationException, in AWS's words. This file never performs
an operation, and takes no time that grows faster than the input.

Each operation has two ways. msgspec decodes into structures that are made from the model: a tenth of the time, and it
accepts nothing that the checks do not accept. What it does not accept goes through the checks: they decide, and say
what is wrong. A property test holds the two together.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Annotated, Any, Literal, cast

import msgspec
from botocore.loaders import Loader
from botocore.model import ListShape, ServiceModel, Shape, StructureShape

from gateway.manager.errors import ApiError, serialization_error, validation_error

INTEGERS = msgspec.Meta(ge=-(2**63), le=2**63 - 1)
"""What msgspec may take for a number without a fraction; the checks decide about larger ones."""
EARLIEST = -62135596800.0
"""Unix seconds of 0001-01-01: the earliest date that an SDK can show."""
LATEST = 253402300799.0
"""Unix seconds of 9999-12-31T23:59:59."""
MAX_PARTS = 250_000
"""Members and elements of one input at most: four times as many as are in the largest call of the gateway."""
MAX_REPORTED = 10
"""An error names at most so many mistakes: its size must not grow with the input."""
MAX_KNOWN = 4096
"""So many combinations of texts are kept for each structure of the model, and not matched with its patterns again."""


@dataclass(slots=True)
class ValidationErrors:
    """What is wrong with one input, by the error that it leads to."""

    types: list[str] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)

    def add_type(self, path: str, value: object, expected: str) -> None:
        """The value at `path` has the wrong type."""
        if len(self.types) < MAX_REPORTED:
            self.types.append(f"{json_type(value)} at '{path}' can not be converted to {expected}")

    def add_limit(self, path: str, value: object, constraint: str) -> None:
        """The value at `path` breaks a limit."""
        if len(self.limits) < MAX_REPORTED:
            shown = "null" if value is None else repr(value)[:80]
            self.limits.append(f"Value {shown} at '{path}' failed to satisfy constraint: {constraint}")

    def to_error(self) -> ApiError | None:
        """None: nothing is wrong."""
        if self.types:
            return serialization_error("; ".join(self.types))
        if self.limits:
            count = len(self.limits)
            plural = "error" if count == 1 else "errors"
            return validation_error(f"{count} validation {plural} detected: {'; '.join(self.limits)}")
        return None


Check = Callable[[object, str, ValidationErrors], object]
"""(value, its path, where to add errors) -> the value with only the members that the model has."""


def json_type(value: object) -> str:
    """What JSON calls the type of a parsed value."""
    names = {dict: "OBJECT", list: "LIST", str: "STRING", bool: "BOOLEAN", type(None): "NULL"}
    return names.get(type(value), "NUMBER")


def is_number(value: object) -> bool:
    """An int or a finite float that a double can represent; not a boolean."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def load_service_model() -> ServiceModel:
    """The service model that the installed botocore ships."""
    return ServiceModel(Loader().load_service_model("sagemaker-edge", "service-2"), "sagemaker-edge")


def compile_shape(shape: Shape) -> Check:
    """The check of one shape and of all below it; compiled once, so that a call reads no model."""
    if isinstance(shape, StructureShape):
        members = {name: compile_shape(member) for name, member in shape.members.items()}
        return partial(_check_structure, members, tuple(shape.required_members))
    if isinstance(shape, ListShape):
        limits: Mapping[str, Any] = shape.metadata
        return partial(_check_list, compile_shape(shape.member), limits.get("min", 0), limits.get("max"))
    if shape.type_name == "string":
        limits = shape.metadata
        pattern = re.compile(limits["pattern"]) if "pattern" in limits else None
        return partial(_check_string, limits.get("min", 0), limits.get("max"), pattern, tuple(limits.get("enum", ())))
    checks: dict[str, Check] = {
        "boolean": _check_boolean,
        "double": _check_double,
        "integer": partial(_check_integer, shape.metadata.get("min"), shape.metadata.get("max")),
        "timestamp": _check_timestamp,
    }
    return checks[shape.type_name]


def _check_structure(
    members: Mapping[str, Check], required: tuple[str, ...], value: object, path: str, errors: ValidationErrors
) -> dict[str, object]:
    """A null member counts as absent; a member that is not in the model is left out. AWS does the same."""
    if not isinstance(value, dict):
        errors.add_type(path or "input", value, "a structure")
        return {}
    for name in required:
        if value.get(name) is None:
            errors.add_limit(_join(path, name), None, "Member must not be null")
    known = {name: inner for name, inner in value.items() if inner is not None and name in members}
    return {name: members[name](inner, _join(path, name), errors) for name, inner in known.items()}


def _check_list(
    member: Check, min_length: int, max_length: int | None, value: object, path: str, errors: ValidationErrors
) -> list[object]:
    """A null inside a list has the wrong type: no list of these services is sparse."""
    if not isinstance(value, list):
        errors.add_type(path, value, "a list")
        return []
    if len(value) < min_length:
        errors.add_limit(path, value, f"Member must have length greater than or equal to {min_length}")
    elif max_length is not None and len(value) > max_length:
        errors.add_limit(path, value, f"Member must have length less than or equal to {max_length}")
    return [member(inner, f"{path}.{index}.member", errors) for index, inner in enumerate(value, start=1)]


def _check_string(
    min_length: int,
    max_length: int | None,
    pattern: re.Pattern[str] | None,
    enum: tuple[str, ...],
    value: object,
    path: str,
    errors: ValidationErrors,
) -> object:
    if not isinstance(value, str) or not _is_unicode(value):
        errors.add_type(path, value, "a String of Unicode characters")
    elif len(value) < min_length:
        errors.add_limit(path, value, f"Member must have length greater than or equal to {min_length}")
    elif max_length is not None and len(value) > max_length:
        errors.add_limit(path, value, f"Member must have length less than or equal to {max_length}")
    elif pattern is not None and not pattern.fullmatch(value):
        errors.add_limit(path, value, f"Member must satisfy regular expression pattern: {pattern.pattern}")
    elif enum and value not in enum:
        errors.add_limit(path, value, f"Member must satisfy enum value set: [{', '.join(enum)}]")
    return value


def _check_boolean(value: object, path: str, errors: ValidationErrors) -> object:
    if not isinstance(value, bool):
        errors.add_type(path, value, "a Boolean")
    return value


def _check_integer(least: int | None, most: int | None, value: object, path: str, errors: ValidationErrors) -> object:
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**31) <= value < 2**31:
        errors.add_type(path, value, "an Integer")
    elif least is not None and value < least:
        errors.add_limit(path, value, f"Member must have value greater than or equal to {least}")
    elif most is not None and value > most:
        errors.add_limit(path, value, f"Member must have value less than or equal to {most}")
    return value


def _check_double(value: object, path: str, errors: ValidationErrors) -> object:
    if not is_number(value):
        errors.add_type(path, value, "a finite Double")
    return value


def _check_timestamp(value: object, path: str, errors: ValidationErrors) -> object:
    """rest-json dates are Unix seconds, with or without a fraction (the model names no other format)."""
    if not isinstance(value, int | float) or not is_number(value):
        errors.add_type(path, value, "a Timestamp in seconds since 1970")
    elif not EARLIEST <= value <= LATEST:
        errors.add_limit(path, value, "Member must lie in the years 1 to 9999")
    return value


def _is_unicode(text: str) -> bool:
    """JSON can spell half of a surrogate pair, which no file and no terminal can take."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _join(path: str, name: str) -> str:
    """AWS writes the path of a member in lower camel case."""
    name = name[0].lower() + name[1:]
    return f"{path}.{name}" if path else name


def _make_type(shape: Shape) -> Any:
    """What msgspec decodes into: with all limits but the patterns. A null member is its default, and so left out."""
    if isinstance(shape, StructureShape):
        required = shape.required_members
        members = [(name, _make_type(member), name in required) for name, member in shape.members.items()]
        return msgspec.defstruct(
            shape.name,
            [(name, type_) if needed else (name, type_ | None, None) for name, type_, needed in members],
            kw_only=True,
            omit_defaults=True,
            forbid_unknown_fields=True,
            gc=False,
        )
    if isinstance(shape, ListShape):
        return list[_make_type(shape.member)]  # type: ignore[misc]
    if shape.type_name == "string":
        limits: Mapping[str, Any] = shape.metadata
        if "enum" in limits:
            return Literal[tuple(limits["enum"])]
        return Annotated[str, msgspec.Meta(min_length=limits.get("min"), max_length=limits.get("max"))]
    times = msgspec.Meta(ge=math.ceil(EARLIEST), le=math.floor(LATEST))
    return {
        "double": Annotated[int, INTEGERS] | float,
        "timestamp": Annotated[int, times] | Annotated[float, times],
    }[shape.type_name]


class PatternCheck:
    """Whether the strings of structures of one shape, and of all below them, match the model's patterns.

    Names come again in nearly every call, and a look into a set takes a fourth of the time of a match.
    """

    def __init__(self, shape: StructureShape) -> None:
        patterns = {name: member.metadata["pattern"] for name, member in shape.members.items() if _has_pattern(member)}
        self._matchers = [re.compile(pattern).fullmatch for pattern in patterns.values()]
        # One name alone would be returned without a tuple.
        self._texts = attrgetter(*patterns, *["__class__"] * (2 - len(patterns)))
        self._known: set[tuple[str | None, ...]] = set()
        self._below: list[tuple[Callable[[object], Any], bool, PatternCheck]] = []
        for name, member in shape.members.items():
            inner = member.member if isinstance(member, ListShape) else member
            if isinstance(inner, StructureShape):
                self._below.append((attrgetter(name), inner is member, PatternCheck(inner)))

    def __call__(self, structures: Sequence[msgspec.Struct]) -> bool:
        if not self._known.issuperset(map(self._texts, structures)) and not self._match(structures):
            return False
        for member_of, single, check in self._below:
            for structure in structures:
                inner = member_of(structure)
                if inner and not check((inner,) if single else inner):
                    return False
        return True

    def _match(self, structures: Sequence[msgspec.Struct]) -> bool:
        for texts in map(self._texts, structures):
            if texts not in self._known:
                for fullmatch, text in zip(self._matchers, texts, strict=False):
                    if text is not None and not fullmatch(text):
                        return False
                if len(self._known) >= MAX_KNOWN:
                    self._known.clear()
                self._known.add(texts)
        return True


def _has_pattern(shape: Shape) -> bool:
    return shape.type_name == "string" and "pattern" in shape.metadata


@dataclass(frozen=True, slots=True)
class InputParser:
    """The two ways of one operation.

    `decode` raises msgspec.DecodeError; `patterns` says whether all patterns hold in what it returned.
    """

    check: Check
    decode: Callable[[bytes], msgspec.Struct]
    patterns: PatternCheck


def compile_operations(service: ServiceModel) -> Mapping[str, InputParser]:
    """Operation name -> the parser of its input."""
    parsers = {}
    for name in service.operation_names:
        shape = service.operation_model(name).input_shape
        if shape is not None:
            decoder: msgspec.json.Decoder[msgspec.Struct] = msgspec.json.Decoder(_make_type(shape))
            parsers[name] = InputParser(compile_shape(shape), decoder.decode, PatternCheck(shape))
    return parsers


def parse_input(parser: InputParser, body: bytes) -> dict[str, Any]:
    """The input in a request's body, checked, with only the members that the model has, and no null.

    An empty body is an empty structure. Raises ApiError: SerializationException or ValidationException, or that it has
    too many parts: a megabyte of small ones takes a hundred times as long as one of text.
    """
    if len(body) > MAX_PARTS and sum(map(body.count, (b",", b"[", b"{"))) > MAX_PARTS:
        raise ApiError("RequestEntityTooLargeException", f"the request has more than {MAX_PARTS:,} parts", 413)
    try:
        decoded = parser.decode(body)
    except msgspec.DecodeError:
        decoded = None
    if decoded is None or not parser.patterns((decoded,)):
        return check_input(parser.check, body)
    return cast(dict[str, Any], msgspec.to_builtins(decoded))


def check_input(check: Check, body: bytes) -> dict[str, Any]:
    """`parse_input` by the checks alone."""
    value = _from_json(body) if body.strip() else {}
    errors = ValidationErrors()
    members = check(value, "", errors)
    error = errors.to_error()
    if error is not None:
        raise error
    return cast(dict[str, Any], members)


def _from_json(body: bytes) -> object:
    """UnicodeDecodeError and JSONDecodeError are ValueErrors; so is an int of more digits than Python converts."""
    try:
        return json.loads(body.decode(), parse_constant=_reject_constant)
    except ValueError as error:
        raise serialization_error(f"the body is not JSON: {error}") from error
    except RecursionError as error:
        raise serialization_error("the body is nested too deeply") from error


def _reject_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")
