"""What is known of an object beside its bytes: its ETag where that is no MD5, and the headers that it was put with.

Objects in the directory have it in files of their own, `.facts/BUCKET/HASH`. Such a file is written before the object
gets its name, and says to which size and time of the object it belongs: an object that was replaced by hand, or a
process that was killed between the two steps, leaves nothing wrong.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FOLDER = ".facts"


@dataclass(frozen=True, slots=True)
class ObjectFacts:
    """`etag`: with its quotes; empty: the MD5 of the bytes. `headers`: names in lower case. `parts`: the sizes of those
    that the object was put in. `source`: the number of the row of which this is a copy, 0: it is none."""

    etag: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[int, ...] = ()
    source: int = 0

    def dump(self) -> str:
        return json.dumps(asdict(self))


NONE = ObjectFacts()


def load_facts(text: str) -> ObjectFacts:
    if not text:
        return NONE
    members = json.loads(text)
    return ObjectFacts(**members | {"parts": tuple(members["parts"])})


def facts_name(bucket: str, key: str) -> str:
    """The path of the file below the directory of objects."""
    return f"{FOLDER}/{bucket}/{hashlib.sha256(key.encode()).hexdigest()}"


def entry(size: int, modified: float, facts: ObjectFacts) -> dict[str, Any]:
    return {"size": size, "modified": round(modified, 3), "facts": facts.dump()}


def entries_text(*entries: Mapping[str, Any]) -> bytes:
    return json.dumps(entries).encode()


def read_facts(root: Path, bucket: str, key: str, status: os.stat_result) -> ObjectFacts:
    """Those of the object as it is in the directory."""
    return load_facts(next((each["facts"] for each in read_entries(root, bucket, key, status)), ""))


def read_entries(root: Path, bucket: str, key: str, status: os.stat_result | None) -> list[dict[str, Any]]:
    """What the file says of that state of the object; none where it says nothing, or cannot be read."""
    if status is None:
        return []
    try:
        known = json.loads((root / facts_name(bucket, key)).read_bytes())
        state = status.st_size, round(status.st_mtime, 3)
        return [each for each in known if (each["size"], each["modified"]) == state]
    except (OSError, ValueError, KeyError, TypeError):
        return []
