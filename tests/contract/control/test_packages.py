"""Edge packaging jobs as boto3 sees them, and how they are carried out."""

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from gateway.manager import Place
from gateway.manager.control import ArnScope, Caller, ControlApi, JobRunner
from gateway.manager.control import jobs as running_jobs
from gateway.manager.store import ObjectStore, Store
from gateway.manager.store.object_uses import named_objects
from tests.contract.control.jobs import compilation, ended_packaging, packaging, put_model
from tests.support.output_shapes import wrong_output

NOW = 1_700_000_000.0
BY_HAND = "s3://models/by-hand.tflite"
LATER = NOW + running_jobs.HELD + 1


def test_a_package_has_the_file_of_its_compilation_job(place: Place, sagemaker: Any) -> None:
    stored = put_model(place, b"twelve bytes")
    sagemaker.create_compilation_job(**compilation("c", stored.url))
    request = packaging("p", "c", Tags=[{"Key": "team", "Value": "barn"}])
    sagemaker.create_edge_packaging_job(**request)
    found = ended_packaging(sagemaker, "p")
    assert found["EdgePackagingJobArn"] == "arn:aws:sagemaker:us-east-1:000000000000:edge-packaging-job/p"
    assert (found["EdgePackagingJobStatus"], found["ModelArtifact"]) == ("COMPLETED", stored.url)
    assert found["EdgePackagingJobStatusMessage"] == f"12 bytes, SHA-1 {stored.sha1}"
    for name in request.keys() - {"Tags"}:
        assert found[name] == request[name]
    assert found["CreationTime"] <= found["LastModifiedTime"]
    assert wrong_output("DescribeEdgePackagingJob", found) == ""


def test_a_package_fails_with_its_compilation_job(sagemaker: Any) -> None:
    sagemaker.create_compilation_job(**compilation("c", "s3://models/none"))
    sagemaker.create_edge_packaging_job(**packaging("p", "c"))
    found = ended_packaging(sagemaker, "p")
    assert found["EdgePackagingJobStatus"] == "FAILED"
    assert "compilation-job/c is FAILED: s3://models/none" in found["EdgePackagingJobStatusMessage"]
    assert "ModelArtifact" not in found


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


class Jobs:
    """The control plane of a store, and the runner of one process, whose steps the test takes."""

    def __init__(self, place: Place, store: Store) -> None:
        self._place = place
        self._api = ControlApi(store, ObjectStore(place.data, store), ArnScope())
        self._store = store
        self.runner = self.another()

    def another(self) -> JobRunner:
        """As another process has it."""
        return JobRunner(self._store, ObjectStore(self._place.data, self._store))

    def call(self, operation: str, **members: Any) -> dict[str, Any]:
        output = self._api.handle(f"SageMaker.{operation}", json.dumps(members).encode(), Caller(), NOW)
        found: dict[str, Any] = json.loads(output)
        return found

    def start(self, url: str) -> None:
        """A package p of that file, whose compilation job is done."""
        self.call("CreateCompilationJob", **compilation("c", url))
        assert self.runner.step(NOW)
        self.call("CreateEdgePackagingJob", **packaging("p", "c"))

    def status(self) -> str:
        found: str = self.call("DescribeEdgePackagingJob", EdgePackagingJobName="p")["EdgePackagingJobStatus"]
        return found

    def named(self, url: str = BY_HAND) -> bool:
        return url in self._store.read(named_objects)


@pytest.fixture
def jobs(place: Place, store: Store) -> Jobs:
    return Jobs(place, store)


@pytest.fixture
def content(place: Place, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Of a file that an operator put into the folder by hand, which takes four steps to read."""
    monkeypatch.setattr(running_jobs, "CHUNKS", 1)
    content = bytes(3 * 256 * 1024) + b"the end"
    path = Path(place.data, "objects", "models", "by-hand.tflite")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return content


def test_a_large_file_is_read_step_by_step(jobs: Jobs, content: bytes) -> None:
    jobs.start(BY_HAND)
    seen = [jobs.status()]
    while jobs.runner.step(NOW):
        seen.append(jobs.status())
    assert seen == ["STARTING", *["INPROGRESS"] * 5, "COMPLETED"]
    found = jobs.call("DescribeEdgePackagingJob", EdgePackagingJobName="p")
    assert hashlib.sha1(content).hexdigest() in found["EdgePackagingJobStatusMessage"]
    assert f"{len(content):,} bytes" in found["EdgePackagingJobStatusMessage"]


def test_a_job_goes_on_after_the_process_that_had_it(jobs: Jobs, content: bytes) -> None:
    jobs.start(BY_HAND)
    for _ in range(3):
        jobs.runner.step(NOW)
    follower = jobs.another()
    assert not follower.step(NOW)
    while follower.step(LATER):
        pass
    assert jobs.status() == "COMPLETED"
    assert not jobs.runner.step(LATER)
    assert jobs.status() == "COMPLETED"


def test_a_slow_reader_keeps_its_turn(jobs: Jobs, content: bytes) -> None:
    jobs.start(BY_HAND)
    now = NOW
    while jobs.runner.step(now):
        assert not jobs.another().step(now)
        now += running_jobs.HELD - 0.5
    assert jobs.status() == "COMPLETED"


@pytest.mark.parametrize("steps", [0, 2])
def test_a_job_that_is_stopped_stays_stopped(jobs: Jobs, content: bytes, steps: int) -> None:
    jobs.start(BY_HAND)
    for _ in range(steps):
        jobs.runner.step(NOW)
    jobs.call("StopEdgePackagingJob", EdgePackagingJobName="p")
    assert (jobs.status(), jobs.named()) == ("STOPPED", False)
    assert not jobs.runner.step(NOW)
    assert jobs.status() == "STOPPED"


def test_a_package_names_its_file_from_before_it_is_read(jobs: Jobs, content: bytes) -> None:
    jobs.start(BY_HAND)
    assert not jobs.named()
    while jobs.runner.step(NOW):
        assert jobs.named()
    assert not jobs.named("s3://models/By-Hand.tflite")


def test_a_package_of_an_empty_file_fails(jobs: Jobs, content: bytes, place: Place) -> None:
    Path(place.data, "objects", "models", "by-hand.tflite").write_bytes(b"")
    jobs.start(BY_HAND)
    while jobs.runner.step(NOW):
        pass
    found = jobs.call("DescribeEdgePackagingJob", EdgePackagingJobName="p")
    assert found["EdgePackagingJobStatusMessage"] == f"{BY_HAND} is empty: a model file is expected"
    assert not jobs.named()


def test_a_package_waits_for_no_compilation_job_that_was_deleted(jobs: Jobs, content: bytes) -> None:
    jobs.start(BY_HAND)
    jobs.call("DeleteCompilationJob", CompilationJobName="c")
    while jobs.runner.step(NOW):
        pass
    found = jobs.call("DescribeEdgePackagingJob", EdgePackagingJobName="p")
    assert found["EdgePackagingJobStatusMessage"] == "compilation-job/c was deleted"
