"""One firmware's hello and layout, as positional arrays, for devices of several suites.

Written from the protocol page, never computed by the code under test.
"""

EPOCH = 1_700_000_000
TAG = 4711
METRICS = [["sys", "free-heap"], ["sys", "rssi"], ["sys", "temperature", -1]]
KEYWORDS = ["keyword-spotting", "1.0", [["sys", "latency-ms"], ["sys", "confidence", -2]]]
ANOMALY = ["anomaly", "2.1", [["sys", "score"]]]
LAYOUT = ["1.0.0", METRICS, [KEYWORDS, ANOMALY]]
HELLO = [TAG, LAYOUT, EPOCH]
T = EPOCH + 89
"""The time of most rows: 89 in a heartbeat with a tag."""
