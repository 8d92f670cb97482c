"""The names of the objects that packaging jobs write."""

import pytest

from gateway.manager.control.artifacts import artifact_place, output_place


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("s3://models", ("models", "")),
        ("s3://models/", ("models", "")),
        ("s3://models/a/b/", ("models", "a/b")),
        ("https://models/a", None),
        ("s3://Models/a", None),
        ("s3://models/a\0", None),
    ],
)
def test_a_location_is_a_bucket_and_a_prefix(location: str, place: tuple[str, str] | None) -> None:
    assert output_place(location) == place


@pytest.mark.parametrize(
    ("source", "end"),
    [
        ("s3://b/kws.tflite", ".tflite"),
        ("s3://b/v1.2/kws", ""),
        ("s3://b/kws.v1.tar.gz", ".tar.gz"),
        ("s3://b/kws.not a suffix", ""),
        ("s3://b/.tflite", ".tflite"),
    ],
)
def test_the_name_says_job_model_and_version_and_keeps_the_suffix(source: str, end: str) -> None:
    assert artifact_place("s3://out/x/", "job-1", "kws", "1.2 beta", source) == (
        "out",
        f"x/job-1/kws-1.2_beta{end}",
    )
    assert artifact_place("s3://out", "job-1", "kws", "1", "s3://b/m") == ("out", "job-1/kws-1")
