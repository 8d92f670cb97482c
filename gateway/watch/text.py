"""The content of a message as one printable line. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway.errors import code_words, printable
from gateway.protocol import Channel
from gateway.watch.samples import NamedSample

DELETED = "empty: deletes what is retained"


def content_text(channel: str, named: Mapping[str, Any] | None, samples: Sequence[NamedSample] | None = None) -> str:
    """`named`: the elements by their names; None: the empty payload. `samples`: where a heartbeat's layout is known."""
    if named is None:
        return DELETED
    elements = dict(named)
    first: list[str] = []
    if channel == Channel.HEARTBEAT:
        if samples is not None:
            first = [_sample(each) for each in samples]
            elements.pop("values", None)
            elements["models"] = [_ages(each) for each in elements.get("models") or () if each]
        elif "tag" in elements:
            first = [f"the hello of tag {elements['tag']} was not seen"]
    if channel == Channel.ACK:
        code = elements["code"]
        elements["code"] = f"{code} ({code_words(code)})"
    if channel == Channel.BLOCK:
        elements["data"] = f"{len(elements['data']) // 2:,} bytes"
    if "layout" in elements:
        elements["layout"] = _layout(elements["layout"], with_names=not first)
    return printable(", ".join([*first, *_words(elements)]))


def number_text(value: float) -> str:
    """As JSON has it, a float in at most ten digits."""
    return str(value) if isinstance(value, int) else f"{value:.10g}"


def _sample(sample: NamedSample) -> str:
    model = "" if sample.model is None else f"{sample.model} "
    age = f" ({sample.age} s before)" if sample.age else ""
    return f"{model}{sample.metric} {number_text(sample.value)}{age}"


def _ages(model: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in model.items() if name != "samples"}


def _layout(layout: Mapping[str, Any], with_names: bool) -> str:
    version = f"agent_version {layout['agent_version']}"
    if not with_names:
        return f"({version})"
    models = [
        f"{model['name']} {model['version']} [{_metrics(model.get('metrics') or ())}]"
        for model in layout.get("models") or ()
    ]
    return f"({', '.join([version, _metrics(layout.get('metrics') or ()), *models])})"


def _metrics(metrics: Iterable[Mapping[str, Any]]) -> str:
    return ", ".join(
        f"{each['dimension']}/{each['name']}" + (f" e{each['exponent']}" if each.get("exponent") else "")
        for each in metrics
    )


def _words(elements: Mapping[str, Any]) -> list[str]:
    return [f"{name} {_word(value)}" for name, value in elements.items() if value not in (None, [], {})] or [
        "(nothing)"
    ]


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return f"({', '.join(_words(value))})"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_word, value))}]"
    if value is None:
        return "nil"
    return number_text(value) if isinstance(value, int | float) else str(value)
