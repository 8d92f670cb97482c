"""What the tests of both kinds of jobs share: model files, and jobs as a client asks for them."""

from pathlib import Path
from typing import Any

from gateway.manager import Place
from gateway.manager.store import ObjectStore, StoredFile
from tests.support.polling import until
from tests.support.stores import open_place

ROLE = "arn:aws:iam::000000000000:role/any"
OUTPUT = {"S3OutputLocation": "s3://models/out"}
ENDED = ("COMPLETED", "FAILED", "STOPPED")


def put_model(place: Place, content: bytes = b"a model") -> StoredFile:
    """In the model store, where `deploy` would put it."""
    source = Path(place.data, "model.tflite")
    source.write_bytes(content)
    with open_place(place) as store:
        return ObjectStore(place.data, store).put_file(source, "models", "wake-word")


def compilation(name: str, url: str, **more: Any) -> dict[str, Any]:
    """The input of CreateCompilationJob."""
    return {
        "CompilationJobName": name,
        "RoleArn": ROLE,
        "InputConfig": {"S3Uri": url, "Framework": "TFLITE", "DataInputConfig": "{}"},
        "OutputConfig": OUTPUT | {"TargetDevice": "rasp4b"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 900},
    } | more


def packaging(name: str, compiled: str, **more: Any) -> dict[str, Any]:
    """The input of CreateEdgePackagingJob."""
    return {
        "EdgePackagingJobName": name,
        "CompilationJobName": compiled,
        "ModelName": "wake-word",
        "ModelVersion": "1.2",
        "RoleArn": ROLE,
        "OutputConfig": OUTPUT,
    } | more


def ended_compilation(sagemaker: Any, name: str) -> Any:
    """As DescribeCompilationJob has it, once it has ended."""
    return _ended(lambda: sagemaker.describe_compilation_job(CompilationJobName=name), "CompilationJobStatus")


def ended_packaging(sagemaker: Any, name: str) -> Any:
    """As DescribeEdgePackagingJob has it, once it has ended."""
    return _ended(lambda: sagemaker.describe_edge_packaging_job(EdgePackagingJobName=name), "EdgePackagingJobStatus")


def _ended(describe: Any, status: str) -> Any:
    found: list[Any] = []

    def has_ended() -> bool:
        found[:] = [describe()]
        return found[0][status] in ENDED

    until(has_ended, lambda: f"it goes on: {found}")
    return found[0]
