"""Compilation jobs as boto3 sees them."""

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from gateway.manager import Place
from tests.support.jobs import compilation, ended_compilation, put_model
from tests.support.output_shapes import wrong_output

ABSENT = "s3://models/none"


@pytest.fixture
def url(place: Place) -> str:
    return put_model(place).url


def test_the_artifact_of_a_job_is_the_file_that_it_names(url: str, sagemaker: Any) -> None:
    request = compilation("c", url, Tags=[{"Key": "team", "Value": "barn"}])
    made = sagemaker.create_compilation_job(**request)
    found = ended_compilation(sagemaker, "c")
    assert made["CompilationJobArn"] == found["CompilationJobArn"]
    assert found["CompilationJobArn"] == "arn:aws:sagemaker:us-east-1:000000000000:compilation-job/c"
    assert (found["CompilationJobStatus"], found["FailureReason"]) == ("COMPLETED", "")
    assert found["ModelArtifacts"] == {"S3ModelArtifacts": url}
    for name in request.keys() - {"Tags"}:
        assert found[name] == request[name]
    assert found["CreationTime"] == found["CompilationStartTime"] <= found["CompilationEndTime"]
    assert wrong_output("DescribeCompilationJob", found) == ""


def test_a_job_whose_file_is_not_there_fails(sagemaker: Any) -> None:
    sagemaker.create_compilation_job(**compilation("c", ABSENT))
    found = ended_compilation(sagemaker, "c")
    assert found["CompilationJobStatus"] == "FAILED"
    assert ABSENT in found["FailureReason"]


def test_what_names_no_file_is_refused(sagemaker: Any) -> None:
    places = ("https://s3.amazonaws.com/models/m", "s3://models/folder/", "s3://models", "s3://models/a\0b")
    inputs = [{"InputConfig": {"S3Uri": each, "Framework": "TFLITE"}} for each in places]
    package: dict[str, Any] = {"ModelPackageVersionArn": "arn:aws:sagemaker:us-east-1:000000000000:model-package/m/1"}
    base = compilation("c", ABSENT)
    del base["InputConfig"]
    for more in (*inputs, package, {}):
        with pytest.raises(ClientError, match=r"InputConfig\.S3Uri") as caught:
            sagemaker.create_compilation_job(**base, **more)
        assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert sagemaker.list_compilation_jobs()["CompilationJobSummaries"] == []


def test_a_name_is_taken_once_until_its_job_is_deleted(url: str, sagemaker: Any) -> None:
    sagemaker.create_compilation_job(**compilation("c", url))
    with pytest.raises(ClientError, match="Already Exists") as caught:
        sagemaker.create_compilation_job(**compilation("c", url))
    assert caught.value.response["Error"]["Code"] == "ResourceInUse"
    ended_compilation(sagemaker, "c")
    sagemaker.delete_compilation_job(CompilationJobName="c")
    for call in ("describe", "stop", "delete"):
        with pytest.raises(ClientError, match="no resource compilation-job/c") as caught:
            getattr(sagemaker, f"{call}_compilation_job")(CompilationJobName="c")
        assert caught.value.response["Error"]["Code"] == "ValidationException"
    sagemaker.create_compilation_job(**compilation("c", url))


def test_what_has_ended_is_not_stopped(sagemaker: Any) -> None:
    sagemaker.create_compilation_job(**compilation("c", ABSENT))
    ended_compilation(sagemaker, "c")
    with pytest.raises(ClientError, match="has ended, it is FAILED"):
        sagemaker.stop_compilation_job(CompilationJobName="c")


def test_lists_come_in_pages_sorted_and_chosen(url: str, sagemaker: Any) -> None:
    names = ["b", "e-x", "a", "d-X", "c"]
    for name in names:
        sagemaker.create_compilation_job(**compilation(name, ABSENT if name == "a" else url))
    last = ended_compilation(sagemaker, "c")

    def listed(**asked: Any) -> list[str]:
        pages = sagemaker.get_paginator("list_compilation_jobs").paginate(**asked, PaginationConfig={"PageSize": 2})
        return [each["CompilationJobName"] for page in pages for each in page["CompilationJobSummaries"]]

    assert listed() == names
    assert listed(SortOrder="Descending") == names[::-1]
    assert listed(SortBy="Name") == sorted(names)
    assert listed(SortBy="Status")[-1] == "a"
    assert listed(NameContains="x", SortBy="Name") == ["d-X", "e-x"]
    assert listed(StatusEquals="FAILED") == ["a"]
    assert listed(CreationTimeAfter=last["CreationTime"] - timedelta(days=1)) == names
    assert listed(LastModifiedTimeBefore=last["CreationTime"] - timedelta(days=1)) == []
    output = sagemaker.list_compilation_jobs(NameContains="a")
    assert output["CompilationJobSummaries"][0]["CompilationTargetDevice"] == "rasp4b"
    assert wrong_output("ListCompilationJobs", output) == ""
