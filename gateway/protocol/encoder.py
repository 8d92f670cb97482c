"""Messages to devices -> payload bytes. Must never use a topic, nor decide what is published."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgpack

from gateway.protocol.messages import POLICIES, STATES, Ack, ModelFile, Plan
from gateway.protocol.service_calls import Definition, Deployment

_pack = msgpack.Packer().pack
"""For what has no object that cannot be packed. msgpack.packb makes a Packer, with its buffer, for each message."""
MAX_DETAIL = 120
"""Bytes of an ack's detail."""
_POLICY_NUMBERS = {name: number for number, name in POLICIES.items()}
_STATE_NUMBERS = {name: number for number, name in STATES.items()}


def encode_ack(ack: Ack, max_payload: int | None = None) -> bytes:
    """Where the device's `max_payload` (bytes) is short, the detail is cut, then left out."""
    head = [ack.seq, int(ack.code), ack.time]
    payload: bytes = _pack(head)
    if ack.detail is None:
        return payload
    size = MAX_DETAIL if max_payload is None else min(MAX_DETAIL, max_payload - len(payload) - 2)
    detail = ack.detail.encode(errors="replace")[: max(size, 0)].decode(errors="ignore")
    return msgpack.packb([*head, detail]) if detail else payload


def encode_block(digest: int, index: int, offset: int, total: int, data: bytes) -> bytes:
    """A block of a model file of `total` bytes."""
    payload: bytes = msgpack.packb([digest, index, offset, total, data])
    return payload


def encode_plan(deployments: Iterable[Deployment], sizes: Mapping[str, int] = {}) -> Plan:
    """The plan that the service's deployments make: its digest, and its payload with and without S3 URLs.

    `sizes`: bytes of the model files that are known, by URL. They are in the payloads, and not in the digest.
    """
    deployments = tuple(deployments)
    digest = _digest(msgpack.packb([_deployment(each, {}, urls=True) for each in deployments]))
    full, short = ([_deployment(each, sizes, urls) for each in deployments] for urls in (True, False))
    files = tuple(model_files(deployments))
    return Plan(digest, msgpack.packb([digest, full]), msgpack.packb([digest, short]), files)


def model_files(deployments: Iterable[Deployment]) -> list[ModelFile | None]:
    """The file of each definition, through all deployments; None where there is nothing to read."""
    return [_file(definition) for each in deployments for definition in each.definitions or ()]


def _file(definition: Definition) -> ModelFile | None:
    if definition.state != "DEPLOY" or definition.url is None or definition.checksum is None:
        return None
    return ModelFile(definition.url, definition.checksum.lower(), definition.checksum_type or "SHA1")


def _digest(canonical: bytes) -> int:
    """The first 4 bytes of the SHA-256, cut to 30 bits; never 0, which means that there is no plan."""
    return int.from_bytes(hashlib.sha256(canonical).digest()[:4], "big") & 0x3FFFFFFF or 1


def _deployment(deployment: Deployment, sizes: Mapping[str, int], urls: bool) -> list[Any]:
    definitions = deployment.definitions
    return _without_trailing_nils(
        deployment.name,
        _POLICY_NUMBERS.get(deployment.policy, deployment.policy) if deployment.policy is not None else None,
        None if definitions is None else [_definition(definition, sizes, urls) for definition in definitions],
        None if deployment.type == "Model" else deployment.type,
    )


def _definition(definition: Definition, sizes: Mapping[str, int], urls: bool) -> list[Any]:
    return _without_trailing_nils(
        definition.handle,
        _STATE_NUMBERS.get(definition.state, definition.state) if definition.state is not None else None,
        _checksum(definition.checksum),
        sizes.get(definition.url or ""),
        definition.url if urls else None,
        None if definition.checksum_type == "SHA1" else definition.checksum_type,
    )


def _checksum(text: str | None) -> bytes | str | None:
    if text is not None and len(text) == 40 and all(digit in "0123456789abcdefABCDEF" for digit in text):
        return bytes.fromhex(text)
    return text


def _without_trailing_nils(*elements: Any) -> list[Any]:
    kept = list(elements)
    while kept and kept[-1] is None:
        kept.pop()
    return kept
