"""A manager that is killed at a change of its own choice, an operator and devices that go on, and what must hold.

`KilledSite` has the processes. `Operator` calls them, repeats what was not answered, and knows what was: after each
kill, and at the end, it reads all of it back.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeAlias, TypeVar

import boto3
import sqlalchemy as sa
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from gateway.demo.brokers.address import free_ports
from gateway.manager.rollouts import RolloutRepository, RolloutRunner, decisions
from gateway.manager.store import (
    Compaction,
    HistoryLimits,
    ObjectStore,
    Place,
    Retention,
    Store,
    Transaction,
    Turn,
    Uploads,
    open_store,
)
from gateway.manager.store.control_tables import AUDIT, COMPILATION_JOBS, PACKAGES, PLAN_STAGES, PLANS, TAGS
from gateway.manager.store.tables import (
    DEVICE_STATES,
    DEVICES,
    FLEETS,
    OBJECT_PIECES,
    RESULTS,
    ROLLOUT_DEVICES,
    ROLLOUTS,
)
from tests.faults import whole_database
from tests.faults.whole_database import same
from tests.support.arrivals import DEADLINE_S
from tests.support.manager_process import ACCESS, SECRET
from tests.support.polling import until
from tests.support.processes import end, environment, is_alive, line
from tests.support.stores import open_place, stored_samples

ENTRY = Path(__file__).with_name("killed_manager.py")
EPOCH = 1_800_000_000
LATER = 3 * 24 * 3600.0
"""Seconds after which whatever was given up is removed."""
HISTORY = HistoryLimits()
WAITING_JOBS = ("STARTING", "INPROGRESS")

Kill: TypeAlias = tuple[int, str]
"""The number of a change, and "before" or "after" it; or whatever number, and "check" (`killed_manager`)."""
Kills: TypeAlias = Callable[[int], Kill | None]
"""Number of a process, from 0 -> where it kills itself, if at all."""


T = TypeVar("T")


class ManagerParent:
    """Forks the processes of all sites (`killed_manager`), within its context."""

    def __enter__(self) -> Self:
        command, pipe = [sys.executable, str(ENTRY)], subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment())
        return self

    def __exit__(self, *error: object) -> None:
        end(self._process)

    def ask(self, **request: Any) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        told = line(self._process, f"answer to {request}")
        assert told, "it failed: its stderr says why"
        return int(json.loads(told)["answer"])


class KilledSite:
    """One `serve` after the other, and commands, each a process that may kill itself. `place.data` need not exist."""

    def __init__(self, parent: ManagerParent, place: Place, kills: Kills) -> None:
        self.place = place
        self.port = free_ports(1)[0]
        self.started = self.killed = 0
        """Processes."""
        self._parent = parent
        self._kills = kills
        self._serving = 0
        self._store: Store | None = None
        self._output = place.data.parent / "stdout"
        self._log = place.data.parent / "log"

    def close(self) -> None:
        if self._serving:
            self.kill()
        if self._store is not None:
            self._store.close()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def _start(self, arguments: Sequence[str]) -> int:
        kill = self._kills(self.started)
        self.started += 1
        place = str(self.place.data), self.place.url
        files = str(self._output if arguments[0] == "serve" else self._log), str(self._log)
        return self._parent.ask(arguments=list(arguments), place=place, files=files, kill=kill)

    def _wait(self, pid: int) -> int:
        status = self._parent.ask(wait=pid)
        self.killed += status == -signal.SIGKILL
        return status

    def serve(self) -> None:
        """Returns once one listens."""
        while not self._serving:
            self._output.write_text("")
            self._serving = self._start(["serve", "--port", str(self.port)])
            until(self._listens_or_ended, lambda: "it neither listens nor ends")
            if not self._output.read_text():
                self.await_kill()

    def _listens_or_ended(self) -> bool:
        return bool(self._output.read_text()) or not is_alive(self._serving)

    def await_kill(self) -> None:
        """`serve` has killed itself, or is about to."""
        pid, self._serving = self._serving, 0
        assert self._wait(pid) == -signal.SIGKILL, self.log

    def kill(self) -> None:
        """`serve` may have killed itself before."""
        os.kill(self._serving, signal.SIGKILL)
        self.await_kill()

    def never_again(self) -> None:
        """What starts from now on does not kill itself."""
        self._kills = lambda number: None

    def run(self, *arguments: str) -> int:
        """The status of a command."""
        return self._wait(self._start(arguments))

    def read(self, work: Callable[[Transaction], T]) -> T:
        """With SQLite by a connection of its own: a process that is killed is the last one that had it open."""
        if self._store is None:
            self._store = open_store(self.place, create=False, read_only=True)
        return self._store.read(work)

    def until_settled(self) -> None:
        """The background has nothing more to do."""
        until(lambda: not self.read(_unsettled), lambda: f"it goes on: {self.read(_unsettled)}")

    def check_swept(self) -> None:
        """While nothing serves: days later nothing is left of what was given up, or of devices that are gone."""
        now = time.time() + LATER
        with open_place(self.place) as store:
            objects, turn = ObjectStore(self.place.data, store), Turn()
            for step in (
                RolloutRunner(store).advance_all,
                Uploads(objects).sweep,
                Compaction(store, turn, HISTORY.days).step,
                Retention(store, turn, HISTORY).step,
            ):
                while step(now):
                    pass
            if objects.shared is not None:
                written = sa.update(OBJECT_PIECES).values(written=OBJECT_PIECES.c.written - LATER)
                store.write(lambda transaction: transaction.connection.execute(written))
                source = self.place.data.parent / "last"
                source.write_bytes(b"the next one that is put removes what others left")
                objects.put_file(source, "models", "last")
            store.read(whole_database.check)
            store.read(whole_database.check_swept)
        folder = self.place.data / "objects"
        left = [path for name in (".incoming", ".uploads") for path in (folder / name).rglob("*") if path.is_file()]
        whole_database.same("files", left, [])


def _unsettled(transaction: Transaction) -> list[Any]:
    connection = transaction.connection
    asked = PLAN_STAGES.c.state.in_(("STARTING", "STOPPING"))
    found = list(connection.execute(sa.select(PLAN_STAGES.c.name, PLAN_STAGES.c.state).where(asked)))
    for table in (COMPILATION_JOBS, PACKAGES):
        found += connection.execute(sa.select(table.c.name, table.c.status).where(table.c.status.in_(WAITING_JOBS)))
    unfinished = RolloutRepository(transaction).unfinished()
    return found + [each.name for each in unfinished if decisions.next_step(each.progress) is not None]


@dataclass
class Told:
    """One device. `unknown`: heartbeats that may have been stored although nobody said so."""

    heartbeats: int = 0
    unknown: int = 0
    fetched: set[str] = field(default_factory=set)
    results: dict[str, str] = field(default_factory=dict)


class Operator:
    """What was asked of a site, by whoever may ask, and answered. Nothing is asked twice at once."""

    def __init__(self, site: KilledSite, clients: "Clients") -> None:
        self.site = site
        self._clients = clients
        clients.serve_from(site.port)
        self._audited: list[tuple[str, str]] = []
        self.fleets: set[str] = set()
        self.devices: dict[tuple[str, str], Told] = {}
        self.tags: dict[str, dict[str, str]] = {}
        self.jobs: dict[str, dict[str, str]] = {"compilation": {}, "packaging": {}}
        """Kind -> name -> "STOPPED", or "" """
        self.plans: dict[str, dict[str, str]] = {}
        """Plan -> stage -> "ready", "started" or "stopped"."""
        self._fleets_of_plans: dict[str, str] = {}
        self.rollouts: dict[tuple[str, str], str] = {}
        """Of commands: the state that was asked for last."""
        self.files: dict[str, list[bytes]] = defaultdict(list)
        self._put: list[bytes] = []
        """All that was ever put: a package is a copy of one of these."""
        """BUCKET/KEY -> what was put there; only the last may be there where that was answered."""
        self.history: list[str] = []

    # Asking

    def _answer(self, send: Callable[[], Any]) -> tuple[str, Any]:
        """What became of a call: "done", "refused" or "killed", and the output."""
        self.site.serve()
        try:
            return "done", send()
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status >= 500:
                raise AssertionError(self.site.log) from error
            return "refused", error
        except BotoCoreError:  # no connection, or none any more
            self.site.await_kill()
            return "killed", None

    def _command(self, *arguments: str) -> tuple[str, Any]:
        self.site.serve()
        status = self.site.run(*arguments)
        assert status in (0, 2, -signal.SIGKILL), f"status {status} of {arguments}: {self.site.log}"
        return {0: "done", 2: "refused"}.get(status, "killed"), None

    def ask(self, send: Callable[[], Any]) -> Any:
        """What changes nothing, or the same when it is repeated: until it is answered. None: it was refused."""
        while (answer := self._answer(send))[0] == "killed":
            self.check()
        return answer[1] if answer[0] == "done" else None

    def _change(
        self,
        what: str,
        action: str,
        resources: Sequence[str],
        send: Callable[[], tuple[str, Any]],
        done: Callable[[], object],
    ) -> bool:
        """One change with rows of the audit, made once: these tell whether it was. False: it was refused."""
        self.history.append(what)
        while True:
            outcome, output = send()
            rows = self._new_audit()
            if rows:
                assert outcome != "refused", f"{what} was refused ({output}), and changed {rows}"
                same(what, Counter(rows), Counter((action, each) for each in resources))
                self._audited += rows
                done()
            else:
                assert outcome != "done" or not resources, f"{what}: no row of the audit"
            if outcome == "killed":
                self.check()
                if not rows:
                    continue
            return outcome != "refused"

    def _new_audit(self) -> list[tuple[str, str]]:
        """Rows of the audit that no change is known for yet."""
        return self.site.read(lambda transaction: _audit(transaction.connection))[len(self._audited) :]

    def call(self, operation: str, resources: Sequence[str], done: Callable[[], object], **members: Any) -> bool:
        """One change by the control plane; `resources`: of the rows of the audit."""
        client = self._clients.sagemaker
        action = client.meta.method_to_api_mapping[operation]
        send = partial(self._answer, lambda: getattr(client, operation)(**members))
        return self._change(f"{operation} {members}", f"sagemaker:{action}", resources, send, done)

    # What an operator asks for

    def create_fleet(self, fleet: str) -> bool:
        def done() -> None:
            self.fleets.add(fleet)
            self.tags[f"device-fleet/{fleet}"] = {"of": fleet}

        where = {"S3OutputLocation": "s3://models/out"}
        tags = [{"Key": "of", "Value": fleet}]
        resources = [f"device-fleet/{fleet}"]
        return self.call("create_device_fleet", resources, done, DeviceFleetName=fleet, OutputConfig=where, Tags=tags)

    def delete_fleet(self, fleet: str) -> bool:
        def done() -> None:
            self.fleets.discard(fleet)
            self.tags.pop(f"device-fleet/{fleet}")
            for plan in [each for each, of in self._fleets_of_plans.items() if of == fleet]:
                self._forget_plan(plan)
            self.rollouts = {key: state for key, state in self.rollouts.items() if key[0] != fleet}

        return self.call("delete_device_fleet", [f"device-fleet/{fleet}"], done, DeviceFleetName=fleet)

    def register(self, fleet: str, *names: str) -> bool:
        new = [name for name in names if (fleet, name) not in self.devices]

        def done() -> None:
            self.devices |= {(fleet, name): Told() for name in new}

        devices = [{"DeviceName": name} for name in names]
        resources = [f"device-fleet/{fleet}/device/{name}" for name in new]
        return self.call("register_devices", resources, done, DeviceFleetName=fleet, Devices=devices)

    def deregister(self, fleet: str, *names: str) -> bool:
        resources = [f"device-fleet/{fleet}/device/{name}" for name in names]

        def done() -> None:
            for name in names:
                self.devices.pop((fleet, name))
            for resource in resources:
                self.tags.pop(resource, None)

        return self.call("deregister_devices", resources, done, DeviceFleetName=fleet, DeviceNames=list(names))

    def tag(self, resource: str, value: str) -> bool:
        def done() -> None:
            self.tags.setdefault(resource, {})["by"] = value

        arn = f"arn:aws:sagemaker:eu-west-1:000000000000:{resource}"
        return self.call("add_tags", [resource], done, ResourceArn=arn, Tags=[{"Key": "by", "Value": value}])

    def compile(self, name: str, key: str) -> bool:
        def done() -> None:
            self.jobs["compilation"][name] = ""

        members = {
            "RoleArn": "arn:aws:iam::000000000000:role/any",
            "InputConfig": {"S3Uri": f"s3://models/{key}", "Framework": "TFLITE", "DataInputConfig": "{}"},
            "OutputConfig": {"S3OutputLocation": "s3://models/out", "TargetDevice": "rasp4b"},
            "StoppingCondition": {"MaxRuntimeInSeconds": 900},
        }
        resources = [f"compilation-job/{name}"]
        return self.call("create_compilation_job", resources, done, CompilationJobName=name, **members)

    def package(self, name: str, compiled: str) -> bool:
        def done() -> None:
            self.jobs["packaging"][name] = ""

        members = {
            "CompilationJobName": compiled,
            "ModelName": "wake-word",
            "ModelVersion": "1.2",
            "RoleArn": "arn:aws:iam::000000000000:role/any",
            "OutputConfig": {"S3OutputLocation": "s3://models/out"},
        }
        self.files[f"models/out/{name}/wake-word-1.2"] = self._put
        resources = [f"edge-packaging-job/{name}"]
        return self.call("create_edge_packaging_job", resources, done, EdgePackagingJobName=name, **members)

    def stop_package(self, name: str) -> bool:
        def done() -> None:
            self.jobs["packaging"][name] = "STOPPED"

        return self.call("stop_edge_packaging_job", [f"edge-packaging-job/{name}"], done, EdgePackagingJobName=name)

    def delete_compilation(self, name: str) -> bool:
        def done() -> None:
            self.jobs["compilation"].pop(name)
            self.tags.pop(f"compilation-job/{name}", None)

        return self.call("delete_compilation_job", [f"compilation-job/{name}"], done, CompilationJobName=name)

    def create_plan(self, plan: str, fleet: str, package: str, **stages: Any) -> bool:
        """`stages`: name -> the names of devices, or a share in percent."""

        def done() -> None:
            self.plans[plan] = dict.fromkeys(stages, "ready")
            self._fleets_of_plans[plan] = fleet

        return self.call(
            "create_edge_deployment_plan",
            [f"edge-deployment/{plan}"],
            done,
            EdgeDeploymentPlanName=plan,
            DeviceFleetName=fleet,
            ModelConfigs=[{"ModelHandle": plan, "EdgePackagingJobName": package}],
            Stages=[_stage(name, of) for name, of in stages.items()],
        )

    def delete_plan(self, plan: str) -> bool:
        resources = [f"edge-deployment/{plan}"]
        done = partial(self._forget_plan, plan)
        return self.call("delete_edge_deployment_plan", resources, done, EdgeDeploymentPlanName=plan)

    def _forget_plan(self, plan: str) -> None:
        self.plans.pop(plan)
        self._fleets_of_plans.pop(plan)
        self.tags.pop(f"edge-deployment/{plan}", None)

    def add_stage(self, plan: str, stage: str, of: Any) -> bool:
        def done() -> None:
            self.plans[plan][stage] = "ready"

        stages = [_stage(stage, of)]
        resources = [f"edge-deployment/{plan}"]
        return self.call("create_edge_deployment_stage", resources, done, EdgeDeploymentPlanName=plan, Stages=stages)

    def start(self, plan: str, stage: str) -> bool:
        return self._stage_call("start", plan, stage, "started")

    def stop(self, plan: str, stage: str) -> bool:
        return self._stage_call("stop", plan, stage, "stopped")

    def _stage_call(self, verb: str, plan: str, stage: str, after: str) -> bool:
        def done() -> None:
            self.plans[plan][stage] = after

        operation, resources = f"{verb}_edge_deployment_stage", [f"edge-deployment/{plan}"]
        return self.call(operation, resources, done, EdgeDeploymentPlanName=plan, StageName=stage)

    def delete_stage(self, plan: str, stage: str) -> bool:
        def done() -> None:
            self.plans[plan].pop(stage)

        operation, resources = "delete_edge_deployment_stage", [f"edge-deployment/{plan}"]
        return self.call(operation, resources, done, EdgeDeploymentPlanName=plan, StageName=stage)

    # Commands

    def deploy(self, fleet: str, name: str, handle: str, content: bytes, *options: str) -> bool:
        source = self.site.place.data.parent / "model.bin"
        source.write_bytes(content)
        sha1 = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        self.files[f"models/{handle}/{sha1[:16]}.bin"] = [content]

        def done() -> None:
            self.rollouts[fleet, name] = "running"

        arguments = ["deploy", fleet, f"{handle}={source}", "--all", "--name", name, *options]
        return self._run(arguments, "Deploy", fleet, name, done)

    def change_rollout(self, fleet: str, name: str, command: str) -> bool:
        """`command`: pause, resume or abort."""
        states = {"pause": "paused", "resume": "running", "abort": "aborted"}

        def done() -> None:
            self.rollouts[fleet, name] = states[command]

        return self._run([command, fleet, name], f"{command.capitalize()}Deployment", fleet, name, done)

    def undo(self, fleet: str, name: str) -> bool:
        """It makes a rollout, or only ends the one."""
        what, action = f"undo {fleet} {name}", "edge-manager:UndoDeployment"
        self.history.append(what)
        while True:
            outcome, _ = self._command("undo", fleet, name)
            rows = self._new_audit()
            assert {each[0] for each in rows} <= {action}, rows
            assert not rows or outcome != "refused"
            self._audited += rows
            for _, resource in rows:
                undoing = resource.rpartition("/")[2]
                if undoing != name:
                    self.rollouts[fleet, undoing] = "running"
                self.rollouts[fleet, name] = "undone"
            if outcome != "killed":
                return outcome == "done"
            self.check()
            if rows:
                return True

    def _run(self, arguments: Sequence[str], action: str, fleet: str, name: str, done: Callable[[], object]) -> bool:
        resources = [f"device-fleet/{fleet}/deployment/{name}"]
        send = partial(self._command, *arguments)
        return self._change(" ".join(arguments), f"edge-manager:{action}", resources, send, done)

    # The model store

    def put(self, key: str, content: bytes) -> None:
        self.history.append(f"put {key}")
        self._put.append(content)
        self.files[f"models/{key}"].append(content)
        self.ask(partial(self._clients.s3.create_bucket, Bucket="models"))
        self.ask(partial(self._clients.s3.put_object, Bucket="models", Key=key, Body=content))
        self.files[f"models/{key}"] = [content]

    def put_in_parts(self, key: str, content: bytes) -> None:
        """As one part; where the upload is gone it is there."""
        self.history.append(f"put {key} in parts")
        self.files[f"models/{key}"].append(content)
        s3, named = self._clients.s3, {"Bucket": "models", "Key": key}
        upload = {**named, "UploadId": self.ask(partial(s3.create_multipart_upload, **named))["UploadId"]}
        part = self.ask(partial(s3.upload_part, **upload, PartNumber=1, Body=content))
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        self.ask(partial(s3.complete_multipart_upload, **upload, MultipartUpload=parts))
        self.files[f"models/{key}"] = [content]

    # Devices

    def fetch(self, fleet: str, device: str) -> list[str]:
        """The names of its deployments; none where it is not registered."""
        self.history.append(f"fetch {device}")
        send = partial(self._clients.edge.get_deployments, DeviceFleetName=fleet, DeviceName=device)
        answer = self.ask(send)
        names = [each["DeploymentName"] for each in (answer or {}).get("Deployments", ())]
        if names:
            self.devices[fleet, device].fetched |= set(names)
        return names

    def heartbeat(self, fleet: str, device: str, deployment: str | None = None, status: str = "SUCCESS") -> None:
        """With one sample, and perhaps a result."""
        self.history.append(f"heartbeat {device} {deployment} {status}")
        told = self.devices.get((fleet, device)) or Told()
        number = told.heartbeats + 1
        members: dict[str, Any] = {
            "AgentMetrics": [{"MetricName": "number", "Value": number, "Timestamp": EPOCH + number}],
            "Models": [{"ModelName": "wake", "ModelVersion": str(number % 2), "LatestInference": EPOCH + number}],
        }
        if deployment is not None:
            members["DeploymentResult"] = {"DeploymentName": deployment, "DeploymentStatus": status}
            told.results.setdefault(deployment, status)
        send = partial(
            self._clients.edge.send_heartbeat,
            **{"DeviceFleetName": fleet, "DeviceName": device, "AgentVersion": "1", **members},
        )
        while (outcome := self._answer(send)[0]) == "killed":
            told.unknown += 1
            self.check(but=(fleet, device))
        if outcome == "done":
            told.heartbeats = number
            if deployment is not None:
                told.results[deployment] = status

    # What holds

    def until_jobs_ended(self) -> None:
        def ended() -> bool:
            jobs = self.ask(partial(self._clients.sagemaker.list_edge_packaging_jobs, MaxResults=100))
            return all(each["EdgePackagingJobStatus"] not in WAITING_JOBS for each in jobs["EdgePackagingJobSummaries"])

        until(ended, lambda: "a job goes on")

    def until_started(self, plan: str, stage: str) -> None:
        """Each of its devices may fetch it."""

        def is_there() -> bool:
            found = self.ask(
                partial(self._clients.sagemaker.list_stage_devices, EdgeDeploymentPlanName=plan, StageName=stage)
            )
            shown = [each["DeviceDeploymentStatus"] for each in found["DeviceDeploymentSummaries"]]
            return "READYTODEPLOY" not in shown

        until(is_there, lambda: f"{stage} is not there")

    def finish(self) -> None:
        """The last kill, and what holds once the background has ended, and days later."""
        self.site.never_again()
        self.site.serve()
        self.site.kill()
        self.check()
        self.site.serve()
        self.site.until_settled()
        self.check()
        self._check_ended()
        self.site.kill()
        self.site.check_swept()

    def check(self, but: tuple[str, str] | None = None) -> None:
        """What was answered is there, nothing else is, and all of it fits together. `but`: the device whose call was
        not answered."""

        def read(transaction: Transaction) -> None:
            self._check(transaction.connection, but)
            whole_database.check(transaction)

        self.site.read(read)
        whole_database.check_files(self.site.place.data / "objects", self.files)

    def _check(self, connection: sa.Connection, but: tuple[str, str] | None) -> None:
        same("audit", _audit(connection), self._audited)
        same("fleets", set(connection.scalars(sa.select(FLEETS.c.name))), self.fleets)
        self._check_devices(connection, but)
        tags: dict[str, dict[str, str]] = {}
        for resource, name, value in _rows(connection, sa.select(TAGS)):
            tags.setdefault(resource, {})[name] = value
        same("tags", tags, self.tags)
        for kind, table in (("compilation", COMPILATION_JOBS), ("packaging", PACKAGES)):
            jobs = _rows(connection, sa.select(table.c.name, table.c.status).where(table.c.request != "{}"))
            stopped = {name: status if status == "STOPPED" else "" for name, status in jobs}
            same(f"jobs of {kind}", stopped, self.jobs[kind])
        self._check_plans(connection)
        self._check_rollouts(connection)

    def _check_devices(self, connection: sa.Connection, but: tuple[str, str] | None) -> None:
        select = sa.select(DEVICES.c.id, FLEETS.c.name, DEVICES.c.name, DEVICE_STATES.c.accepted)
        joined = select.join_from(DEVICES, FLEETS).join(DEVICE_STATES, DEVICE_STATES.c.device == DEVICES.c.id)
        found = {(fleet, name): (number, accepted) for number, fleet, name, accepted in _rows(connection, joined)}
        same("devices", set(found), set(self.devices))
        samples = stored_samples(Transaction(connection))
        for key, (number, accepted) in found.items():
            told = self.devices[key]
            assert told.heartbeats <= accepted <= told.heartbeats + told.unknown, f"{key}: {accepted} of {told}"
            values = {value for _, value in samples.get(number, ())}
            numbers = {float(each + 1) for each in range(told.heartbeats)}
            stored = sa.select(RESULTS.c.deployment, RESULTS.c.result).where(RESULTS.c.device == number)
            results = {name: json.loads(text)["DeploymentStatus"] for name, text in _rows(connection, stored)}
            if key != but:
                same(f"samples of {key}", values, numbers)
                same(f"results of {key}", results, told.results)
            assert values >= numbers, f"{key}: {values} of {told}"
            states = sa.select(ROLLOUTS.c.name, ROLLOUT_DEVICES.c.state).join_from(ROLLOUT_DEVICES, ROLLOUTS)
            published = ROLLOUT_DEVICES.c.device == number, ROLLOUTS.c.state != "preparing"
            reached = dict(_rows(connection, states.where(*published)))
            for name in told.fetched:
                assert reached[name] not in ("waiting", "given", "withdrawn"), f"{key} fetched {name}: {reached}"

    def _check_plans(self, connection: sa.Connection) -> None:
        found: dict[str, set[str]] = {name: set() for name in connection.scalars(sa.select(PLANS.c.name))}
        select = sa.select(PLANS.c.name, PLAN_STAGES.c.name, PLAN_STAGES.c.state, ROLLOUTS.c.state)
        joined = select.join_from(PLAN_STAGES, PLANS).outerjoin(ROLLOUTS, ROLLOUTS.c.id == PLAN_STAGES.c.rollout)
        for plan, stage, state, rollout in _rows(connection, joined):
            found[plan].add(stage)
            asked = self.plans[plan][stage]
            assert (state, rollout) in _STAGES[asked], f"{plan} {stage} was {asked}: {state}, {rollout}"
        same("plans", found, {plan: set(stages) for plan, stages in self.plans.items()})

    def _check_rollouts(self, connection: sa.Connection) -> None:
        select = sa.select(FLEETS.c.name, ROLLOUTS.c.name, ROLLOUTS.c.state).join_from(ROLLOUTS, FLEETS)
        made = select.where(ROLLOUTS.c.plan.is_(None), ROLLOUTS.c.state != "preparing")
        found = {(fleet, name): state for fleet, name, state in _rows(connection, made)}
        same("rollouts", set(found), set(self.rollouts))
        for key, state in found.items():
            assert state in _STATES[self.rollouts[key]], f"{key} was {self.rollouts[key]}: {state}"

    def _check_ended(self) -> None:
        """What was started is no longer STARTING: `KilledSite.until_settled` waited for that. The API says the same."""
        for plan, stages in self.plans.items():
            found = self.ask(
                partial(self._clients.sagemaker.describe_edge_deployment_plan, EdgeDeploymentPlanName=plan)
            )
            assert [each["StageName"] for each in found["Stages"]] == list(stages)
            for each in ("Success", "Pending", "Failed"):
                counted = sum(one["DeploymentStatus"][f"EdgeDeployment{each}InStage"] for one in found["Stages"])
                assert found[f"EdgeDeployment{each}"] == counted
        for name, contents in self.files.items():
            bucket, _, key = name.partition("/")
            answer = self.ask(partial(self._clients.s3.get_object, Bucket=bucket, Key=key))
            assert answer is None or answer["Body"].read() in contents


_GOES_ON = ("running", "completed", "stopped")
_STATES = {
    "running": _GOES_ON,
    "paused": ("paused", "stopped"),
    "aborted": ("aborted",),
    "undone": ("aborted", "completed", "stopped"),
}
"""Of a rollout of a command, by what was asked for last."""
_STAGES: dict[str, list[tuple[str, str | None]]] = {
    "ready": [("READYTODEPLOY", None)],
    "started": [("STARTING", None), ("FAILED", None), *(("INPROGRESS", each) for each in _GOES_ON)],
    "stopped": [("STOPPING", None), ("STOPPED", None), ("INPROGRESS", "aborted")],
}
"""Of a stage, and of its rollout, likewise."""


def _stage(name: str, of: Any) -> dict[str, Any]:
    if isinstance(of, int):
        return {"StageName": name, "DeviceSelectionConfig": {"DeviceSubsetType": "PERCENTAGE", "Percentage": of}}
    return {"StageName": name, "DeviceSelectionConfig": {"DeviceSubsetType": "SELECTION", "DeviceNames": list(of)}}


def _audit(connection: sa.Connection) -> list[tuple[str, str]]:
    """But for what is told once or twice where a call is killed and repeated: what S3 changed, packages of `deploy`."""
    row = AUDIT.c
    of_deploy = (row.action == "edge-manager:Deploy") & row.resource.like("edge-packaging-job/%")
    select = sa.select(row.action, row.resource).where(row.resource.not_like("s3://%"), ~of_deploy)
    return _rows(connection, select.order_by(row.id))


def _rows(connection: sa.Connection, select: sa.Select[Any]) -> list[Any]:
    return [tuple(row) for row in connection.execute(select)]


class Clients:
    """boto3's, made once, since that takes long: they call the port of the site that serves now, each call once."""

    def __init__(self) -> None:
        self._port = 0
        self.sagemaker = self._client("sagemaker")
        self.edge = self._client("sagemaker-edge")
        self.s3 = self._client("s3")

    def serve_from(self, port: int) -> None:
        self._port = port

    def _client(self, service: str) -> Any:
        client = boto3.Session().client(  # type: ignore[call-overload]
            service,
            endpoint_url="http://127.0.0.1",
            region_name="eu-west-1",
            aws_access_key_id=ACCESS,
            aws_secret_access_key=SECRET,
            config=Config(
                retries={"total_max_attempts": 1},
                connect_timeout=DEADLINE_S,
                read_timeout=DEADLINE_S,
                s3={"addressing_style": "path"},
            ),
        )

        def direct(request: Any, **_: Any) -> None:
            request.url = request.url.replace("http://127.0.0.1/", f"http://127.0.0.1:{self._port}/", 1)

        client.meta.events.register("before-sign", direct)
        return client
