"""Edge packaging jobs, which say what file a model's version is.

The package is a copy of the file of the compilation job, as it is: `jobs` makes it.
"""

import json
from typing import Any

import sqlalchemy as sa

from gateway.manager.control import job_rows
from gateway.manager.control.arns import compilation_resource, packaging_resource
from gateway.manager.control.artifacts import output_place
from gateway.manager.control.calls import ControlCall, ControlOperation, Members
from gateway.manager.control.paging import contains, in_times, page, with_token
from gateway.manager.errors import validation_error
from gateway.manager.store import StoredFile
from gateway.manager.store.control_tables import COMPILATION_JOBS, PACKAGES

NO_COMPONENT = "there is no AWS IoT Greengrass here, so no component was made"


def create(call: ControlCall, asked: Members) -> None:
    name, compilation = asked["EdgePackagingJobName"], asked["CompilationJobName"]
    job_rows.require(call, COMPILATION_JOBS, compilation_resource(compilation), compilation)
    if output_place(asked["OutputConfig"]["S3OutputLocation"]) is None:
        raise validation_error("OutputConfig.S3OutputLocation names no bucket: should be s3://BUCKET/PREFIX")
    of_model = {"model": asked["ModelName"], "version": asked["ModelVersion"]}
    job_rows.add(call, PACKAGES, packaging_resource(name), asked, name=name, status="STARTING", **of_model)


def require_file(call: ControlCall, name: str) -> None:
    """Raises ApiError where devices could not get the file of that package, which is made."""
    package = call.connection.execute(sa.select(PACKAGES).where(PACKAGES.c.name == name)).one()
    file = StoredFile(package.url, package.size, package.sha1)
    fault = "" if call.objects is None else call.objects.fault_of(call.connection, file, package.changed)
    if fault:
        raise validation_error(f"the file of the package {name}, {package.url}, {fault}: make another packaging job")


def describe(call: ControlCall, asked: Members) -> Members:
    name = asked["EdgePackagingJobName"]
    row = job_rows.require(call, PACKAGES, packaging_resource(name), name)
    members: dict[str, Any] = json.loads(row.request) | _summary(call, row)
    message = row.message
    if row.status == "COMPLETED":
        members["ModelArtifact"] = row.url
        message = f"{row.size:,} bytes, SHA-1 {row.sha1}"
        kind = members.get("OutputConfig", {}).get("PresetDeploymentType")
        if kind is not None:
            output = {"Type": kind, "Status": "FAILED", "StatusMessage": NO_COMPONENT}
            members["PresetDeploymentOutput"] = output
    return members | ({"EdgePackagingJobStatusMessage": message} if message else {})


def list_jobs(call: ControlCall, asked: Members) -> Members:
    columns = PACKAGES.c
    select = sa.select(PACKAGES).where(*in_times(asked, columns.created, columns.changed))
    for member, column in (("NameContains", columns.name), ("ModelNameContains", columns.model)):
        if member in asked:
            select = select.where(contains(column, asked[member]))
    if "StatusEquals" in asked:
        select = select.where(columns.status == asked["StatusEquals"])
    sorts = {
        "NAME": columns.name,
        "MODEL_NAME": columns.model,
        "CREATION_TIME": columns.created,
        "LAST_MODIFIED_TIME": columns.changed,
        "STATUS": columns.status,
    }
    rows, token = page(call.connection, select, asked, columns.id, sorts, "CREATION_TIME")
    return with_token({"EdgePackagingJobSummaries": [_summary(call, row) for row in rows]}, token)


def _summary(call: ControlCall, row: sa.Row[Any]) -> dict[str, Any]:
    compilation = json.loads(row.request).get("CompilationJobName")
    return {
        "EdgePackagingJobArn": call.arn(packaging_resource(row.name)),
        "EdgePackagingJobName": row.name,
        "EdgePackagingJobStatus": row.status,
        "ModelName": row.model,
        "ModelVersion": row.version,
        "CreationTime": row.created,
        "LastModifiedTime": row.changed,
        **({} if compilation is None else {"CompilationJobName": compilation}),
    }


def stop(call: ControlCall, asked: Members) -> None:
    name = asked["EdgePackagingJobName"]
    job_rows.stop(call, PACKAGES, packaging_resource(name), name)


OPERATIONS = {
    "CreateEdgePackagingJob": ControlOperation(create, writes=True),
    "DescribeEdgePackagingJob": ControlOperation(describe),
    "ListEdgePackagingJobs": ControlOperation(list_jobs),
    "StopEdgePackagingJob": ControlOperation(stop, writes=True),
}
