"""Who acted: every kind of body either names somebody, who is found, or is listed as naming nobody."""

from typing import Any, get_args

import msgspec
import pytest

from pipeline.model import events
from pipeline.model.actor import DAEMON, actor_of, relation, with_uids
from pipeline.model.events import AnyBody, Body, Event
from pipeline.model.identity import Directory, Identity
from pipeline.model.source import Source

AT = 1_772_409_600_000
U017 = Identity(
    id="u017",
    uid=5017,
    login="u017",
    names=(
        ("kubernetes", "oidc:u017@corp.example"),
        ("cloud", "arn:aws:iam::123456789012:user/u017"),
        ("bastion", "seventeen"),
        ("git", "u017-dev"),
        ("key", "SHA256:abc"),
        ("email", "u017@example.org"),
    ),
)
U012 = Identity(id="u012", uid=5012, login="u012")
ROBOT = Identity(id="resharder", names=(("kubernetes", "system:serviceaccount:llm:resharder"),), role="service")
DIRECTORY = Directory([U017, U012, ROBOT])

# Kinds of bodies that name nobody who acted: what a machine, a scheduler or a job says of itself.
NOBODY = frozenset({
    "JobStep", "ControllerJob", "NodeState", "RankFailed", "RanksClosed", "Iteration", "CheckpointNote", "StepCancelled", "TaskEnded",
    "StepOom", "CollectiveTimeout", "TrainingLine", "ModuleImported", "Xid", "KernelLine", "Heartbeat", "Progress", "ObjectEvent",
    "HistoryBegins", "LinePart",
})  # fmt: skip

SOMEBODY: dict[str, tuple[Source, Body]] = {
    "JobRecord by uid": (Source.JOBCOMP, events.JobRecord(job="7", phase="start", owner_uid=5017)),
    "JobRecord by name": (Source.SACCT, events.JobRecord(job="7", phase="end", owner="u017", cancelled_by="u012")),
    "KillRequest": (Source.SLURMCTLD, events.KillRequest(job="7", uid=5017)),
    "JobUpdate": (Source.SLURMCTLD, events.JobUpdate(job="7", uid=5017)),
    "ControllerNote": (Source.SLURMCTLD, events.ControllerNote(note="refused", uid=5017)),
    "ProcessStarted": (Source.PROBE, events.ProcessStarted(job="7", pid=1, uid=5017)),
    "CheckpointSaved": (Source.PROBE, events.CheckpointSaved(job="7", path="/c", sha256="a", uid=5017)),
    "CheckpointLoaded": (Source.PROBE, events.CheckpointLoaded(job="7", path="/c", sha256="a", uid=5017)),
    "AuditRecord": (Source.AUDITD, events.AuditRecord(record_type="SYSCALL", serial=1, fields={"auid": "5017", "uid": "0"})),
    "SignalSent by login": (Source.AUDITD, events.SignalSent(signal=9, target_pid=1, success=True, serial=1, auid=5017, uid=5012)),
    "SignalSent by uid": (Source.AUDITD, events.SignalSent(signal=9, target_pid=1, success=True, serial=1, uid=5017)),
    "FileTouched": (Source.AUDITD, events.FileTouched(action="written", path="/c", serial=1, success=True, auid=5017, file_uid=5012)),
    "ProcessRun": (Source.AUDITD, events.ProcessRun(serial=1, arguments=("scancel",), success=True, auid=5017, uid=0)),
    "Login": (Source.SSHD, events.Login(user="u017", outcome="accepted")),
    "Login with another's key": (Source.SSHD, events.Login(user="u012", outcome="accepted", fingerprint="ED25519 SHA256:abc")),
    "Login with a certificate": (
        Source.SSHD, events.Login(user="root", outcome="accepted", fingerprint="RSA-CERT SHA256:abc ID SHA256:x (serial 0) CA RSA SHA256:y")
    ),
    "Login with an unknown key": (Source.SSHD, events.Login(user="u017", outcome="accepted", fingerprint="RSA SHA256:x")),
    "Login that was refused": (Source.SSHD, events.Login(user="u017", outcome="failed", fingerprint="RSA SHA256:abc")),
    "Login at a bastion": (Source.TELEPORT, events.Login(user="seventeen", outcome="accepted")),
    "SessionChanged": (Source.SSHD, events.SessionChanged(user="u017", change="opened")),
    "SessionChanged at a bastion": (Source.TELEPORT, events.SessionChanged(user="root", change="opened", by="seventeen")),
    "PrivilegeUsed": (Source.SSHD, events.PrivilegeUsed(user="u017", run_as="root")),
    "AccessLine": (Source.SSHD, events.AccessLine(what="cron", user="u017")),
    "OomKill": (Source.KERNEL, events.OomKill(pid=1, uid=5017)),
    "KubernetesRequest": (Source.KUBERNETES_AUDIT, events.KubernetesRequest(user="oidc:u017@corp.example", verb="delete")),
    "RuntimeAlert by login": (Source.FALCO, events.RuntimeAlert(rule="r", auid=5017, uid=0, user="root")),
    "RuntimeAlert by name": (Source.FALCO, events.RuntimeAlert(rule="r", user="u017")),
    "ProcessEnded": (Source.TETRAGON, events.ProcessEnded(pid=1, auid=5017, uid=0)),
    "KernelCall": (Source.TETRAGON, events.KernelCall(function="security_task_kill", uid=5017)),
    "ObjectAccess at S3": (
        Source.S3_ACCESS,
        events.ObjectAccess(action="deleted", operation="DELETE", path="s3://b/k", user="arn:aws:iam::123456789012:user/u017"),
    ),
    "ObjectAccess in HDFS": (Source.HDFS_AUDIT, events.ObjectAccess(action="deleted", operation="delete", path="/c", user="u017")),
    "ObjectAccess in Lustre": (Source.LUSTRE_CHANGELOG, events.ObjectAccess(action="deleted", operation="UNLNK", path="/c", uid=5017)),
    "CloudRequest": (
        Source.CLOUDTRAIL, events.CloudRequest(user="arn:aws:iam::123456789012:user/u017", service="ec2", operation="TerminateInstances")
    ),
    "FileIntegrity": (Source.WAZUH, events.FileIntegrity(action="written", path="/c", user="u017", owner="u012")),
    "CodePushed": (Source.GIT_PUSH, events.CodePushed(user="u017-dev", repository="llm", ref="main")),
    "SessionCommand": (Source.TELEPORT, events.SessionCommand(user="u017@example.org", command="kill -9 1", login="root")),
    "SessionCommand by account": (Source.TELEPORT, events.SessionCommand(user="", command="kill -9 1", login="u017")),
    "DaemonNote": (Source.SLURMD, events.DaemonNote(what="signal", uid=5017, owner_uid=5012)),
    **{
        name: (Source.PROBE, body)
        for name, body in {
            "HookFound": events.HookFound(job="7", hook="pth", path="/c", sha256="a", uid=5017),
            "EnvironmentSet": events.EnvironmentSet(job="7", name="LD_PRELOAD", sha256="a", uid=5017),
            "GlobalUnpickled": events.GlobalUnpickled(job="7", module="os", name="system", uid=5017),
            "ProcessSpawned": events.ProcessSpawned(job="7", means="os.system", uid=5017),
            "SignalRequested": events.SignalRequested(job="7", signal=9, target_pid=1, uid=5017),
            "SocketUsed": events.SocketUsed(job="7", action="connect", address="10.0.0.1", port=22, uid=5017),
            "ProbeNote": events.ProbeNote(job="7", what="failed", uid=5017),
        }.items()
    },
}  # fmt: skip


def event(source: Source, body: Any) -> Event:
    return Event(id="1", source=source, cluster="main", event_time=AT, body=body)


@pytest.mark.parametrize(("source", "body"), SOMEBODY.values(), ids=SOMEBODY)
def test_who_acted_is_found(source: Source, body: Body) -> None:
    """The same person behind each name that sources have."""
    assert actor_of(DIRECTORY, event(source, body)) == U017


def test_every_kind_of_body_is_spoken_for() -> None:
    """A new kind is put into one of the two lists."""
    kinds = {kind.__name__ for kind in get_args(AnyBody)}
    assert {type(body).__name__ for _, body in SOMEBODY.values()} == kinds - NOBODY
    assert kinds >= NOBODY


@pytest.mark.parametrize("kind", [kind for kind in get_args(AnyBody) if kind.__name__ in NOBODY], ids=lambda kind: kind.__name__)
def test_what_names_nobody_has_no_actor(kind: type[Body]) -> None:
    """No field of it is somebody's uid or name."""
    assert {"uid", "auid", "owner_uid", "user", "owner", "login"}.isdisjoint(kind.__struct_fields__)


@pytest.mark.parametrize(
    ("source", "body", "identity"),
    [
        pytest.param(Source.AUDITD, events.SignalSent(signal=9, target_pid=1, success=True, serial=1, uid=0), DAEMON, id="daemon"),
        pytest.param(Source.WAZUH, events.FileIntegrity(action="written", path="/c", owner="u012"), None, id="an owner is no actor"),
        pytest.param(Source.KUBERNETES_AUDIT, events.KubernetesRequest(user="", verb="get"), None, id="nobody"),
        pytest.param(
            Source.KUBERNETES_AUDIT,
            events.KubernetesRequest(user="system:serviceaccount:llm:resharder", verb="delete"),
            ROBOT,
            id="a service account",
        ),
        pytest.param(
            Source.KUBERNETES_AUDIT,
            events.KubernetesRequest(user="u017", verb="get"),
            Identity(id="kubernetes:u017"),
            id="a login is no name of the API server",
        ),
    ],
)
def test_who_did_not(source: Source, body: Body, identity: Identity | None) -> None:
    """Neither the system, nor who only owns something, nor who has the same name elsewhere."""
    assert actor_of(DIRECTORY, event(source, body)) == identity


@pytest.mark.parametrize(
    ("given", "uids"),
    [
        ({"owner": "u017", "cancelled_by": "u012"}, (5017, 5012)),
        ({"owner": "u017", "owner_uid": 7, "cancelled_by": "u012", "cancelled_by_uid": 0}, (7, 0)),
        ({"owner": "u099", "cancelled_by": "root"}, (None, None)),
        ({}, (None, None)),
    ],
    ids=["names alone", "the source's uids win", "unknown names", "no names"],
)
def test_uids_for_names(given: dict[str, Any], uids: tuple[int | None, int | None]) -> None:
    """Only where the source has none and the map knows the name."""
    record = with_uids(DIRECTORY, events.JobRecord(job="7", phase="end", **given), AT)
    assert (record.owner_uid, record.cancelled_by_uid) == uids


def test_a_key_stays_its_holders() -> None:
    """Who has left has not given it away: a login by it is not the account's owner's.  Enrolled again, it is the new holder's."""
    key = (("key", "SHA256:abc"),)
    left, new = Identity(id="u011", names=key, valid_to=AT), Identity(id="u013", names=key, valid_from=AT + 1000)
    directory = Directory([left, new, U012])
    login = events.Login(user="u012", address="10.20.1.7", method="publickey", outcome="accepted", fingerprint="ED25519 SHA256:abc")
    found = [actor_of(directory, msgspec.structs.replace(event(Source.SSHD, login), event_time=at)) for at in (AT - 1, AT, AT + 1000)]
    assert [who.id for who in found if who is not None] == ["u011", "u011", "u013"]


@pytest.mark.parametrize(
    ("valid_from", "expected"),
    [(AT, "foreign"), (AT - 1, "owner"), (0, "owner")],
    ids=["behind the other's end", "while both had it", "two names for one account"],
)
def test_a_uid_that_was_given_away_is_another_persons(valid_from: int, expected: str) -> None:
    """Who has left is not who has the number now; two entries at one time are one account."""
    left = Identity(id="u011", uid=5011, login="u011", role="member", valid_to=AT)
    heir = Identity(id="u077", uid=5011, login="u077", role="member", valid_from=valid_from)
    assert relation(left, heir) == relation(heir, left) == expected
