"""Where a packaging job puts the file of a package: an object of its OutputConfig.S3OutputLocation. No I/O."""

import re

_LOCATION = re.compile(r"s3://([a-z0-9][a-z0-9.-]+)(?:/([^\x00-\x1f\x7f\ud800-\udfff]*))?")
_SUFFIX = re.compile(r"(?:\.tar)?\.[A-Za-z0-9]{1,16}$")
MOST = 1024
"""Characters of a URL in GetDeployments."""


def output_place(location: str) -> tuple[str, str] | None:
    """Bucket and prefix, which may be empty and has no slash at its ends; None: it names no bucket of S3."""
    found = _LOCATION.fullmatch(location)
    return None if found is None else (found[1], (found[2] or "").strip("/"))


def artifact_place(location: str, job: str, model: str, version: str, source: str) -> tuple[str, str] | None:
    """Bucket and key of the package that `job` makes of the object `source` (S3 URL), whose suffix it keeps.

    None: as for `output_place`.
    """
    place = output_place(location)
    if place is None:
        return None
    suffix = _SUFFIX.search(source.rpartition("/")[2])
    name = f"{model}-{version.replace(' ', '_')}{suffix[0] if suffix else ''}"
    return place[0], "/".join(each for each in (place[1], job, name) if each)
