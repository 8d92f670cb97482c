"""The payloads that must be rejected, as tables: what make.py turns into malformed.json.

Written by hand from the protocol page. `layout` heartbeats carry their layout, so that no hello needs to be known.
"""
# ruff: noqa: E501
# A row is a line:
# fmt: off

from good import LAYOUT, NOW, VERSION

NAN, INF = float("nan"), float("inf")


def hb(values=None, models=None, have=None, result=None, seq=None, time=NOW, layout=LAYOUT):
    return [layout, time, values, models, have, result, seq]


def hello(metrics=(), models=(), version=VERSION):
    return [1, [version, list(metrics), list(models)]]


MODEL = [VERSION, [], [["keyword-spotting", "1.0", [["sys", "latency-ms"]]]]]

# (name, channel, value, code, why)
VALUES = [
    ("hb-nil", "hb", None, 1, "not an array"),
    ("hb-int", "hb", 5, 1, "not an array"),
    ("hb-str", "hb", "hello", 1, "not an array"),
    ("hb-map", "hb", {"tag": 4711, "time": 89}, 1, "a map instead of an array"),
    ("hb-no-elements", "hb", [], 1, "the first element may not be left out"),
    ("hb-tag-nil", "hb", [None, 89], 1, "neither tag nor layout"),
    ("hb-tag-negative", "hb", [-1, 89], 1, "a tag is unsigned"),
    ("hb-tag-65536", "hb", [65536, 89], 1, "a tag has 16 bits"),
    ("hb-tag-str", "hb", ["4711", 89], 1, "neither tag nor layout"),
    ("hb-tag-float", "hb", [4711.0, 89], 1, "a tag is an int"),
    ("hb-tag-bool", "hb", [True, 89], 1, "a bool is no int"),
    ("hb-time-negative", "hb", hb(time=-1), 1, "a time is unsigned"),
    ("hb-time-float", "hb", hb(time=1.5), 1, "a time is an int"),
    ("hb-time-str", "hb", hb(time="now"), 1, "a time is an int"),
    ("hb-time-2101", "hb", hb(time=4133980800), 4, "after 2100"),
    ("hb-values-map", "hb", hb({"free-heap": 1}), 1, "a map instead of an array"),
    ("hb-values-int", "hb", hb(81344), 1, "values is an array"),
    ("hb-values-too-many", "hb", hb([1, 2]), 1, "the layout has one metric"),
    ("hb-value-nan", "hb", hb([NAN]), 1, "NaN"),
    ("hb-value-inf", "hb", hb([INF]), 1, "infinity"),
    ("hb-value-minus-inf", "hb", hb([-INF]), 1, "infinity"),
    ("hb-value-nan-among-several", "hb", hb([[1, 2, NAN, 1]]), 1, "NaN"),
    ("hb-value-bool", "hb", hb([True]), 1, "a bool is no number"),
    ("hb-value-str", "hb", hb(["81344"]), 1, "a str is no number"),
    ("hb-value-bin", "hb", hb([b"\x01"]), 1, "bytes are no number"),
    ("hb-samples-odd", "hb", hb([[1, 2, 3]]), 1, "a sample without its age"),
    ("hb-samples-nested", "hb", hb([[[1, 2], 3]]), 1, "an array is no number"),
    ("hb-age-negative", "hb", hb([[1, -2]]), 1, "an age is unsigned"),
    ("hb-age-nil", "hb", hb([[1, None]]), 1, "an age is an int"),
    ("hb-age-float", "hb", hb([[1, 2.0]]), 1, "an age is an int"),
    ("hb-models-map", "hb", hb(models={}, layout=MODEL), 1, "a map instead of an array"),
    ("hb-models-too-many", "hb", hb(models=[[1, 2]]), 1, "the layout has no model"),
    ("hb-model-int", "hb", hb(models=[5], layout=MODEL), 1, "a model is an array"),
    ("hb-model-age-negative", "hb", hb(models=[[-4, 2]], layout=MODEL), 1, "an age is unsigned"),
    ("hb-model-samples-too-many", "hb", hb(models=[[4, 2, [1, 2]]], layout=MODEL), 1, "the model has one metric"),
    ("hb-have-negative", "hb", hb(have=-1), 1, "have is unsigned"),
    ("hb-have-str", "hb", hb(have="735928559"), 1, "have is an int"),
    ("hb-seq-negative", "hb", hb(seq=-1), 1, "seq is unsigned"),
    ("hb-seq-str", "hb", hb(seq="7"), 1, "seq is an int"),
    ("hb-result-int", "hb", hb(result=5), 1, "result is an array"),
    ("hb-result-name-int", "hb", hb(result=[5, "SUCCESS"]), 1, "a name is a str"),
    ("hb-result-status-int", "hb", hb(result=["d", 1]), 1, "the deployment's status is a str"),
    ("hb-result-models-map", "hb", hb(result=["d", "SUCCESS", None, 1, 1, {}]), 1, "a map instead of an array"),
    ("hb-result-state-2", "hb", hb(result=["d", "SUCCESS", None, 1, 1, [["kws", None, None, 2, 1, 1]]]), 1, "no state 2"),
    ("hb-result-age-negative", "hb", hb(result=["d", "SUCCESS", None, -1]), 1, "an age is unsigned"),
    ("hb-result-name-pattern", "hb", hb(result=["no spaces", "SUCCESS"]), 4, "breaks DeploymentName's pattern"),
    ("hb-result-name-64", "hb", hb(result=["d" * 64, "SUCCESS"]), 4, "DeploymentName has at most 63 characters"),
    ("hb-layout-int", "hb", [[5], NOW], 1, "agent_version is a str"),
    ("hello-nil", "hello", None, 1, "not an array"),
    ("hello-no-layout", "hello", [1], 1, "the layout may not be left out"),
    ("hello-layout-map", "hello", [1, {}], 1, "a map instead of an array"),
    ("hello-tag-nil", "hello", [None, LAYOUT], 1, "a tag may not be nil"),
    ("hello-epoch-negative", "hello", [1, LAYOUT, -1], 1, "an epoch is unsigned"),
    ("hello-max-payload-str", "hello", [1, LAYOUT, None, "1k"], 1, "max_payload is an int"),
    ("hello-flags-nan", "hello", [1, LAYOUT, None, None, NAN], 1, "flags is an int"),
    ("hello-version-int", "hello", hello(version=1), 1, "agent_version is a str"),
    ("hello-version-nil", "hello", hello(version=None), 1, "a name of the layout may not be nil"),
    ("hello-metric-nil", "hello", hello([None]), 1, "a metric is an array"),
    ("hello-metric-name-nil", "hello", hello([["sys", None]]), 1, "a name of the layout may not be nil"),
    ("hello-metric-short", "hello", hello([["sys"]]), 1, "a name of the layout may not be left out"),
    ("hello-metric-bin", "hello", hello([[b"sys", "free-heap"]]), 1, "text comes as str"),
    ("hello-exponent-31", "hello", hello([["sys", "free-heap", 31]]), 1, "exponents end at 30"),
    ("hello-exponent-minus-31", "hello", hello([["sys", "free-heap", -31]]), 1, "exponents begin at -30"),
    ("hello-exponent-float", "hello", hello([["sys", "free-heap", 1.0]]), 1, "an exponent is an int"),
    ("hello-model-short", "hello", hello(models=[["keyword-spotting"]]), 1, "a name of the layout may not be left out"),
    ("hello-version-pattern", "hello", hello(version="1.0!"), 4, "breaks AgentVersion's pattern"),
    ("hello-version-empty", "hello", hello(version=""), 4, "AgentVersion has at least one character"),
    ("hello-version-65", "hello", hello(version="1" * 65), 4, "AgentVersion has at most 64 characters"),
    ("hello-metric-name-3", "hello", hello([["sys", "cpu"]]), 4, "MetricName has at least 4 characters"),
    ("hello-metric-name-101", "hello", hello([["sys", "m" * 101]]), 4, "MetricName has at most 100 characters"),
    ("hello-metric-name-newline", "hello", hello([["sys", "free-heap\n"]]), 4, "a trailing newline is no part of the pattern"),
    ("hello-dimension-pattern", "hello", hello([["sys!", "free-heap"]]), 4, "breaks Dimension's pattern"),
    ("hello-model-name-3", "hello", hello(models=[["kws", "1.0", []]]), 4, "ModelName has at least 4 characters"),
    ("get-int", "get", 5, 1, "not an array"),
    ("get-have-negative", "get", [-5], 1, "have is unsigned"),
    ("get-have-bool", "get", [False], 1, "a bool is no int"),
    ("get-seq-float", "get", [5, 1.0], 1, "seq is an int"),
    ("live-no-elements", "live", [], 1, "the state may not be left out"),
    ("live-state-nil", "live", [None, 60], 1, "a state is unsigned"),
    ("live-state-bool", "live", [True, 60], 1, "a bool is no int"),
    ("live-state-float", "live", [1.0, 60], 1, "a state is an int"),
    ("live-seconds-negative", "live", [1, -1], 1, "seconds are unsigned"),
    ("live-seconds-float", "live", [2, 4294967296.0], 1, "seconds are an int"),
    ("live-int", "live", 1, 1, "not an array"),
    ("read-short", "read", [5, 0, 0], 1, "the length may not be left out"),
    ("read-nil", "read", [5, None, 0, 512], 1, "an index may not be nil"),
    ("read-offset-negative", "read", [5, 0, -1, 512], 1, "an offset is unsigned"),
    ("read-count-65", "read", [5, 0, 0, 512, 65], 4, "at most 64 blocks"),
    ("read-length-65537", "read", [5, 0, 0, 65537], 4, "at most 64 KiB"),
    # What a device does with such a payload is not to crash: it has nobody to report it to.
    ("plan-nil", "plan", None, None, "not an array"),
    ("plan-digest-str", "plan", ["735928559", []], None, "a digest is an int"),
    ("plan-no-deployments", "plan", [5], None, "the deployments may not be left out"),
    ("plan-deployments-int", "plan", [5, 5], None, "the deployments are an array"),
    ("plan-deployment-int", "plan", [5, [5]], None, "a deployment is an array"),
    ("plan-definition-map", "plan", [5, [["d", 0, [{}]]]], None, "a definition is an array"),
    ("ack-short", "ack", [5, 0], None, "the time may not be left out"),
    ("ack-code-nil", "ack", [5, None, NOW], None, "a code may not be nil"),
    ("ack-code-bool", "ack", [5, False, NOW], None, "a bool is no int"),
    ("block-data-str", "block", [5, 0, 0, 3, "abc"], None, "data is bin"),
]

# (name, channel, hex, code, why)
BYTES = [
    ("hb-empty", "hb", "", 1, "no object"),
    ("read-empty", "read", "", 1, "no object (on `get` alone an empty payload means something)"),
    ("hb-truncated-array", "hb", "95cd126759", 1, "truncated after two of five elements"),
    ("hb-truncated-int", "hb", "92cd12", 1, "truncated inside an int"),
    ("hb-truncated-str", "hb", "929391a5312e30", 1, "truncated inside a str"),
    ("hb-trailing-garbage", "hb", "92cd126759c1", 1, "a byte after the object"),
    ("hb-two-objects", "hb", "92cd12675992cd126759", 1, "two objects"),
    ("hb-code-c1", "hb", "92cd1267c1", 1, "a code that msgpack never uses"),
    ("hb-ext", "hb", "92cd1267d60100000000", 1, "an extension is no time"),
    ("hb-timestamp-ext", "hb", "92cd1267d6ff6b048628", 1, "nor is msgpack's timestamp"),
    ("hb-float32-nan", "hb", "93cd12675991ca7fc00000", 1, "NaN in 32 bits"),
    ("hello-cut-short", "hello", "9201 93 a3312e30 90", 1, "truncated inside the layout"),
    ("hb-array32-claim", "hb", "93cd126759ddffffffff", 1, "claims 4,294,967,295 elements and has none"),
    ("hb-array16-claim", "hb", "93cd126759dcffff01", 1, "claims 65,535 elements and has one"),
    ("hb-map32-claim", "hb", "dfffffffff", 1, "claims 4,294,967,295 pairs and has none"),
    ("hb-bin32-claim", "hb", "93cd126759c6ffffffff00", 1, "claims 4 GiB of bytes and has one"),
    ("hb-str32-claim", "hb", "93cd126759dbffffffff61", 1, "claims 4 GiB of text and has one letter"),
    ("hb-ext32-claim", "hb", "93cd126759c9ffffffff0161", 1, "claims an extension of 4 GiB"),
    ("hello-invalid-utf-8", "hello", "920193 a3ffffff 90 90", 1, "no UTF-8"),
    ("hello-cut-utf-8", "hello", "920193 a2c3c3 90 90", 1, "no UTF-8: a sequence that does not end"),
    ("plan-truncated", "plan", "9205 91 93 a164 00", None, "truncated"),
    ("plan-claim", "plan", "9205 ddffffffff", None, "claims 4,294,967,295 deployments and has none"),
    ("plan-invalid-utf-8", "plan", "9205 91 93 a1ff 00 90", None, "no UTF-8"),
    ("ack-empty", "ack", "", None, "no object"),
    ("ack-two-objects", "ack", "931100ce6b048628 c0", None, "two objects"),
]

# (name, channel, prefix, repeated, times, suffix, code, why): too long to be stored
RULES = [
    ("hb-nested-arrays", "hb", "", "91", 10000, "c0", 1, "10,000 levels"),
    ("hb-nested-in-values", "hb", "93cd126759", "91", 10000, "01", 1, "10,000 levels below values"),
    ("hb-nested-maps", "hb", "", "81a161", 10000, "c0", 1, "10,000 levels of maps"),
    ("hb-nested-unknown", "hb", "98cd126759c0c0c0c0c0", "91", 10000, "c0", 1, "10,000 levels in an unknown trailing element"),
    ("hb-nested-unfinished", "hb", "", "91", 10000, "", 1, "10,000 levels, and truncated"),
    ("hello-nested", "hello", "9201", "91", 10000, "c0", 1, "10,000 levels instead of a layout"),
    ("hb-1-mb", "hb", "93cd126759c600100000", "00", 1048576, "", 1, "larger than the gateway's bound for a payload"),
    ("plan-nested", "plan", "9205", "91", 10000, "c0", None, "10,000 levels"),
    ("ack-nested", "ack", "", "91", 10000, "c0", None, "10,000 levels"),
]
