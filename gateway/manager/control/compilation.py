"""Compilation jobs that compile nothing: the file that a job names is taken as it is.

A job is COMPLETED once the file is there (`jobs`), and its artifact is that file.
"""

import json
import re
from typing import Any

import sqlalchemy as sa

from gateway.manager.control import job_rows, tags
from gateway.manager.control.arns import compilation_resource
from gateway.manager.control.calls import ControlCall, ControlOperation, Members
from gateway.manager.control.paging import contains, in_times, page, with_token
from gateway.manager.errors import validation_error
from gateway.manager.store.control_tables import COMPILATION_JOBS

OBJECT = re.compile(r"s3://[a-z0-9][a-z0-9.-]+/[^\x00-\x1f\x7f\ud800-\udfff]*[^/\x00-\x1f\x7f\ud800-\udfff]")
"""The URL of one file."""
_TARGET = {"TargetDevice": "CompilationTargetDevice"}
_PLATFORM = {name: f"CompilationTargetPlatform{name}" for name in ("Os", "Arch", "Accelerator")}


def create(call: ControlCall, asked: Members) -> Members:
    name = asked["CompilationJobName"]
    if "InputConfig" not in asked:
        why = (
            "there are no model packages here" if "ModelPackageVersionArn" in asked else "nothing says what the file is"
        )
        raise validation_error(f"{why}: name the model file by InputConfig.S3Uri")
    if not OBJECT.fullmatch(asked["InputConfig"]["S3Uri"]):
        raise validation_error("InputConfig.S3Uri names no file of this model store: should be s3://BUCKET/KEY")
    job_rows.add(call, COMPILATION_JOBS, compilation_resource(name), asked, name=name, status="INPROGRESS")
    return {"CompilationJobArn": call.arn(compilation_resource(name))}


def describe(call: ControlCall, asked: Members) -> Members:
    name = asked["CompilationJobName"]
    row = job_rows.require(call, COMPILATION_JOBS, compilation_resource(name), name)
    request = json.loads(row.request)
    return {
        **request,
        "CompilationJobArn": call.arn(compilation_resource(name)),
        "CompilationJobStatus": row.status,
        "CreationTime": row.created,
        "LastModifiedTime": row.changed,
        "FailureReason": row.message,
        "ModelArtifacts": {"S3ModelArtifacts": request["InputConfig"]["S3Uri"]},
        **_times(row),
    }


def _times(row: sa.Row[Any]) -> dict[str, float]:
    ended = {} if row.status in job_rows.ACTIVE else {"CompilationEndTime": row.changed}
    return {"CompilationStartTime": row.created, **ended}


def list_jobs(call: ControlCall, asked: Members) -> Members:
    columns = COMPILATION_JOBS.c
    select = sa.select(COMPILATION_JOBS).where(*in_times(asked, columns.created, columns.changed))
    if "NameContains" in asked:
        select = select.where(contains(columns.name, asked["NameContains"]))
    if "StatusEquals" in asked:
        select = select.where(columns.status == asked["StatusEquals"])
    sorts = {"Name": columns.name, "CreationTime": columns.created, "Status": columns.status}
    rows, token = page(call.connection, select, asked, columns.id, sorts, "CreationTime")
    return with_token({"CompilationJobSummaries": [_summary(call, row) for row in rows]}, token)


def _summary(call: ControlCall, row: sa.Row[Any]) -> Members:
    output = json.loads(row.request)["OutputConfig"]
    target = {name: output[member] for member, name in _TARGET.items() if member in output}
    platform = output.get("TargetPlatform", {})
    return {
        "CompilationJobName": row.name,
        "CompilationJobArn": call.arn(compilation_resource(row.name)),
        "CompilationJobStatus": row.status,
        "CreationTime": row.created,
        "LastModifiedTime": row.changed,
        **_times(row),
        **target,
        **{name: platform[member] for member, name in _PLATFORM.items() if member in platform},
    }


def stop(call: ControlCall, asked: Members) -> None:
    name = asked["CompilationJobName"]
    job_rows.stop(call, COMPILATION_JOBS, compilation_resource(name), name)


def delete(call: ControlCall, asked: Members) -> None:
    name = asked["CompilationJobName"]
    resource = compilation_resource(name)
    row = job_rows.require(call, COMPILATION_JOBS, resource, name, lock=True)
    if row.status in job_rows.ACTIVE:
        raise validation_error(f"{resource} goes on, it is {row.status}: stop it first")
    tags.delete_all(call, [resource])
    call.connection.execute(sa.delete(COMPILATION_JOBS).where(COMPILATION_JOBS.c.id == row.id))
    call.audit(resource, json.loads(row.request), None)


OPERATIONS = {
    "CreateCompilationJob": ControlOperation(create, writes=True),
    "DescribeCompilationJob": ControlOperation(describe),
    "ListCompilationJobs": ControlOperation(list_jobs),
    "StopCompilationJob": ControlOperation(stop, writes=True),
    "DeleteCompilationJob": ControlOperation(delete, writes=True),
}
