"""The quick way of the manager's inputs is the checks' way: whatever the body, the same result or the same error.

Bodies are made from botocore's model: values near every limit, and JSON that no client should send.
"""

import itertools
import json
import re
from collections.abc import Callable, Iterator

import pytest
from botocore.model import ListShape, Shape, StructureShape
from hypothesis import given
from hypothesis import strategies as st

from gateway.manager.api.validation import (
    EARLIEST,
    LATEST,
    InputParser,
    check_input,
    compile_operations,
    load_service_model,
    parse_input,
)
from gateway.manager.errors import ApiError

SERVICE = load_service_model()
PARSERS = compile_operations(SERVICE)

SEEDS = ["a", "Z9", "a-b", "a--9", "a_b", "a-_b", "a/b", "a.b", "a b", "-a", "a-", "", "a\n", "\u00e9", "\u0661", "\0"]
NUMBERS = [*map(str, (0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63), EARLIEST, LATEST, int(EARLIEST), int(LATEST)))]
NUMBERS += ["-0", "-0.0", "1E5", "1e-5", "2.5e-324", "1e-999", "1.7976931348623157e308", "0.1234567890123456789"]
NUMBERS += ["1795458600.123456", "0." + "0" * 400 + "1" * 400]
ODD = ["null", "true", "false", '"1"', "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 400, "9" * 5000, "01"]
ODD += ["1.", ".5", "+1", "1.797693134862315808e308", str(2**63), str(-(2**63) - 1), str(2**64), str(10**30)]
ODD += [str(LATEST + 1), str(int(LATEST) + 1), "253402300799.00006", str(int(EARLIEST) - 1), "1e300", "", "'a'", "nul"]
ODD += ["{}", "[]", "[null]", '{"A":1}', "[" * 2000, "[" * 2000 + "]" * 2000, '{"a":' * 2000 + "1" + "}" * 2000]
ODD += ['"\\ud800"', '"\\udc00\\ud800"', '"\ud800"', '"\\ud83d\\ude00"', '"\n"', '"\\x"', '"\\/"', '"a', '"\\u0061"']
AROUND = ["", " ", "\n", "\t\r", "\x0b", "\ufeff", "\0", "x", ",", "\udcff"]
Texts = st.SearchStrategy[str]


def strings(shape: Shape) -> tuple[list[str], list[str]]:
    """As JSON: those that the shape allows, and others; of lengths on both sides of each limit."""
    limits = shape.metadata
    least, most, enum = limits.get("min", 0), limits.get("max", 1000), limits.get("enum")
    texts = [seed.ljust(size, "a") for seed in SEEDS for size in (0, least - 1, least, most, most + 1)]
    texts += [text + "\n" for text in enum or ["a" * most]] + (enum or [])
    pattern = re.compile(limits.get("pattern", "(?s:.*)"))
    right = {t for t in texts if least <= len(t) <= most and pattern.fullmatch(t) and (enum is None or t in enum)}
    return [json.dumps(text) for text in sorted(right)], [json.dumps(text) for text in sorted({*texts} - right)]


def inputs(shape: Shape, odd: bool) -> Texts:
    """The JSON of values of a shape. `odd`: some break a limit, or are no JSON at all."""
    if isinstance(shape, StructureShape):
        made = structures(shape, odd)
    elif isinstance(shape, ListShape):
        made = st.lists(inputs(shape.member, odd), max_size=3).map(lambda items: f"[{','.join(items)}]")
    elif shape.type_name == "string":
        right, wrong = strings(shape)
        made = st.sampled_from(right) | st.sampled_from(wrong) if odd else st.sampled_from(right)
    else:
        made = st.sampled_from(NUMBERS if shape.type_name == "double" else ["0", "5.5", *NUMBERS[6:10]])
        made |= st.floats(0, 2e9).map(repr) | st.decimals(0, 2**31, places=9).map(str) | st.integers(0, 2**31).map(str)
    # Mostly right, so that most bodies have few mistakes.
    return st.integers(0, 15).flatmap(lambda turn: st.sampled_from(ODD) if turn == 0 else made) if odd else made


def structures(shape: StructureShape, odd: bool) -> Texts:
    """Objects with any of the members in any order, some of them twice, and those that are required."""
    members = {name: inputs(member, odd) for name, member in shape.members.items()}
    if odd:
        members |= {"More": st.sampled_from(ODD), "devicename": st.just("1"), "": st.just("{}")}

    def pair(name: str) -> Texts:
        spelled = st.sampled_from([f'"{name}": '] * 4 + [f'"{escaped(name)}": '])
        return st.tuples(spelled, members[name]).map("".join)

    needed = st.tuples(*(pair(name) for name in shape.required_members))
    more = st.lists(st.sampled_from(sorted(members)).flatmap(pair), max_size=4)
    chosen = st.tuples(needed, more).flatmap(lambda both: st.permutations([*both[0], *both[1]]))
    return chosen.map(lambda pairs: f"{{{','.join(pairs)}}}")


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(character):04x}" for character in text)


def outcome(parse: Callable[[InputParser, bytes], object], parser: InputParser, body: bytes) -> tuple[str, str]:
    """The result, with its types of numbers, or the error."""
    try:
        return "input", json.dumps(parse(parser, body), sort_keys=True)
    except ApiError as error:
        return error.code, error.message


def check_alone(parser: InputParser, body: bytes) -> object:
    return check_input(parser.check, body)


def bodies(operation: str, odd: bool) -> st.SearchStrategy[bytes]:
    shape = SERVICE.operation_model(operation).input_shape
    assert shape is not None
    made = inputs(shape, odd)
    if odd:
        around = st.sampled_from(AROUND[:1] * 20 + AROUND)
        made = st.tuples(around, made, around).map("".join) | st.sampled_from([*AROUND, *ODD])
    return made.map(lambda text: text.encode(errors="surrogatepass"))


@pytest.mark.parametrize("operation", sorted(PARSERS))
@pytest.mark.parametrize("odd", [False, True])
def test_both_ways_come_to_the_same(operation: str, odd: bool) -> None:
    parser = PARSERS[operation]

    @given(bodies(operation, odd))
    def compare(body: bytes) -> None:
        checked = outcome(check_alone, parser, body)
        assert outcome(parse_input, parser, body) == checked
        if not odd:
            assert checked[0] == "input"
            assert parser.patterns((parser.decode(body),)), "a right input must go the quick way"

    compare()


def values_at(shape: Shape) -> Iterator[str]:
    """The JSON of one value of a shape, with each literal at each place below it."""
    yield from ODD + NUMBERS
    if isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            yield from (f'{{"{name}": {value}}}' for value in values_at(member))
    elif isinstance(shape, ListShape):
        yield from (f"[{value}]" for value in values_at(shape.member))
    elif shape.type_name == "string":
        yield from itertools.chain(*strings(shape))


@pytest.mark.parametrize("operation", sorted(PARSERS))
def test_each_literal_at_each_member(operation: str) -> None:
    shape = SERVICE.operation_model(operation).input_shape
    assert isinstance(shape, StructureShape)
    required = "".join(f'"{name}": "a", ' for name in shape.required_members)
    for name, member in shape.members.items():
        for value in values_at(member):
            body = f'{{{required}"{name}": {value}}}'.encode(errors="surrogatepass")
            assert outcome(parse_input, PARSERS[operation], body) == outcome(check_alone, PARSERS[operation], body)


@given(st.binary())
def test_bytes_that_are_no_input(body: bytes) -> None:
    for parser in PARSERS.values():
        assert outcome(parse_input, parser, body) == outcome(check_alone, parser, body)
