"""The XML of S3's requests and responses. No I/O."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from gateway.manager.errors import S3Error

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_CONTROL = re.compile("[\x00-\x1f\x7f\ufffe\uffff]")


class Markup(str):
    """XML, and not text that is to be escaped."""


def element(name: str, *contents: str | Markup) -> Markup:
    """Texts are escaped; a control character becomes a reference, as S3 writes it."""
    inner = "".join(each if isinstance(each, Markup) else _text(each) for each in contents)
    return Markup(f"<{name}>{inner}</{name}>")


def optional(name: str, text: str | None) -> Markup:
    """Nothing where there is no text."""
    return Markup("") if text is None else element(name, text)


def document(name: str, *contents: str | Markup) -> bytes:
    inner = "".join(contents)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{name} xmlns="{_NAMESPACE}">{inner}</{name}>'.encode()


def timestamp(seconds: float) -> str:
    """In whole milliseconds: `aws s3 sync` compares it with the times of files."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_document(body: bytes, name: str) -> ElementTree.Element:
    """The root element, with names without their namespaces. Raises S3Error where it is no such document.

    A document type is refused: its entities could make a large text of a small body.
    """
    try:
        if b"<!" in body:
            raise ElementTree.ParseError
        root = ElementTree.fromstring(body)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise malformed() from error
    for each in root.iter():
        each.tag = each.tag.rpartition("}")[2]
    if root.tag != name:
        raise malformed()
    return root


def malformed() -> S3Error:
    detail = "The XML you provided was not well-formed or did not validate against our published schema"
    return S3Error("MalformedXML", detail, 400)


def children(parent: ElementTree.Element, name: str) -> Iterable[ElementTree.Element]:
    return (each for each in parent if each.tag == name)


def _text(text: str) -> str:
    return _CONTROL.sub(lambda found: f"&#x{ord(found.group()):X};", escape(text))
