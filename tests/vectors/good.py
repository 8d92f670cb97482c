"""The messages that are of the protocol's form, as a table: what make.py turns into messages.json.

Written by hand from the protocol page: must not import the gateway or the device SDK, which are checked against it.
"""
# ruff: noqa: E501
# A row is a line:
# fmt: off

VERSION = "1.0.0"
WORKED_LAYOUT = [
    VERSION,
    [["sys", "free-heap"], ["sys", "rssi"], ["sys", "temperature", -1]],
    [["keyword-spotting", "1.0", [["sys", "latency-ms"], ["sys", "confidence", -2]]]],
]
LAYOUT = [VERSION, [["sys", "free-heap"]], []]
SUM = bytes(range(20))
NOW = 1795458600
RESULT_ROW = ["kws", "keyword-spotting", "1.1", 1, 1, 1]
RESULT = ["deploy-7", "SUCCESS", None, 9, 2, [RESULT_ROW]]
FAILED = [
    "deploy-8", "FAIL", "kws: flash is full", 30, 28,
    [["kws", None, None, 1, 0, 0, "flash is full"], ["vad", "voice-activity", "2", 0, 0, 0, "undone", "no such file"]],
]  # fmt: skip

# (name, channel, value, what it means)
MESSAGES = [
    ("hello-worked-example", "hello", [4711, WORKED_LAYOUT, NOW, 1024, 1], "the page's example: urls are left out of plans"),
    ("hello-least", "hello", [0, [VERSION, [], []]], "no metric, no model, no clock, any payload size"),
    ("hello-no-clock", "hello", [65535, LAYOUT, None, 512], "epoch nil: the device counts from its boot"),
    ("hello-no-limit", "hello", [1, LAYOUT, NOW, None, 1], "max_payload nil: no limit"),
    ("hello-flags-0", "hello", [1, LAYOUT, NOW, 1024, 0], "no flag is set"),
    ("hello-unknown-flags", "hello", [1, LAYOUT, NOW, 1024, 0xFE], "flag bits that version 1 does not name are ignored"),
    ("hello-exponent-nil", "hello", [1, [VERSION, [["sys", "free-heap", None]], []]], "an exponent of nil is none"),
    ("hello-exponents", "hello", [1, [VERSION, [["a", "low-end", -30], ["b", "high-end", 30]], []]], "the outermost"),
    ("hello-utf-8", "hello", [1, [VERSION, [], []], None, None, None, "größe"], "text is UTF-8, here in an unknown element"),
    ("hb-worked-example", "hb", [4711, 89, [81344, -61, 365], [[4, 2, [12, 50]]], 735928559], "the page's example, 28 bytes"),
    ("hb-least", "hb", [4711, 89], "a sign of life"),
    ("hb-tag-alone", "hb", [4711], "time absent: the moment of arrival"),
    ("hb-time-nil", "hb", [4711, None, [81344]], "time nil: the moment of arrival"),
    ("hb-time-0", "hb", [4711, 0, [81344]], "the epoch itself"),
    ("hb-have-0", "hb", [4711, 89, None, None, 0], "the device holds no plan"),
    ("hb-have-nil", "hb", [4711, 89, None, None, None, None, 5], "have nil: no plan is compared; an ack is asked for"),
    ("hb-seq", "hb", [4711, 89, [81344], None, 735928559, None, 4294967295], "nil skips models and result"),
    ("hb-values-end-early", "hb", [4711, 89, [81344]], "rssi and temperature have no sample"),
    ("hb-values-skip", "hb", [4711, 89, [None, None, 365]], "temperature alone"),
    ("hb-values-empty", "hb", [4711, 89, []], "no sample"),
    ("hb-several", "hb", [4711, 89, [[81344, 40, 81200, 20, 81100, 0], -61]], "three samples of free-heap, one of rssi"),
    ("hb-one-with-age", "hb", [4711, 89, [[81344, 7]]], "one sample, taken 7 s before"),
    ("hb-float", "hb", [4711, 89, [81344.5, -0.25, 1e300]], "finite floats"),
    ("hb-int-extremes", "hb", [4711, 89, [18446744073709551615, -9223372036854775808]], "the outermost ints of msgpack"),
    ("hb-models-nil", "hb", [4711, 89, None, [None]], "nothing is said of the first model"),
    ("hb-model-ages-nil", "hb", [4711, 89, None, [[None, None, [12]]]], "a metric of a model, no times"),
    ("hb-model-times-alone", "hb", [4711, 89, None, [[4, 2]]], "times of a model, no metric"),
    ("hb-model-inference", "hb", [4711, 89, None, [[None, 2]]], "the model ran 2 s before"),
    ("hb-model-several", "hb", [4711, 89, None, [[4, 2, [[12, 9, 14, 3], 50]]]], "two latencies, one confidence"),
    ("hb-result", "hb", [4711, 89, None, None, 735928559, RESULT, 17], "a deployment succeeded; an ack is asked for"),
    ("hb-result-rolled-back", "hb", [4711, 89, None, None, 1, FAILED, 18], "failed, with reasons and a failed rollback"),
    ("hb-result-no-seq", "hb", [4711, 89, None, None, None, ["deploy-7", "SUCCESS", None, None, None, []]], "no times"),
    ("hb-result-least", "hb", [4711, 89, None, None, None, ["deploy-7", "SUCCESS"], 19], "trailing elements left out"),
    ("hb-result-new-enums", "hb", [4711, 89, None, None, None, ["d", "PARTIAL", None, None, None,
        [["kws", None, None, "PAUSE", "PAUSE", "UNSURE"]]], 20], "enum values that the page does not name, as str"),
    ("hb-layout", "hb", [LAYOUT, NOW, [81344]], "no hello: the layout itself, time in Unix seconds"),
    ("hb-layout-no-time", "hb", [LAYOUT, None, [81344]], "no hello and no clock: the moment of arrival"),
    ("hb-layout-worked", "hb", [WORKED_LAYOUT, NOW + 89, [81344, -61, 365], [[4, 2, [12, 50]]], 735928559],
        "means what the worked example means under its hello"),
    ("hb-layout-alone", "hb", [LAYOUT], "a sign of life without a hello"),
    ("get-have", "get", [735928559], "the plan is published unless it is this one"),
    ("get-none", "get", [0], "the device holds no plan"),
    ("get-seq", "get", [0, 7], "acked with code 0 after its plan"),
    ("get-nil-seq", "get", [None, 7], "the plan is published whatever the device holds"),
    ("get-empty-array", "get", [], "all trailing elements left out"),
    ("read-one", "read", [735928559, 0, 0, 512], "one block from the start"),
    ("read-count", "read", [735928559, 1, 4096, 512, 8], "eight blocks of the second definition, from 4096"),
    ("live-gone", "live", [0], "the last will: the connection ended without DISCONNECT"),
    ("live-connected", "live", [1, 60], "connected; a heartbeat comes at least each 60 s"),
    ("live-asleep", "live", [2, 3600], "asleep, back within an hour"),
    ("live-no-seconds", "live", [1], "connected; the seconds that were announced last hold"),
    ("live-later-state", "live", [7, 60], "a state that version 1 does not name"),
    ("read-most", "read", [735928559, 0, 0, 65536, 64], "the largest read (within max_payload)"),
    ("block", "block", [735928559, 0, 512, 1000, SUM], "20 bytes from 512 of a file of 1000 bytes"),
    ("block-past-end", "block", [735928559, 0, 1000, 1000, b""], "the offset was the end: one empty block"),
    ("plan-empty", "plan", [1073741823, []], "nothing is to be deployed"),
    ("plan-one", "plan", [735928559, [["deploy-7", 0, [["kws", 1, SUM, 25224, "s3://models/kws.tflite"]]]]], "one model"),
    ("plan-no-urls", "plan", [735928559, [["deploy-7", 0, [["kws", 1, SUM, 25224]]]]], "for a device with flags bit 0"),
    ("plan-undeploy", "plan", [2, [["deploy-9", 1, [["kws", 0]]]]], "remove a model; leave things as they are on failure"),
    ("plan-odd-sum", "plan", [3, [["d", 0, [["kws", 1, "abc-1", None, None, "MD5"]]]]], "a sum that is no 40 hex digits"),
    ("plan-new-enums", "plan", [4, [["d", "ASK", [["kws", "PAUSE"]], "Container"]]], "unknown enum values, as str"),
    ("plan-two", "plan", [5, [["d-1", 0, [["a", 1], ["b", 0]]], ["d-2", 1, []]]], "two deployments, in the service's order"),
    ("ack", "ack", [17, 0, NOW], "accepted"),
    ("ack-no-seq", "ack", [None, 1, NOW, "hb: values: not an array"], "an error where no seq was given"),
    ("ack-unknown-tag", "ack", [17, 2, NOW], "publish hello again, then resend"),
    ("ack-unknown-code", "ack", [17, 99, NOW], "a code that version 1 does not name"),
]  # fmt: skip

# (name, channel, value, the part of it that version 1 knows): "so may version 1 grow"
GROWN = [
    ("hello-grown", "hello", [4711, LAYOUT, NOW, 1024, 1, "more", [1]], [4711, LAYOUT, NOW, 1024, 1]),
    ("hb-grown", "hb", [4711, 89, None, None, None, None, None, {"a": 1}, b"\x00"], [4711, 89]),
    ("hb-model-grown", "hb", [4711, 89, None, [[4, 2, None, "more"]]], [4711, 89, None, [[4, 2]]]),
    ("hb-result-grown", "hb", [4711, 89, None, None, None, ["d", "SUCCESS", None, None, None, [], True], 3],
        [4711, 89, None, None, None, ["d", "SUCCESS", None, None, None, []], 3]),
    ("hb-metric-grown", "hb", [[VERSION, [["sys", "free-heap", 0, "bytes"]], [], "more"], NOW, [1]],
        [[VERSION, [["sys", "free-heap", 0]], []], NOW, [1]]),
    ("get-grown", "get", [5, 6, "more"], [5, 6]),
    ("live-grown", "live", [2, 3600, None, "why"], [2, 3600]),
    ("read-grown", "read", [5, 0, 0, 512, 1, None, 7], [5, 0, 0, 512, 1]),
    ("plan-grown", "plan", [5, [["d", 0, [["kws", 1, None, None, None, None, 1.5]], None, {"k": [1]}]], "more"],
        [5, [["d", 0, [["kws", 1]]]]]),
    ("ack-grown", "ack", [17, 0, NOW, None, [1, 2]], [17, 0, NOW]),
    ("block-grown", "block", [5, 0, 0, 3, b"abc", "more"], [5, 0, 0, 3, b"abc"]),
]  # fmt: skip

# (name, channel, value, hex of another encoding of it): integers, arrays, text and bytes come in any width
WIDTHS = [
    ("get-uint8", "get", [5, 6], "92cc05cc06"),
    ("get-uint16", "get", [5, 6], "92cd0005cd0006"),
    ("get-uint32", "get", [5, 6], "92ce00000005ce00000006"),
    ("get-uint64", "get", [5, 6], "92cf0000000000000005cf0000000000000006"),
    ("get-int8", "get", [5, 6], "92d005d006"),
    ("get-int16", "get", [5, 6], "92d10005d10006"),
    ("get-int32", "get", [5, 6], "92d200000005d200000006"),
    ("get-int64", "get", [5, 6], "92d30000000000000005d30000000000000006"),
    ("get-array16", "get", [5, 6], "dc00020506"),
    ("get-array32", "get", [5, 6], "dd000000020506"),
    ("hb-negative-widths", "hb", [4711, 89, [-1, -1, -1]], "93cd126759 93 d0ff d1ffff d3ffffffffffffffff"),
    ("hb-float32", "hb", [4711, 89, [0.5]], "93cd12675991ca3f000000"),
    ("hb-float64", "hb", [4711, 89, [0.5]], "93cd12675991cb3fe0000000000000"),
    ("hello-str-widths", "hello", [1, ["1.0", [["sys", "rssi"]], []]],
        "9201 93 d903312e30 91 92 da0003737973 db0000000472737369 90"),
    ("ack-widths", "ack", [17, 0, NOW], "93cc11d000cf000000006b048628"),
    ("plan-bin16", "plan", [1, [["d", 0, [["kws", 1, SUM]]]]],
        "9201 91 93 a164 00 91 93 a36b7773 01 c50014 000102030405060708090a0b0c0d0e0f10111213"),
    ("block-bin32", "block", [5, 0, 0, 3, b"abc"], "9505000003c600000003616263"),
]  # fmt: skip
