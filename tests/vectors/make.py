"""Writes the vectors beside it: `python tests/vectors/make.py`. The bytes come from `msgpack`, in shortest forms.

Uses nothing of the gateway or of the device SDK: they are checked against these files.
"""

import hashlib
import json
import re
from pathlib import Path

import msgpack
from bad import BYTES, RULES, VALUES
from good import GROWN, MESSAGES, NOW, WIDTHS
from plans import PLANS

HERE = Path(__file__).parent
# (n, exponent, the float): the float is Python's reading of the decimal, which is the nearest one
NUMBERS = [
    (3, -1), (365, -1), (-61, 0), (50, -2), (1, -30), (1, 30), (7, 22), (7, 23), (123456789, -9), (-5, -1), (0, -5),
    (18446744073709551615, 0), (18446744073709551615, -30), (-9223372036854775808, 30), (9007199254740993, 0),
    (1, 0), (29, -2), (57, -2), (1005, -3), (2675, -3),
]  # fmt: skip


def pack(value: object) -> bytes:
    return msgpack.packb(value, use_bin_type=True)


def as_json(value: object) -> object:
    """Bytes as {"bin": hex}; a map as {"map": [[key, value], ...]}; what JSON has no word for as {"float": "nan"}."""
    if isinstance(value, bytes):
        return {"bin": value.hex()}
    if isinstance(value, dict):
        return {"map": [[as_json(k), as_json(v)] for k, v in value.items()]}
    if isinstance(value, float) and not abs(value) < float("inf"):
        return {"float": str(value)}
    return [as_json(item) for item in value] if isinstance(value, list) else value


def row(name: str, channel: str, data: bytes, **more: object) -> dict:
    return {"name": name, "channel": channel, "hex": data.hex(), **more}


def messages() -> list[dict]:
    out = []
    for name, channel, value, means in MESSAGES:
        out.append(row(name, channel, pack(value), value=as_json(value), means=means))
    for name, channel, value, known in GROWN:
        means = "what follows the elements that version 1 knows is ignored"
        out.append(row(name, channel, pack(value), value=as_json(value), known=as_json(known), means=means))
    for name, channel, value, other in WIDTHS:
        data = bytes.fromhex(other)
        assert msgpack.unpackb(data) == value, name
        out.append(row(name, channel, data, value=as_json(value), shortest=False, means="the same in other widths"))
    out.append(row("get-empty-payload", "get", b"", value=[0], shortest=False, means="an empty payload means [0]"))
    return out


def malformed() -> list[dict]:
    out = []
    for name, channel, value, code, why in VALUES:
        out.append(row(name, channel, pack(value), value=as_json(value), code=code, why=why))
    for name, channel, text, code, why in BYTES:
        out.append(row(name, channel, bytes.fromhex(text), code=code, why=why))
    for name, channel, prefix, repeat, times, suffix, code, why in RULES:
        rule = {"prefix": prefix, "repeat": repeat, "times": times, "suffix": suffix}
        out.append({"name": name, "channel": channel, "rule": rule, "code": code, "why": why})
    return out


def trimmed(values: list) -> list:
    while values and values[-1] is None:
        values.pop()
    return values


def definition(item: dict, urls: bool, size: int | None) -> list:
    checksum = item.get("Checksum", {})
    total = checksum.get("Sum")
    if total is not None and re.fullmatch("[0-9a-f]{40}", total):
        total = bytes.fromhex(total)
    state = {"DEPLOY": 1, "UNDEPLOY": 0}.get(item.get("State"), item.get("State"))
    kind = None if checksum.get("Type") == "SHA1" else checksum.get("Type")
    return trimmed([item.get("ModelHandle"), state, total, size, item.get("S3Url") if urls else None, kind])


def deployment(item: dict, urls: bool, sizes: dict) -> list:
    policy = item.get("FailureHandlingPolicy")
    policy = {"ROLLBACK_ON_FAILURE": 0, "DO_NOTHING": 1}.get(policy, policy)
    definitions = item.get("Definitions")
    if definitions is not None:
        definitions = [definition(each, urls, sizes.get(each.get("S3Url"))) for each in definitions]
    kind = None if item.get("Type") == "Model" else item.get("Type")
    return trimmed([item.get("DeploymentName"), policy, definitions, kind])


def digest(canonical: bytes) -> int:
    return int.from_bytes(hashlib.sha256(canonical).digest()[:4], "big") & 0x3FFFFFFF or 1


def plan(number: int, answer: dict, urls: bool, sizes: dict) -> bytes:
    return pack([number, [deployment(item, urls, sizes) for item in answer["Deployments"]]])


def digests() -> list[dict]:
    out = []
    for name, answer, sizes, means in PLANS:
        canonical = pack([deployment(item, True, {}) for item in answer["Deployments"]])
        number = digest(canonical)
        about = {"name": name, "means": means, "answer": answer, "sizes": sizes}
        plans = {"plan": plan(number, answer, True, sizes).hex()}
        plans["plan_without_urls"] = plan(number, answer, False, sizes).hex()
        out.append({**about, "canonical": canonical.hex(), "digest": number, **plans})
    return out


def values() -> list[dict]:
    return [{"n": n, "exponent": e, "value": float(f"{n}e{e}")} for n, e in NUMBERS]


def write(name: str, about: str, rows: list[dict]) -> None:
    lines = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in rows)
    about = json.dumps(about, ensure_ascii=False)
    (HERE / name).write_text(f'{{"about": {about}, "now": {NOW},\n "vectors": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    write("messages.json", "Payloads of the protocol's form; README.md has the format.", messages())
    write("malformed.json", "Payloads that must be refused whole, and the ack's code.", malformed())
    write("digests.json", "GetDeployments' answers, their digests and plans.", digests())
    write("values.json", "Samples under an exponent.", values())
