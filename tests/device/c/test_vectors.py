"""The C client makes and reads every vector of the protocol, compiled by gcc with every warning and the sanitizers."""

import json
import struct
import subprocess
from pathlib import Path

import msgpack
import pytest

from gateway.protocol import decoder
from gateway.protocol.messages import Hello
from tests.support.arrivals import DEADLINE_S
from tests.support.vectors import load, payload

from .conftest import HERE, build

TO_DEVICE = ["plan", "ack", "block"]
FROM_DEVICE = ["hello", "hb", "get", "read", "live"]
VERSION = "1.0.0"
SHORTER = {
    "hello-utf-8": [1, [VERSION, [], []]],
    "hello-exponent-nil": [1, [VERSION, [["sys", "free-heap"]], []]],
    "hb-metric-grown": [[VERSION, [["sys", "free-heap"]], []], 1795458600, [1]],
    "hb-models-nil": [4711, 89],
    "hb-values-empty": [4711, 89],
}
"""What the client writes instead: it leaves out what says nothing."""


def trimmed(value):
    """Without the nils at the ends of its arrays."""
    if not isinstance(value, list):
        return value
    items = [trimmed(each) for each in value]
    while items and items[-1] is None:
        items.pop()
    return items


def python_value(item):
    """The Python value of a vector's JSON."""
    if isinstance(item, list):
        return [python_value(each) for each in item]
    return bytes.fromhex(item["bin"]) if isinstance(item, dict) else item


@pytest.mark.parametrize("vector", load("messages.json", *TO_DEVICE), ids=lambda vector: vector["name"])
def test_a_message_is_read(device, vector):
    value = vector.get("known", vector["value"])
    assert trimmed(device.decode(vector["channel"], payload(vector))) == trimmed(python_value(value))


@pytest.mark.parametrize("vector", load("malformed.json", *TO_DEVICE), ids=lambda vector: vector["name"])
def test_what_is_malformed_is_refused(device, vector):
    assert device.decode(vector["channel"], payload(vector)) is None


@pytest.mark.parametrize("member", ["plan", "plan_without_urls"])
def test_plans_of_the_services_answers_are_read(device, member):
    for vector in load("digests.json"):
        found = device.decode("plan", bytes.fromhex(vector[member]))
        assert found[0] == vector["digest"], vector["name"]
        assert trimmed(found) == trimmed(msgpack.unpackb(bytes.fromhex(vector[member]))), vector["name"]


def test_every_prefix_of_a_message_is_refused(device):
    for vector in load("messages.json", *TO_DEVICE):
        data = payload(vector)
        for size in range(len(data)):
            assert device.decode(vector["channel"], data[:size]) is None, (vector["name"], size)


@pytest.mark.parametrize(
    ("channel", "text", "is_taken"),
    [
        ("ack", "9301d0ff05", False),
        ("ack", "9301d17fff05", True),
        ("ack", "93ff0005", False),
        ("ack", "9501 00 05 c0 d6ff00000000", True),
        ("ack", "9501 00 05 c0 d6ff000000", False),
        ("ack", "9501 00 05 c0 c700ff", True),
        ("ack", "9501 00 05 c0 c700", False),
        ("ack", "9501 00 05 c0 8201028182c0c3", False),
        ("ack", "9501 00 05 c0 8201020304", True),
        ("plan", "92ce3fffffff90", True),
        ("plan", "92ce4000000090", False),
        ("plan", "9201919300 00 90", False),
        ("plan", "92019193a164 02 90", False),
        ("plan", "92019193a164 01 9192a16b02", False),
        ("plan", "92019193a164 01 9192a16b01", True),
    ],
)
def test_the_edges_of_the_form(device, channel, text, is_taken):
    assert (device.decode(channel, bytes.fromhex(text)) is not None) == is_taken


@pytest.mark.parametrize(
    "text",
    ["c080", "c1bf", "e08080", "e09fbf", "eda080", "edbfbf", "f0808080", "f08fbfbf", "f4908080", "f5808080", "ff", "80",
     "c3", "e282", "f09f98", "c328", "e228a1", "f0288cbc", "bf"],
)  # fmt: skip
def test_text_that_is_no_utf_8_is_refused(device, text):
    data = bytes.fromhex(text)
    assert device.decode("ack", b"\x94\x01\x00\x05" + bytes([0xA0 + len(data)]) + data) is None


@pytest.mark.parametrize(
    "text", ["", "\0", "\x7f", "\x80", "߿", "ࠀ", "퟿", "\ue000", "\uffff", "\U00010000", "\U0010ffff"]
)
def test_text_that_is_utf_8_is_read(device, text):
    assert device.decode("ack", msgpack.packb([1, 0, 5, text])) == [1, 0, 5, text]


# ---- Writing: a program in C is made of the vectors' values ----


def c_text(text: str | None) -> str:
    return "NULL" if text is None else json.dumps(text)


def c_span(text: str | None) -> str:
    return "{NULL, 0}" if text is None else f"{{{c_text(text)}, {len(text.encode())}}}"


def c_enum(value) -> str:
    return c_span(value) if value is None or isinstance(value, str) else f"{{NULL, {value + 2}}}"


def c_number(value: int | None) -> str:
    return "EG_NIL" if value is None else f"{value}u"


def c_sample(metric: int, time: int, number: float, is_short: bool) -> str:
    if isinstance(number, int):
        bits, kind = number % 2**64, "EG_INT" if number < 2**63 else "EG_UINT"
    elif is_short:
        bits, kind = struct.unpack(">I", struct.pack(">f", number))[0], "EG_FLOAT"
    else:
        bits, kind = struct.unpack(">Q", struct.pack(">d", number))[0], "EG_DOUBLE"
    return f"{{{bits}u, {time}u, {metric}, {kind}, false}}"


class Program:
    """The C source of a program that prints a line `name hex` for each vector."""

    NOW = 100_000
    """Of the device's clock, from which ages are counted back."""

    def __init__(self) -> None:
        self._tables: list[str] = []
        self._calls: list[str] = []

    def table(self, kind: str, rows: list[str]) -> str:
        """Its name. C has no empty ones."""
        name = f"t{len(self._tables)}"
        self._tables.append(f"static const {kind} {name}[] = {{{', '.join(rows) or '{0}'}}};")
        return name

    def time(self, age: int | None) -> str:
        return c_number(None if age is None else self.NOW - age)

    def metrics(self, rows: list) -> str:
        made = [f"{{{c_text(row[0])}, {c_text(row[1])}, {(row + [None])[2] or 0}}}" for row in rows]
        return f"{self.table('eg_metric', made)}, {len(rows)}"

    def layout(self, value: list) -> str:
        version, metrics, models = value[:3]
        made = [f"{{{c_text(name)}, {c_text(number)}, {self.metrics(rows)}}}" for name, number, rows in models]
        row = f"{{{c_text(version)}, {self.metrics(metrics)}, {self.table('eg_model', made)}, {len(models)}}}"
        return self.table("eg_layout", [row])

    def samples(self, first: int, row: list | None, is_short: bool) -> list[str]:
        made = []
        for metric, cell in enumerate(row or (), first):
            pairs = cell if isinstance(cell, list) else [] if cell is None else [cell, 0]
            for number, age in zip(pairs[::2], pairs[1::2], strict=True):
                made.append(c_sample(metric, self.NOW - age, number, is_short))
        return made

    def call(self, name: str, encode: str, before: str = "") -> None:
        self._calls.append(f'    {{\n{before}        PRINT("{name}", {encode}, payload, size));\n    }}')

    def hello(self, name: str, value: list) -> None:
        tag, layout, epoch, most, flags = (value + [None] * 5)[:5]
        row = f"{{{tag}, {self.layout(layout)}, {c_number(epoch)}, {c_number(most)}, {c_number(flags)}}}"
        table = self.table("eg_hello", [row])
        self.call(name, f"eg_encode_hello({table}")

    def hb(self, name: str, value: list, worked: list) -> None:
        source, time, values, models, have, result, seq = (value + [None] * 7)[:7]
        layout = source if isinstance(source, list) else worked
        rows = [(row or []) + [None] * (3 - len(row or [])) for row in models or [None] * len(layout[2])]
        rows += [[None] * 3] * (len(layout[2]) - len(rows))
        samples = self.samples(0, values, "float32" in name)
        metric = len(layout[1])
        for row, model in zip(rows, layout[2], strict=True):
            samples += self.samples(metric, row[2], "float32" in name)
            metric += len(model[2])
        times = [f"{{{self.time(row[0])}, {self.time(row[1])}}}" for row in rows]
        tag = 0 if isinstance(source, list) else source
        made = (
            f"{{{tag}, {self.layout(layout)}, {c_number(time)}, {self.NOW}, {self.table('eg_sample', samples)}, "
            f"{len(samples)}, {self.table('eg_times', times)}, {c_number(have)}, NULL, {c_number(seq)}}}"
        )
        table = self.table("eg_heartbeat", [made])
        kind = "_layout" if isinstance(source, list) else ""
        before = f"        eg_heartbeat hb = {table}[0];\n" + (self.result(result) if result else "")
        self.call(name, f"eg_encode_heartbeat{kind}(&hb", before)

    def result(self, value: list) -> str:
        name, status, message, start, end, models = (value + [None] * 6)[:6]
        rows = []
        for model in models or ():
            row = (model + [None] * 8)[:8]
            members = [c_enum(each) if 3 <= place < 6 else c_span(each) for place, each in enumerate(row)]
            rows.append(f"{{{', '.join(members)}}}")
        table = "NULL, 0" if models is None else f"{self.table('eg_model_result', rows)}, {len(rows)}"
        outcome = self.table("eg_outcome", [f"{{{c_span(name)}, {c_span(status)}, {c_span(message)}, {table}}}"])
        return (
            "        uint8_t bytes[300];\n        eg_result result;\n"
            f"        if (eg_encode_result({outcome}, bytes, sizeof bytes, &result) > sizeof bytes)\n"
            "            abort();\n"
            f"        result.started = {self.time(start)};\n        result.ended = {self.time(end)};\n"
            "        hb.result = &result;\n"
        )

    def get(self, name: str, value: list) -> None:
        have, seq = (value + [None] * 2)[:2]
        table = self.table("eg_get", [f"{{{c_number(have)}, {c_number(seq)}}}"])
        self.call(name, f"eg_encode_get({table}")

    def live(self, name: str, value: list) -> None:
        state, seconds = (value + [None])[:2]
        self.call(name, f"eg_encode_live((eg_state){state}, {c_number(seconds)}")

    def read(self, name: str, value: list) -> None:
        table = self.table("eg_read", [f"{{{', '.join(c_number(each) for each in (value + [None])[:5])}}}"])
        self.call(name, f"eg_encode_read({table}")

    def source(self) -> str:
        tables, calls = "\n".join(self._tables), "\n".join(self._calls)
        return f"{(HERE / 'encoded.c').read_text()}\n{tables}\n\nint main(void)\n{{\n{calls}\n}}\n"


def written(vectors: list, folder: Path) -> dict[str, bytes]:
    """What the client makes of the values of these vectors, by their names."""
    program = Program()
    worked = next(each["value"][1] for each in load("messages.json") if each["name"] == "hello-worked-example")
    for vector in vectors:
        more = (worked,) if vector["channel"] == "hb" else ()
        getattr(program, vector["channel"])(vector["name"], vector.get("known", vector["value"]), *more)
    source = folder / "vectors.c"
    source.write_text(program.source())
    done = subprocess.run(
        [build(source, folder / "vectors", "-Wno-missing-braces", "-Wno-missing-field-initializers")],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 0, done.stderr
    return {name: bytes.fromhex(text) for name, text in (line.split() for line in done.stdout.splitlines())}


def test_every_message_is_written(tmp_path):
    vectors = load("messages.json", *FROM_DEVICE)
    made = written(vectors, tmp_path)
    assert made.keys() == {vector["name"] for vector in vectors}
    exact = 0
    for vector in vectors:
        name = vector["name"]
        if name not in SHORTER and "known" not in vector and (vector.get("shortest", True) or "float32" in name):
            assert made[name] == payload(vector), name
            exact += 1
        value = SHORTER.get(name, vector.get("known", vector["value"]))
        assert trimmed(msgpack.unpackb(made[name])) == trimmed(value), name
    assert exact > 40


def test_numbers_under_an_exponent_arrive_as_the_vectors_say(tmp_path):
    vectors = []
    for place, row in enumerate(load("values.json")):
        layout = ["1.0.0", [["sys", "free-heap", row["exponent"]]], []]
        vectors.append({"name": f"hello-{place}", "channel": "hello", "value": [1, layout], "row": row})
        vectors.append({"name": f"hb-{place}", "channel": "hb", "value": [layout, 1, [row["n"]]], "row": row})
    made = written(vectors, tmp_path)
    for place, row in enumerate(load("values.json")):
        hello = decoder.decode_hello(made[f"hello-{place}"])
        assert isinstance(hello, Hello)
        assert (hello.layout.metrics[0].exponent or 0) == row["exponent"]
        assert msgpack.unpackb(made[f"hb-{place}"])[2] == [row["n"]]


def test_long_arrays_and_texts(tmp_path):
    metrics = [["d" * (8 * place + 1), "metric-%02d" % place, place - 30] for place in range(40)]
    models = [[f"model-{place}", "1.0", metrics[:1]] for place in range(20)]
    layout = ["1.0.0", metrics, models]
    several = [each for age in range(40) for each in (age * 7, age)]
    values = {
        "hello-long": [1, layout, None, 512],
        "hb-values-begin": [layout, 1, [5, None, several]],
        "hb-values-end": [layout, 1, [None] * 39 + [1]],
        "hb-models-begin": [layout, 1, None, [None, [None, None, [3]]]],
        "hb-models-end": [layout, 1, None, [None] * 19 + [[4, 2]]],
        "hb-models-none": [layout, 1, None, None, 7],
        "hb-result": [layout, 1, None, None, 7, ["d" * 63, "FAIL", "m" * 100, None, None, [["kws", None, "1"]] * 3]],
    }
    made = written(
        [{"name": name, "channel": name.split("-")[0], "value": value} for name, value in values.items()], tmp_path
    )
    for name, value in values.items():
        expected = trimmed(value)
        expected[1 if name == "hello-long" else 0][1][30].pop()  # an exponent of 0 is left out
        assert trimmed(msgpack.unpackb(made[name])) == expected, name


def test_ints_of_every_width(tmp_path):
    numbers = {
        n + step
        for shift in (0, 5, 7, 8, 15, 16, 31, 32, 63)
        for n in (1 << shift, -(1 << shift))
        for step in (-1, 0, 1)
    }
    numbers = sorted(n for n in numbers if -(1 << 63) <= n < 1 << 64)
    layout = ["1.0.0", [["sys", "free-heap"]], []]
    vectors = [{"name": f"hb-{place}", "channel": "hb", "value": [layout, 1, [n]]} for place, n in enumerate(numbers)]
    made = written(vectors, tmp_path)
    for place, n in enumerate(numbers):
        assert msgpack.unpackb(made[f"hb-{place}"])[2] == [n]
        assert len(made[f"hb-{place}"]) == len(msgpack.packb([layout, 1, [n]])), n
