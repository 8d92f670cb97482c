"""Every limit of botocore's service model, from both sides: the cases are made from the model, not copied from it."""

import contextlib
import json
from collections.abc import Iterator

import pytest
from botocore.model import ListShape, Shape, StructureShape
from hypothesis import given
from hypothesis import strategies as st

from gateway.manager.api.validation import MAX_KNOWN, compile_operations, load_service_model, parse_input
from gateway.manager.errors import ApiError

SERVICE = load_service_model()
CHECKS = compile_operations(SERVICE)
SMALLEST: dict[str, object] = {"AgentVersion": "1", "DeviceName": "d", "DeviceFleetName": "f"}


def text_members(shape: Shape, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Shape]]:
    """Every string below a shape, with its path."""
    if isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            yield from text_members(member, (*path, name))
    elif isinstance(shape, ListShape):
        yield from text_members(shape.member, (*path, 0))
    elif shape.type_name == "string":
        yield path, shape


TEXTS = list(text_members(SERVICE.operation_model("SendHeartbeat").input_shape))
LIMITED = [(path, shape) for path, shape in TEXTS if "max" in shape.metadata]
ENUMS = [(path, shape) for path, shape in TEXTS if "enum" in shape.metadata]


def call_with(path: tuple[str | int, ...], value: object) -> bytes:
    """A SendHeartbeat whose member at `path` is `value`."""
    inner: object = value
    for step in reversed(path):
        inner = [inner] if step == 0 else {step: inner}
    assert isinstance(inner, dict)
    return json.dumps(SMALLEST | inner).encode()


def error_code(body: bytes, operation: str = "SendHeartbeat") -> str:
    with pytest.raises(ApiError) as caught:
        parse_input(CHECKS[operation], body)
    assert caught.value.status == 400
    return caught.value.code


def test_the_cases_cover_the_model():
    assert len(LIMITED) >= 10
    assert len(ENUMS) == 3


@pytest.mark.parametrize(("path", "shape"), LIMITED, ids=lambda value: str(value))
def test_each_length_from_both_sides(path, shape):
    least, most = shape.metadata["min"], shape.metadata["max"]
    for length in (least, most):
        parse_input(CHECKS["SendHeartbeat"], call_with(path, "a" * length))
    assert error_code(call_with(path, "a" * (least - 1))) == "ValidationException"
    assert error_code(call_with(path, "a" * (most + 1))) == "ValidationException"


@pytest.mark.parametrize(("path", "shape"), LIMITED, ids=lambda value: str(value))
@pytest.mark.parametrize("wrong", ["abcd\n", "ab%cd", "abcd\u00e9", "\u0661\u0662\u0663\u0664"])
def test_each_pattern_holds_for_the_whole_value(path, shape, wrong):
    assert error_code(call_with(path, wrong)) == "ValidationException"


@pytest.mark.parametrize(("path", "shape"), ENUMS, ids=lambda value: str(value))
def test_each_enum(path, shape):
    for value in shape.enum:
        parse_input(CHECKS["SendHeartbeat"], call_with(path, value))
    assert error_code(call_with(path, "PERHAPS")) == "ValidationException"


@pytest.mark.parametrize("name", sorted(SMALLEST))
@pytest.mark.parametrize("as_null", [True, False])
def test_required_members(name, as_null):
    call = {key: value for key, value in SMALLEST.items() if key != name} | ({name: None} if as_null else {})
    assert error_code(json.dumps(call).encode()) == "ValidationException"


@pytest.mark.parametrize(("path", "shape"), TEXTS, ids=lambda value: str(value))
@pytest.mark.parametrize("wrong", [1, True, [], {}])
def test_a_string_is_a_string(path, shape, wrong):
    assert error_code(call_with(path, wrong)) == "SerializationException"


@pytest.mark.parametrize("member", ["Value", "Timestamp"])
@pytest.mark.parametrize("wrong", ["1", True, [], {}, 10**400], ids=["string", "boolean", "list", "structure", "huge"])
def test_a_number_is_a_finite_number(member, wrong):
    assert error_code(call_with(("AgentMetrics", 0, member), wrong)) == "SerializationException"


@pytest.mark.parametrize("right", [0, -1, 1.5, 1795458600, 253402300799])
def test_timestamps_are_numbers_of_either_kind(right):
    call = parse_input(CHECKS["SendHeartbeat"], call_with(("AgentMetrics", 0, "Timestamp"), right))
    assert call["AgentMetrics"] == [{"Timestamp": right}]


@pytest.mark.parametrize("wrong", [253402300800, -62135596801, 1e300])
def test_a_timestamp_that_no_sdk_could_show(wrong):
    assert error_code(call_with(("AgentMetrics", 0, "Timestamp"), wrong)) == "ValidationException"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"1",
        b"null",
        b"\xff",
        b'{"DeviceName": NaN}',
        b'{"DeviceName": -Infinity}',
        b'{"x": 1e400, "AgentMetrics": [{"Value": 1e400}]}',
        b'{"x": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"AgentMetrics": [null]}',
        b'{"AgentMetrics": {}}',
        b'{"DeploymentResult": {"DeploymentStatusMessage": "\\ud800"}}',
    ],
    ids=lambda body: body[:30].decode("latin-1"),
)
def test_a_body_that_is_not_json_of_the_model(body):
    assert error_code(body) == "SerializationException"


def test_members_that_the_model_does_not_know_are_left_out():
    body = json.dumps(SMALLEST | {"More": {"deep": [1]}, "Models": None, "DeploymentResult": {"More": 1}}).encode()
    assert parse_input(CHECKS["SendHeartbeat"], body) == SMALLEST | {"DeploymentResult": {}}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(sorted(SERVICE.shape_names)) | st.text(), inner),
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_an_input_or_an_error(body):
    for check in CHECKS.values():
        with contextlib.suppress(ApiError):
            assert parse_input(check, body)["DeviceName"]


def test_an_empty_body_is_an_empty_structure():
    assert error_code(b"", "GetDeployments") == "ValidationException"


def test_more_names_than_are_kept_are_matched_all_the_same():
    metrics = [{"Dimension": "sys", "MetricName": f"metric-{number}"} for number in range(2 * MAX_KNOWN + 1)]
    body = json.dumps(SMALLEST | {"AgentMetrics": metrics}).encode()
    assert parse_input(CHECKS["SendHeartbeat"], body) == SMALLEST | {"AgentMetrics": metrics}
    assert all(len(below._known) <= MAX_KNOWN for _, _, below in CHECKS["SendHeartbeat"].patterns._below)
    body = json.dumps(SMALLEST | {"AgentMetrics": [*metrics, {"MetricName": "a_wrong_one"}]}).encode()
    assert error_code(body) == "ValidationException"


@pytest.mark.parametrize("path", [("Models",), ("AgentMetrics", 0, "Value"), ("DeviceName",), ("More",)], ids=str)
def test_deep_nesting_is_an_error_at_each_member(path):
    deep = call_with(path, "deep").replace(b'"deep"', b"[" * 100_000 + b"]" * 100_000)
    assert error_code(deep) == "SerializationException"


def test_an_error_does_not_grow_with_the_input():
    body = json.dumps(SMALLEST | {"AgentMetrics": [{"MetricName": "x" * 200}] * 1000}).encode()
    with pytest.raises(ApiError) as caught:
        parse_input(CHECKS["SendHeartbeat"], body)
    assert len(caught.value.message) < 3000
    assert "agentMetrics.1.member.metricName" in caught.value.message
