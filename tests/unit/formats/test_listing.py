"""Lists of jobs: what sacct, squeue and kubectl print of those that are not over, each with owner, hosts and times."""

import json
from contextlib import suppress
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError, RejectedRecord
from pipeline.formats import registry
from pipeline.formats.line import Line, Reading
from pipeline.formats.listing import COMMANDS, SQUEUE_FORMAT, Listing, read_listing
from pipeline.formats.payloads import bootstrap, sacct
from pipeline.formats.payloads.bootstrap import ListedJob
from pipeline.model.events import HistoryBegins, JobRecord

T0 = 1_772_409_600_000  # 2026-03-02T00:00:00Z
READING = Reading(zone=ZoneInfo("UTC"), reference_time=T0)
SHANGHAI = Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=T0)
HOUR = 3_600_000


def read(text: str | dict[str, Any], reading: Reading = READING) -> Listing:
    return read_listing((text if isinstance(text, str) else json.dumps(text)).encode(), reading)


# --- sacct --------------------------------------------------------------------------------------------------------------------------

HEADER = "|".join(sacct.COLUMNS)
RUNNING = (
    "48213|48213|pretrain|u017|5017|llm|gpu|normal|RUNNING|0:0|0:0|2026-03-01T20:00:00+0000|"
    "2026-03-01T20:01:00+0000|Unknown|04:00:00|2-00:00:00|2|gpu-[001-002]|billing=16,gres/gpu=16|1"
)
STEP = RUNNING.replace("48213|48213|", "48213.0|48213.0|")
PENDING = (
    "48214_[1-3]|48214|a|b|u018|5018|llm|gpu|normal|PENDING|0:0|0:0|2026-03-01T21:00:00+0000|Unknown|"
    "Unknown|00:00:00|UNLIMITED|1|None assigned||0"
)
OVER = (
    "48200|48200|old|u017|5017|llm|gpu|normal|CANCELLED by 5012|0:0|0:0|2026-03-01T20:00:00+0000|"
    "2026-03-01T20:01:00+0000|2026-03-01T21:00:00+0000|01:00:00|1-00:00:00|1|gpu-003|gres/gpu=8|0"
)
JOB = ListedJob(
    job="48213",
    state="RUNNING",
    owner_uid=5017,
    owner="u017",
    account="llm",
    partition="gpu",
    qos="normal",
    name="pretrain",
    submit=T0 - 4 * HOUR,
    start=T0 - 4 * HOUR + 60_000,
    nodes=("gpu-001", "gpu-002"),
    gpus=16,
    restarts=1,
    time_limit_seconds=172_800,
)
WAITING = ListedJob(
    job="48214",
    state="PENDING",
    owner_uid=5018,
    owner="u018",
    account="llm",
    partition="gpu",
    qos="normal",
    name="a|b",
    submit=T0 - 3 * HOUR,
    restarts=0,
    array="48214_[1-3]",
)


@pytest.mark.parametrize(
    "rows",
    [
        [HEADER, RUNNING, STEP, PENDING, OVER],
        [RUNNING, STEP, PENDING, OVER],
        [f"{row}|" for row in (HEADER, RUNNING, STEP, PENDING, OVER)],
    ],
    ids=["with header", "without header", "-p"],
)
def test_sacct(rows: list[str]) -> None:
    """Jobs that run or wait; no steps, none that is over; a name may hold the delimiter."""
    assert read("\n".join(rows) + "\r\n") == Listing("sacct", (JOB, WAITING), ())


def test_sacct_with_columns_of_ones_own() -> None:
    """The first line names them; those that are not there are not known."""
    text = "JobIDRaw|User|State|Submit|Start|NodeList\n48213|u017|RUNNING|2026-03-02T04:00:00|2026-03-02T04:01:00|gpu-001\n"
    (job,) = read(text, SHANGHAI).jobs
    assert job == ListedJob(
        job="48213", owner="u017", state="RUNNING", submit=T0 - 4 * HOUR, start=T0 - 4 * HOUR + 60_000, nodes=("gpu-001",)
    )
    with pytest.raises(ConfigError) as caught:
        read("JobID|User|State\n7|u017|RUNNING\n")
    assert COMMANDS["sacct"] in caught.value.advice


# --- squeue -------------------------------------------------------------------------------------------------------------------------

SQUEUE = """\
JOBID|JOBID|USER|UID|ACCOUNT|PARTITION|QOS|STATE|SUBMIT_TIME|START_TIME|TIME_LIMIT|NODELIST|TRES_PER_NODE|WORK_DIR|NAME
48213|48213|u017|5017|llm|gpu|normal|RUNNING|2026-03-01T20:00:00|2026-03-01T20:01:00|2-00:00:00|gpu-[001-002]|gres:gpu:a100:8|/lustre/u017|pretrain|x
48214|48214_[1-3]|u018|5018|llm|gpu|normal|PENDING|2026-03-01T21:00:00|2026-03-03T00:00:00|UNLIMITED||gres/gpu:8|/lustre/u018|a
48215|48215|u018|5018|llm|gpu|normal|COMPLETED|2026-03-01T21:00:00|2026-03-01T22:00:00|30:00|gpu-003|N/A|/lustre/u018|a
"""


@pytest.mark.parametrize("text", [SQUEUE, SQUEUE.partition("\n")[2]], ids=["with header", "-h"])
def test_squeue(text: str) -> None:
    """In the order of the format that `--commands` shows; the start of a waiting job is a forecast."""
    listing = read(text)
    assert (listing.kind, listing.refused) == ("squeue", ())
    running, waiting = listing.jobs
    assert running == ListedJob(
        job="48213",
        state="RUNNING",
        owner_uid=5017,
        owner="u017",
        account="llm",
        partition="gpu",
        qos="normal",
        name="pretrain|x",
        submit=T0 - 4 * HOUR,
        start=T0 - 4 * HOUR + 60_000,
        nodes=("gpu-001", "gpu-002"),
        gpus=16,
        time_limit_seconds=172_800,
        work_dir="/lustre/u017",
    )
    assert (waiting.job, waiting.start, waiting.nodes, waiting.array) == ("48214", None, (), "48214_[1-3]")
    assert SQUEUE_FORMAT in COMMANDS["squeue"]


def test_a_row_that_cannot_be_read_hides_no_other() -> None:
    """It is told, with why."""
    listing = read(SQUEUE.replace("48214|48214_[1-3]", "forty|48214_[1-3]") + "torn off|1\n")
    assert [job.job for job in listing.jobs] == ["48213"]
    assert [row.partition("|")[0] for row in listing.refused] == ["forty", "torn off"]


def wrapped(number: int) -> dict[str, Any]:
    return {"set": True, "infinite": False, "number": number}


@pytest.mark.parametrize("wrap", [wrapped, int], ids=["wrapped numbers", "bare numbers"])
def test_squeue_as_json(wrap: Any) -> None:
    """Either parser's numbers; jobs that are over are there as well."""
    job: dict[str, Any] = {
        "job_id": 48213, "job_state": ["RUNNING"], "user_name": "u017", "user_id": 5017, "account": "llm", "partition": "gpu",
        "qos": "normal", "name": "pretrain", "submit_time": wrap(T0 // 1000 - 4 * 3600), "start_time": wrap(T0 // 1000 - 4 * 3600 + 60),
        "end_time": wrap(T0 // 1000 + 9), "nodes": "gpu-[001-002]", "tres_alloc_str": "cpu=1,gres/gpu=16", "restart_cnt": 1,
        "time_limit": wrap(2880), "array_job_id": wrap(0), "het_job_id": wrap(0), "command": "/secret.sh",
    }  # fmt: skip
    listing = read({"meta": {}, "jobs": [job, {**job, "job_id": 1, "job_state": "COMPLETED"}, {"job_state": "RUNNING"}]})
    assert listing.jobs == (JOB,)
    assert len(listing.refused) == 1


def test_sacct_as_json() -> None:
    """By the parser of the export."""
    job: dict[str, Any] = {
        "job_id": 48213, "user": "u017", "state": {"current": ["RUNNING"]}, "nodes": "gpu-001", "exit_code": {}, "derived_exit_code": {},
        "time": {"submission": T0 // 1000 - 60, "start": T0 // 1000, "end": 0}, "steps": [{"step": {"id": "48213.0"}, "time": {}}],
    }  # fmt: skip
    (listed,) = read({"jobs": [job, {**job, "state": {"current": ["FAILED"]}, "time": {**job["time"], "end": T0 // 1000 + 1}}]}).jobs
    assert (listed.job, listed.owner, listed.submit, listed.start, listed.nodes) == ("48213", "u017", T0 - 60_000, T0, ("gpu-001",))


# --- Kubernetes ---------------------------------------------------------------------------------------------------------------------


WORKLOAD: dict[str, Any] = {
    "kind": "PyTorchJob",
    "metadata": {
        "name": "pretrain", "namespace": "llm", "creationTimestamp": "2026-03-01T20:00:00Z",
        "annotations": {"example.org/owner": "oidc:u017@example.org"}, "labels": {"owner": "other"},
    },
}  # fmt: skip


def pod(name: str, node: str = "gpu-001.example", started: str | None = "2026-03-01T20:02:00Z", **given: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "llm", "creationTimestamp": "2026-03-01T20:01:00Z", **given.pop("metadata", {})}
    spec = {
        "nodeName": node,
        "containers": [{"resources": {"limits": {"nvidia.com/gpu": "8"}}, "env": [{"name": "TOKEN", "value": "secret"}]}],
    }
    status = {"phase": "Running" if started else "Pending", **({"startTime": started} if started else {}), **given}
    return {"kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def by(kind: str, name: str) -> dict[str, Any]:
    return {"ownerReferences": [{"kind": kind, "name": name, "controller": True}]}


def test_pods_of_a_workload_are_one_job() -> None:
    """Its creation, the first start, the hosts and cards of all pods; nothing of their environment."""
    pods = [
        pod("pretrain-worker-0", metadata=by("PyTorchJob", "pretrain")),
        pod("pretrain-worker-1", "gpu-002", "2026-03-01T20:03:00Z", metadata=by("PyTorchJob", "pretrain")),
    ]
    listing = read({"kind": "List", "items": [*pods, WORKLOAD]})
    assert listing.kind == "kubernetes"
    assert listing.jobs == (
        ListedJob(
            job="llm/pretrain",
            state="RUNNING",
            owner="oidc:u017@example.org",
            account="llm",
            name="pretrain",
            submit=T0 - 4 * HOUR,
            start=T0 - 4 * HOUR + 120_000,
            nodes=("gpu-001", "gpu-002"),
            gpus=16,
        ),
    )
    assert b"secret" not in bootstrap.encode(listing.jobs[0], T0, "kubernetes")


@pytest.mark.parametrize(
    ("items", "jobs"),
    [
        ([pod("a", metadata=by("DaemonSet", "a"))], {}),
        ([pod("web-7d-x", metadata=by("ReplicaSet", "web-7d"))], {}),
        ([pod("etcd", metadata=by("Node", "ctl-001"))], {}),
        ([pod("a", phase="Succeeded"), pod("b", phase="Failed")], {}),
        ([pod("lonely")], {"llm/lonely": "RUNNING"}),
        ([pod("pretrain-0", "", None)], {"llm/pretrain": "PENDING"}),
        ([WORKLOAD], {"llm/pretrain": "PENDING"}),
        ([{**WORKLOAD, "status": {"conditions": [{"type": "Succeeded", "status": "True"}]}}, pod("pretrain-worker-0")], {}),
        ([{**WORKLOAD, "status": {"conditions": [{"type": "Succeeded", "status": "False"}]}}], {"llm/pretrain": "PENDING"}),
        ([{"kind": "Service", "metadata": {"name": "a", "namespace": "llm"}}, {}, 7], {}),
    ],
    ids=[
        "daemon", "service", "node", "over", "a pod alone", "not on a node yet", "no pods yet", "workload is over", "it is not", "others",
    ],
)  # fmt: skip
def test_what_is_a_job(items: list[Any], jobs: dict[str, str]) -> None:
    """What runs for a while and was not made by the cluster for itself."""
    assert {job.job: job.state for job in read({"items": items}).jobs} == jobs


def test_owners_by_labels_that_the_site_names() -> None:
    """Before the usual ones; annotations before labels."""
    pods = json.dumps({"items": [pod("a", metadata={"labels": {"team.example/who": "u017", "owner": "u018"}})]}).encode()
    assert [read_listing(pods, READING, names).jobs[0].owner for names in (("who", "owner"), ("owner",), ("team",))] == ["u017", "u018", ""]


# --- what is no list ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["an ordinary sentence", "{", '{"a":1}', "a|b|c"])
def test_what_is_no_list_is_refused(text: str) -> None:
    """With the commands that make one."""
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert caught.value.advice


@pytest.mark.parametrize("text", ["", "\n\n", '{"jobs":[]}', '{"items":[]}', HEADER])
def test_an_empty_list_has_no_jobs(text: str) -> None:
    """A cluster at rest."""
    assert (read(text).jobs, read(text).refused) == ((), ())


@given(st.binary(max_size=300) | st.sampled_from([RUNNING, SQUEUE, json.dumps({"items": [pod("a")]})]).map(str.encode), st.data())
def test_whatever_the_bytes(text: bytes, data: st.DataObject) -> None:
    """Jobs, or a refusal: never another exception."""
    at, change = (
        data.draw(st.integers(0, len(text))),
        data.draw(st.sampled_from([b"", b"|", b'"', b"{", b"\xff", b"[", b"9" * 30, b"null"])),
    )
    with suppress(ConfigError):
        read_listing(text[:at] + change + text[at + data.draw(st.integers(0, 3)) :], READING)


# --- the record ---------------------------------------------------------------------------------------------------------------------


def parsed(payload: bytes) -> list[Any]:
    return [*registry.parse(Line(payload=payload), READING)[1]]


def test_a_listed_job_is_a_record_and_a_beginning() -> None:
    """Both at the time of the list; the record is the scheduler's, as far as it goes."""
    record, begins = parsed(bootstrap.encode(JOB, T0, "sacct"))
    assert (record.event_time, begins.event_time) == (T0, T0)
    assert record.body == JobRecord(phase="start", **{field: getattr(JOB, field) for field in ListedJob.__struct_fields__})
    assert begins.body == HistoryBegins(job="48213", at=T0)
    assert record.unmapped == {"listed_by": "sacct"}
    waiting, _ = parsed(bootstrap.encode(WAITING, T0, "sacct"))
    assert (waiting.body.phase, waiting.body.start) == ("other", None)


def test_ids_name_the_list_and_the_attempt() -> None:
    """The same list again says nothing new; a later list, or another run of the job, does."""
    lists = [bootstrap.encode(JOB, T0, "sacct"), bootstrap.encode(JOB, T0, "squeue"), bootstrap.encode(JOB, T0 + 1, "sacct")]
    first, again, later = (parsed(each)[1].own_id for each in lists)
    assert first == again != later


def test_items_of_a_list_that_are_no_objects_are_told() -> None:
    """Else a list that something has mangled would look whole."""
    pod = {"metadata": {"name": "p", "namespace": "llm"}, "status": {"phase": "Pending"}}
    listing = read({"kind": "PodList", "items": [pod, None, {"metadata": None}, {"kind": "Job", "metadata": {"namespace": "llm"}}]})
    assert [job.job for job in listing.jobs] == ["llm/p"]
    assert len(listing.refused) == 3
    assert len(read({"kind": "List", "items": [None]}).refused) == 1


@pytest.mark.parametrize("text", [f"{HEADER}\n{RUNNING}", json.dumps({"kind": "PodList", "items": []})])
def test_a_byte_order_mark_is_no_part_of_a_list(text: str) -> None:
    """Some shells write one in front of what they redirect."""
    assert read("\ufeff" + text) == read(text)


@pytest.mark.parametrize(
    "change",
    [
        (b'"trainwatch_bootstrap":1', b'"trainwatch_bootstrap":2'),
        (b'"taken":1772409600000', b'"taken":17'),
        (b'"start":1772395260000', b'"start":-5'),
        (b'"owner_uid":5017', b'"owner_uid":"5017"'),
        (b'"owner_uid":5017', b'"phase":"end"'),
        (b'"job":"48213"', b'"job":""'),
        (b'"job":{', b'"job":[{'),
    ],
)
def test_what_is_no_listed_job_is_rejected(change: tuple[bytes, bytes]) -> None:
    """A version of another release, absurd times, fields of another type or of none of ours."""
    payload = bootstrap.encode(JOB, T0, "sacct")
    assert change[0] in payload
    with pytest.raises(RejectedRecord):
        parsed(payload.replace(*change))
