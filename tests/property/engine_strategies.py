"""Strategies: what devices may say to the core, and how the service may answer. No test of its own."""

from hypothesis import strategies as st

from gateway.protocol.messages import Hello, ModelFile, Plan, Read, Result
from gateway.protocol.service_calls import Accepted, Cancelled, Registration, RetryLater
from tests.support.engine import DEVICE, EPOCH, LAYOUT, NEWER, OTHER

DEVICES = st.sampled_from([DEVICE, OTHER])
TAGS = st.sampled_from([1, 1, 1, 2, 3, 4, 5, 6])
HELLOS = st.builds(
    Hello,
    TAGS,
    st.sampled_from([LAYOUT, LAYOUT, NEWER]),
    st.sampled_from([None, EPOCH, EPOCH + 7]),
    st.sampled_from([None, 150, 300]),
    st.sampled_from([0, 1]),
)
RESULTS = st.sampled_from([None, None, Result("a", "SUCCESS"), Result("b", "FAIL")])
OPTIONAL = st.sampled_from([None, 1, 2])
FILES = (ModelFile("s3://models/kws.tflite", "0" * 40), None)
PLANS = [Plan(digest, b"u" * size, b"b" * (size // 2), FILES) for digest, size in ((1, 100), (2, 250), (3, 500))]
READS = st.builds(
    Read, st.sampled_from([1, 2, 9]), st.sampled_from([0, 1, 2]), st.just(0), st.sampled_from([0, 64, 999])
)
REGISTRATIONS = st.builds(
    lambda word, ttl: Accepted(Registration(word, ttl)),
    st.sampled_from(["REGISTERED", "true", "no"]),
    st.sampled_from([0.0, 300.0]),
)
UNASKED = Cancelled("the gateway stops")
POSTPONED = [RetryLater(only_this_device=False), RetryLater(only_this_device=True)]
