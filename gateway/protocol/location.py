"""Where in a payload a mistake is, for a person: the decoder says what is wrong, and this finds the byte. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgpack

from gateway.errors import MessageError

MAX_LEAVES = 512
"""Elements that are looked at one by one; of a payload with more, those of the outermost array."""
MAX_DEPTH = 16
_NIL = 0xC0
_ARRAYS = frozenset((*range(0x90, 0xA0), 0xDC, 0xDD))
"""First bytes of arrays."""


@dataclass(slots=True)
class _Node:
    """An element: payload[start:end]. `first`: the number of the first element in it that is no array."""

    start: int
    first: int
    end: int = 0
    children: "list[_Node]" = field(default_factory=list)


class _Malformed(Exception):
    """No msgpack object from the byte `args[0]` on."""


def find_byte(payload: bytes, check: Callable[[bytes], object]) -> int:
    """Where the element begins at which `check` raises its MessageError, or where the payload is not msgpack any more.

    It is found by trying shorter payloads: the last element without which there is another outcome.
    """
    for depth in (MAX_DEPTH, 1):
        try:
            root = _Tree(payload, depth).root
        except _Malformed as error:
            return int(error.args[0])
        leaves = list(_leaves(root))
        if len(leaves) <= MAX_LEAVES:
            break
    if root.end < len(payload):
        return root.end
    if len(leaves) > MAX_LEAVES or not root.children:
        return root.start
    wrong = _outcome(check, payload)
    found = leaves[0]
    for leaf in leaves[:0:-1]:
        if _outcome(check, _cut(payload, root, leaf.first - 1)) != wrong:
            found = leaf
            break
    after = leaves[found.first + 1 : found.first + 2]
    if after and wrong and ": nil where" in wrong and payload[after[0].start] == _NIL != payload[found.start]:
        return after[0].start  # what is nil there has the same outcome as what is missing
    return found.start


def _outcome(check: Callable[[bytes], object], payload: bytes) -> str | None:
    try:
        check(payload)
    except MessageError as error:
        return error.detail
    return None


class _Tree:
    """Arrays and their elements, down to `depth`."""

    def __init__(self, payload: bytes, depth: int) -> None:
        self._payload = payload
        self._unpacker = msgpack.Unpacker(max_buffer_size=max(len(payload), 1))
        self._unpacker.feed(payload)
        self._leaves = 0
        self.root = self._read(depth)

    def _read(self, depth: int) -> _Node:
        start = self._unpacker.tell()
        node = _Node(start, self._leaves)
        try:
            if depth and self._payload[start : start + 1] and self._payload[start] in _ARRAYS:
                count = self._unpacker.read_array_header()
                node.children = [self._read(depth - 1) for _ in range(count)]
            else:
                self._unpacker.skip()
        except msgpack.OutOfData:
            raise _Malformed(len(self._payload)) from None
        except (msgpack.UnpackException, ValueError):
            raise _Malformed(start) from None
        node.end = self._unpacker.tell()
        self._leaves += not node.children
        return node


def _leaves(node: _Node) -> Iterator[_Node]:
    if not node.children:
        yield node
    for child in node.children:
        yield from _leaves(child)


def _cut(payload: bytes, node: _Node, last: int) -> bytes:
    """The element without what comes after the leaf of that number."""
    if not node.children:
        return payload[node.start : node.end]
    kept = [_cut(payload, child, last) for child in node.children if child.first <= last]
    header: bytes = msgpack.Packer().pack_array_header(len(kept))
    return header + b"".join(kept)
