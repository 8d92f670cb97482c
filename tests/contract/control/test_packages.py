"""Edge packaging jobs as boto3 sees them, and how they are carried out."""

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from gateway.manager import Place
from gateway.manager.control import jobs as running_jobs
from gateway.manager.store import Store
from tests.contract.control.running_jobs import ARTIFACT, LATER, NOW, PLACE, Jobs
from tests.support.jobs import OUTPUT, compilation, ended_packaging, packaging, put_model
from tests.support.output_shapes import wrong_output
from tests.support.served_manager import ServedManager

TAKEN = "taken"
BY_HAND = "s3://models/by-hand.tflite"


def test_a_package_is_a_copy_of_the_file_of_its_compilation_job(
    place: Place, served: ServedManager, sagemaker: Any
) -> None:
    stored = put_model(place, b"twelve bytes")
    sagemaker.create_compilation_job(**compilation("c", stored.url))
    request = packaging("p", "c", Tags=[{"Key": "team", "Value": "barn"}])
    sagemaker.create_edge_packaging_job(**request)
    found = ended_packaging(sagemaker, "p")
    assert found["EdgePackagingJobArn"] == "arn:aws:sagemaker:us-east-1:000000000000:edge-packaging-job/p"
    assert (found["EdgePackagingJobStatus"], found["ModelArtifact"]) == ("COMPLETED", ARTIFACT)
    assert found["EdgePackagingJobStatusMessage"] == f"12 bytes, SHA-1 {stored.sha1}"
    for name in request.keys() - {"Tags"}:
        assert found[name] == request[name]
    assert found["CreationTime"] <= found["LastModifiedTime"]
    assert wrong_output("DescribeEdgePackagingJob", found) == ""
    copy = served.client("s3").get_object(**PLACE)
    assert (copy["Body"].read(), copy["Metadata"]) == (b"twelve bytes", {"edge-packaging-job": "p"})
    assert copy["ETag"] == f'"{hashlib.md5(b"twelve bytes").hexdigest()}"'


def test_each_version_of_a_model_may_be_put_under_one_key(served: ServedManager, sagemaker: Any) -> None:
    """Up to a device's plan, which goes on naming the first one."""
    s3 = served.client("s3")
    s3.create_bucket(Bucket="models", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    artifacts = []
    for week in (1, 2):
        s3.put_object(Bucket="models", Key="kws.tflite", Body=b"week %d" % week)
        sagemaker.create_compilation_job(**compilation(f"c{week}", "s3://models/kws.tflite"))
        sagemaker.create_edge_packaging_job(**packaging(f"p{week}", f"c{week}", ModelVersion=f"{week}"))
        artifacts.append(ended_packaging(sagemaker, f"p{week}")["ModelArtifact"])
    s3.delete_object(Bucket="models", Key="kws.tflite")
    keys = [each.removeprefix("s3://models/") for each in artifacts]
    assert keys == ["out/p1/wake-word-1.tflite", "out/p2/wake-word-2.tflite"]
    assert [s3.get_object(Bucket="models", Key=key)["Body"].read() for key in keys] == [b"week 1", b"week 2"]


def test_the_file_of_a_package_stays_as_it_is_and_may_go_when_nothing_deploys_it(
    place: Place, served: ServedManager, sagemaker: Any
) -> None:
    sagemaker.create_compilation_job(**compilation("c", put_model(place).url))
    sagemaker.create_edge_packaging_job(**packaging("p", "c"))
    ended_packaging(sagemaker, "p")
    sagemaker.create_device_fleet(DeviceFleetName="barn", OutputConfig=OUTPUT)
    plan = {"EdgeDeploymentPlanName": "plan"}
    make = {"ModelConfigs": [{"ModelHandle": "kws", "EdgePackagingJobName": "p"}], "DeviceFleetName": "barn"}
    sagemaker.create_edge_deployment_plan(**plan, **make)
    s3 = served.client("s3")
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.delete_object(**PLACE)
    sagemaker.delete_edge_deployment_plan(**plan)
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(**PLACE, Body=b"another")
    s3.delete_object(**PLACE)
    refused = rf"{ARTIFACT}, is not in the model store any more: make another packaging job"
    with pytest.raises(ClientError, match=refused) as caught:
        sagemaker.create_edge_deployment_plan(**plan, **make)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    s3.put_object(**PLACE, Body=b"a_model")
    with pytest.raises(ClientError, match=rf"{ARTIFACT}, is another file now"):
        sagemaker.create_edge_deployment_plan(**plan, **make)
    s3.delete_object(**PLACE)
    s3.put_object(**PLACE, Body=b"a model")
    sagemaker.create_edge_deployment_plan(**plan, **make)


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
def test_what_is_no_place_for_a_package_is_refused(place: Place, sagemaker: Any) -> None:
    sagemaker.create_compilation_job(**compilation("c", put_model(place).url))
    for location in ("https://s3.amazonaws.com/models/out", "s3://models/a\0b"):
        with pytest.raises(ClientError, match="S3OutputLocation") as caught:
            sagemaker.create_edge_packaging_job(**packaging("p", "c", OutputConfig={"S3OutputLocation": location}))
        assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_a_package_fails_with_its_compilation_job(sagemaker: Any) -> None:
    sagemaker.create_compilation_job(**compilation("c", "s3://models/none"))
    sagemaker.create_edge_packaging_job(**packaging("p", "c"))
    found = ended_packaging(sagemaker, "p")
    assert found["EdgePackagingJobStatus"] == "FAILED"
    assert "compilation-job/c is FAILED: s3://models/none" in found["EdgePackagingJobStatusMessage"]
    assert "ModelArtifact" not in found


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("s3://none/out", "this manager's model store has no bucket none: make it by `aws s3 mb s3://none`"),
        ("s3://models/" + "o" * 1000, "the URL of the package would have more than 1,024 characters"),
        ("s3://models/a/../b", "A key here has parts between slashes"),
        (f"s3://models/{TAKEN}/", "There is an object whose key is the beginning of this one"),
    ],
)
def test_a_package_that_has_no_place_fails(jobs: Jobs, content: bytes, location: str, why: str) -> None:
    jobs.leave(b"a file", "another", TAKEN)
    jobs.start(BY_HAND, OutputConfig={"S3OutputLocation": location})
    while jobs.runner.step(NOW):
        pass
    assert (jobs.status(), why in jobs.message()) == ("FAILED", True), jobs.message()
    assert jobs.left_overs() == []


def test_what_is_not_there_and_what_is_there_already(place: Place, sagemaker: Any) -> None:
    with pytest.raises(ClientError, match="no resource compilation-job/c") as caught:
        sagemaker.create_edge_packaging_job(**packaging("p", "c"))
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    for call in ("describe", "stop"):
        with pytest.raises(ClientError, match="no resource edge-packaging-job/p") as caught:
            getattr(sagemaker, f"{call}_edge_packaging_job")(EdgePackagingJobName="p")
        assert caught.value.response["Error"]["Code"] == "ValidationException"
    sagemaker.create_compilation_job(**compilation("c", put_model(place).url))
    sagemaker.create_edge_packaging_job(**packaging("p", "c"))
    with pytest.raises(ClientError, match="Already Exists") as caught:
        sagemaker.create_edge_packaging_job(**packaging("p", "c"))
    assert caught.value.response["Error"]["Code"] == "ResourceInUse"


def test_lists_come_in_pages_sorted_and_chosen(place: Place, sagemaker: Any) -> None:
    sagemaker.create_compilation_job(**compilation("c", put_model(place).url))
    sagemaker.create_compilation_job(**compilation("none", "s3://models/none"))
    names = ["b", "e-x", "a", "d-X", "c"]
    for name in names:
        model = "Wake-Word" if name in "ab" else "beep"
        sagemaker.create_edge_packaging_job(**packaging(name, "none" if name == "e-x" else "c", ModelName=model))
    last = ended_packaging(sagemaker, "c")

    def listed(**asked: Any) -> list[str]:
        pages = sagemaker.get_paginator("list_edge_packaging_jobs").paginate(**asked, PaginationConfig={"PageSize": 2})
        return [each["EdgePackagingJobName"] for page in pages for each in page["EdgePackagingJobSummaries"]]

    assert listed() == listed(SortBy="CREATION_TIME") == names
    assert listed(SortOrder="Descending") == names[::-1]
    assert listed(SortBy="NAME") == sorted(names)
    assert listed(SortBy="MODEL_NAME", SortOrder="Descending") == ["c", "d-X", "e-x", "a", "b"]
    assert listed(SortBy="STATUS")[-1] == "e-x"
    assert set(listed(SortBy="LAST_MODIFIED_TIME")) == set(names)
    assert listed(NameContains="x", SortBy="NAME") == ["d-X", "e-x"]
    assert listed(ModelNameContains="wake") == ["b", "a"]
    assert listed(StatusEquals="FAILED") == ["e-x"]
    assert listed(CreationTimeAfter=last["CreationTime"] - timedelta(days=1)) == names
    assert listed(LastModifiedTimeBefore=last["CreationTime"] - timedelta(days=1)) == []
    assert wrong_output("ListEdgePackagingJobs", sagemaker.list_edge_packaging_jobs()) == ""


def test_no_component_is_made_for_greengrass(place: Place, sagemaker: Any) -> None:
    sagemaker.create_compilation_job(**compilation("c", put_model(place).url))
    output = packaging("p", "c")["OutputConfig"] | {"PresetDeploymentType": "GreengrassV2Component"}
    sagemaker.create_edge_packaging_job(**packaging("p", "c", OutputConfig=output))
    made = ended_packaging(sagemaker, "p")["PresetDeploymentOutput"]
    assert (made["Type"], made["Status"]) == ("GreengrassV2Component", "FAILED")


@pytest.fixture
def jobs(place: Place, store: Store) -> Jobs:
    return Jobs(place, store)


@pytest.fixture
def content(place: Place, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Of a file that an operator put into the folder by hand, which takes four steps to copy."""
    monkeypatch.setattr(running_jobs, "CHUNKS", 1)
    content = bytes(3 * 256 * 1024) + b"the end"
    path = Path(place.data, "objects", "models", "by-hand.tflite")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return content


def test_a_large_file_is_copied_step_by_step(jobs: Jobs, content: bytes) -> None:
    jobs.start(BY_HAND)
    seen = [jobs.status()]
    while jobs.runner.step(NOW):
        seen.append(jobs.status())
        assert (jobs.artifact() is None) == (seen[-1] != "COMPLETED")
    assert seen == ["STARTING", *["INPROGRESS"] * 6, "COMPLETED"]
    assert hashlib.sha1(content).hexdigest() in jobs.message()
    assert f"{len(content):,} bytes" in jobs.message()
    assert (jobs.artifact(), jobs.left_overs()) == (content, [])


def test_a_job_goes_on_after_the_process_that_had_it(jobs: Jobs, content: bytes) -> None:
    jobs.start(BY_HAND)
    for _ in range(3):
        jobs.runner.step(NOW)
    follower = jobs.another()
    assert not follower.step(NOW)
    while follower.step(LATER):
        pass
    assert (jobs.status(), jobs.artifact()) == ("COMPLETED", content)
    assert not jobs.runner.step(LATER)
    assert (jobs.status(), jobs.left_overs()) == ("COMPLETED", [])


def test_what_a_killed_process_copied_is_replaced(jobs: Jobs, content: bytes) -> None:
    jobs.start(BY_HAND)
    for _ in range(2):
        jobs.runner.step(NOW)
    jobs.leave(b"what the file was then", "p")
    follower = jobs.another()
    while follower.step(LATER):
        pass
    assert (jobs.status(), jobs.artifact()) == ("COMPLETED", content)
    assert hashlib.sha1(content).hexdigest() in jobs.message()
    jobs.runner.close()


def test_a_file_that_is_replaced_while_it_is_copied_is_the_one_that_was_read(
    jobs: Jobs, content: bytes, place: Place
) -> None:
    jobs.start(BY_HAND)
    for _ in range(3):
        jobs.runner.step(NOW)
    other = Path(place.data, "other")
    other.write_bytes(b"another")
    other.replace(Path(place.data, "objects", "models", "by-hand.tflite"))
    while jobs.runner.step(NOW):
        pass
    assert (jobs.status(), jobs.artifact()) == ("COMPLETED", content)
    assert hashlib.sha1(content).hexdigest() in jobs.message()


def test_a_file_of_the_store_is_copied_step_by_step_too(jobs: Jobs, content: bytes, place: Place) -> None:
    """With PostgreSQL one of the database."""
    jobs.start(put_model(place, content).url)
    while jobs.runner.step(NOW):
        pass
    assert (jobs.status(), jobs.artifact(), jobs.left_overs()) == ("COMPLETED", content, [])


def test_a_file_that_is_where_its_package_is_to_be_is_not_copied(jobs: Jobs, content: bytes) -> None:
    jobs.leave(content, "by another one")
    jobs.start(ARTIFACT)
    while jobs.runner.step(NOW):
        pass
    assert (jobs.status(), jobs.artifact()) == ("COMPLETED", content)
    bucket, key = PLACE.values()
    assert jobs.objects.facts_of(bucket, key).headers.get(running_jobs.MADE_BY, "by another one") == "by another one"


def test_a_slow_reader_keeps_its_turn(jobs: Jobs, content: bytes) -> None:
    jobs.start(BY_HAND)
    now = NOW
    while jobs.runner.step(now):
        assert not jobs.another().step(now)
        now += running_jobs.HELD - 0.5
    assert jobs.status() == "COMPLETED"


@pytest.mark.parametrize("steps", [0, 2, 6])
def test_a_job_that_is_stopped_stays_stopped(jobs: Jobs, content: bytes, steps: int) -> None:
    jobs.start(BY_HAND)
    for _ in range(steps):
        jobs.runner.step(NOW)
    jobs.call("StopEdgePackagingJob", EdgePackagingJobName="p")
    assert jobs.status() == "STOPPED"
    while jobs.runner.step(NOW):
        pass
    assert (jobs.status(), jobs.artifact(), jobs.left_overs()) == ("STOPPED", None, [])


@pytest.mark.parametrize(("job", "stays"), [("p", False), ("another", True)])
def test_what_a_stopped_job_wrote_is_removed_and_nothing_else(
    jobs: Jobs, content: bytes, job: str, stays: bool
) -> None:
    """It was stopped after a process that was killed had copied the file."""
    jobs.start(BY_HAND)
    jobs.runner.step(NOW)
    jobs.leave(b"a copy", job)
    jobs.call("StopEdgePackagingJob", EdgePackagingJobName="p")
    while jobs.runner.step(NOW):
        pass
    assert (jobs.status(), jobs.artifact() is not None) == ("STOPPED", stays)


def test_a_package_of_an_empty_file_fails(jobs: Jobs, content: bytes, place: Place) -> None:
    Path(place.data, "objects", "models", "by-hand.tflite").write_bytes(b"")
    jobs.start(BY_HAND)
    while jobs.runner.step(NOW):
        pass
    assert jobs.message() == f"{BY_HAND} is empty: a model file is expected"
    assert (jobs.artifact(), jobs.left_overs()) == (None, [])


def test_a_package_waits_for_no_compilation_job_that_was_deleted(jobs: Jobs, content: bytes) -> None:
    jobs.start(BY_HAND)
    jobs.call("DeleteCompilationJob", CompilationJobName="c")
    while jobs.runner.step(NOW):
        pass
    assert jobs.message() == "compilation-job/c was deleted"
