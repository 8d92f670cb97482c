"""The blob of a heartbeat's samples."""

import struct

import pytest

from gateway.manager.history import distinct_samples, pack_samples, sample_columns, split_samples, unpack_samples

SAMPLES = [(1, 1_796_000_000_000_000, 21.37), (2**32 - 1, -62_135_596_800_000_000, -0.0), (1, 0, 5e-324)]


def test_samples_come_back_in_their_order_to_the_bit():
    found = list(unpack_samples(pack_samples(SAMPLES)))
    assert [(metric, at, value.hex()) for metric, at, value in found] == [
        (metric, at, value.hex()) for metric, at, value in SAMPLES
    ]


def test_a_sample_takes_20_bytes_and_none_takes_none():
    assert len(pack_samples(SAMPLES)) == 60
    assert pack_samples([]) == b""
    assert list(unpack_samples(b"")) == []


def test_joined_blobs_are_one_of_all():
    assert pack_samples(SAMPLES[:1]) + pack_samples(SAMPLES[1:]) == pack_samples(SAMPLES)


def test_what_was_cut_off_is_no_blob():
    with pytest.raises(struct.error):
        unpack_samples(pack_samples(SAMPLES)[:-1])


def test_samples_that_are_there_twice_are_one():
    blob = pack_samples(SAMPLES)
    assert distinct_samples(blob) is blob
    assert sorted(unpack_samples(distinct_samples(blob + blob))) == sorted(SAMPLES)
    assert split_samples(blob + blob) == {pack_samples([each]) for each in SAMPLES}


def test_columns_are_the_members_of_all_samples():
    assert sample_columns(pack_samples(SAMPLES)) == tuple(zip(*SAMPLES, strict=True))
    assert sample_columns(b"") == ((), (), ())
    with pytest.raises(struct.error):
        sample_columns(pack_samples(SAMPLES)[:-1])
