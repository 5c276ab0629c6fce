"""Wrappers of the shippers that a cluster runs, in their own words: one table for all, as they stand on a topic."""

from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UnknownFormat
from pipeline.formats import registry
from pipeline.formats.line import Line, Part, Reading
from pipeline.model.events import Iteration, Login, OomKill
from pipeline.model.source import FAMILIES
from tests.unit.formats.bare import bare

COLLECTED = 1_772_452_800_318  # 2026-03-02T12:00:00.318Z
AT = "2026-03-02T12:00:00.318Z"
READING = Reading(zone=ZoneInfo("UTC"), reference_time=COLLECTED)
TEXT = "iteration 40"
ACCEPTED = "Accepted publickey for u017 from 10.0.0.7 port 5022 ssh2"
POD_FILE = "/var/log/pods/llm_pretrain-0_0a1b/main/"
KERNEL = "Memory cgroup out of memory: Killed process 1234 (python) total-vm:1kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB, UID:5012"

ROWS: dict[str, tuple[dict[str, Any], Line]] = {
    "Filebeat, all that it says": (
        {
            "@timestamp": AT,
            "@metadata": {"beat": "filebeat", "type": "_doc", "version": "8.17.0"},
            "message": TEXT,
            "log": {"offset": 4096, "file": {"path": "/l/slurm-7.out", "inode": "1", "device_id": "2"}},
            "input": {"type": "filestream"},
            "ecs": {"version": "8.0.0"},
            "host": {"name": "gpu-001", "hostname": "gpu-001.cluster.example", "os": {"type": "linux"}},
            "agent": {"name": "gpu-001", "type": "filebeat", "id": "f0"},
        },
        Line(payload=TEXT.encode(), host="gpu-001", file="/l/slurm-7.out", file_offset=4096, collected_time=COLLECTED),
    ),
    "Filebeat that takes lines for objects": (
        {
            "@timestamp": AT,
            "json": {"step": 40, "loss": 2.31},
            "log": {"offset": 4096, "file": {"path": "/l/slurm-7.out"}},
            "host": {"name": "gpu-001"},
            "agent": {"type": "filebeat"},
        },
        Line(payload=b'{"step":40,"loss":2.31}', host="gpu-001", file="/l/slurm-7.out", file_offset=4096, collected_time=COLLECTED),
    ),
    "Filebeat without add_host_metadata: the agent's host": (
        {
            "@timestamp": AT,
            "message": TEXT,
            "log": {"file": {"path": "/l/x.log"}, "offset": 0},
            "agent": {"hostname": "gpu-002", "name": "x"},
        },
        Line(payload=TEXT.encode(), host="gpu-002", file="/l/x.log", file_offset=0, collected_time=COLLECTED),
    ),
    "Filebeat, host without a name": (
        {"@timestamp": AT, "message": TEXT, "host": {"hostname": "gpu-003"}, "agent": {"name": "other"}},
        Line(payload=TEXT.encode(), host="gpu-003", collected_time=COLLECTED),
    ),
    "Filebeat, kafka input: the offset is not the file's": (
        {"@timestamp": AT, "message": TEXT, "kafka": {"topic": "t", "partition": 1, "offset": 7, "key": "k"}, "input": {"type": "kafka"}},
        Line(payload=TEXT.encode(), collected_time=COLLECTED),
    ),
    "Filebeat, journald input": (
        {
            "@timestamp": AT,
            "message": ACCEPTED,
            "syslog": {"identifier": "sshd", "facility": 10, "priority": 6},
            "process": {"name": "sshd", "pid": 4711},
            "journald": {"pid": 4711},
            "host": {"name": "login-1"},
            "input": {"type": "journald"},
        },
        Line(
            payload=f"{AT} login-1 sshd[4711]: {ACCEPTED}".encode(),
            host="login-1",
            program="sshd",
            collected_time=COLLECTED,
        ),
    ),
    "Filebeat, syslog input": (
        {
            "@timestamp": AT,
            "message": ACCEPTED,
            "log": {"syslog": {"appname": "sshd", "procid": "12", "facility": {"code": 10}}},
            "host": {"name": "login-1"},
        },
        Line(payload=f"{AT} login-1 sshd[12]: {ACCEPTED}".encode(), host="login-1", program="sshd", collected_time=COLLECTED),
    ),
    "Filebeat, Kubernetes metadata": (
        {
            "@timestamp": AT,
            "message": TEXT,
            "stream": "stdout",
            "kubernetes": {
                "namespace": "llm",
                "pod": {"name": "pretrain-0", "uid": "0a1b"},
                "container": {"name": "main"},
                "node": {"name": "gpu-001"},
            },
        },
        Line(payload=TEXT.encode(), host="gpu-001", file=POD_FILE, collected_time=COLLECTED, stream="stdout"),
    ),
    "Fluent Bit, Kubernetes metadata, whole line": (
        {
            "@timestamp": 1772452800.318,
            "log": TEXT + "\n",
            "stream": "stdout",
            "logtag": "F",
            "kubernetes": {
                "pod_name": "pretrain-0",
                "namespace_name": "llm",
                "pod_id": "0a1b",
                "container_name": "main",
                "host": "gpu-001",
                "labels": {"app": "x"},
            },
        },
        Line(payload=TEXT.encode(), host="gpu-001", file=POD_FILE, collected_time=COLLECTED, stream="stdout"),
    ),
    "Fluent Bit, `date`, a file key": (
        {"date": 1772452800.318, "log": TEXT, "path": "/l/slurm-7.out"},
        Line(payload=TEXT.encode(), file="/l/slurm-7.out", collected_time=COLLECTED),
    ),
    "Fluent Bit, first part of a line": (
        {"@timestamp": 1772452800.318, "log": "begin", "stream": "stderr", "logtag": "P"},
        Line(payload=b"begin", collected_time=COLLECTED, truncated=True, stream="stderr", part=Part()),
    ),
    "Docker's driver, a middle part": (
        {
            "log": "middle",
            "source": "stdout",
            "container_name": "/main",
            "partial_message": "true",
            "partial_id": "abc",
            "partial_ordinal": "2",
            "partial_last": "false",
        },
        Line(payload=b"middle", truncated=True, stream="stdout", part=Part(id="abc", ordinal=2)),
    ),
    "Docker's driver, the last part": (
        {"log": "end", "source": "stdout", "partial_message": "true", "partial_id": "abc", "partial_ordinal": "3", "partial_last": "true"},
        Line(payload=b"end", stream="stdout", part=Part(id="abc", ordinal=3, last=True)),
    ),
    "Fluent Bit, systemd input": (
        {
            "@timestamp": 1772452800.318,
            "MESSAGE": ACCEPTED,
            "_HOSTNAME": "login-1",
            "SYSLOG_IDENTIFIER": "sshd",
            "_PID": "9",
            "_TRANSPORT": "syslog",
        },
        Line(
            payload=f"2026-03-02T12:00:00.318+00:00 login-1 sshd[9]: {ACCEPTED}".encode(),
            host="login-1",
            program="sshd",
            collected_time=COLLECTED,
        ),
    ),
    "Fluentd, syslog source": (
        {"host": "login-1", "ident": "sshd", "pid": "9", "message": ACCEPTED, "time": AT},
        Line(
            payload=f"2026-03-02T12:00:00.318+00:00 login-1 sshd[9]: {ACCEPTED}".encode(),
            host="login-1",
            program="sshd",
            collected_time=COLLECTED,
        ),
    ),
    "Fluentd, tailed file, a tag and epoch seconds": (
        {"message": TEXT, "hostname": "gpu-001", "tailed_path": "x", "path": "/l/a.log", "tag": "train", "time": 1772452800},
        Line(payload=TEXT.encode(), host="gpu-001", file="/l/a.log", collected_time=1_772_452_800_000),
    ),
    "Vector, Kubernetes source": (
        {
            "file": "/var/log/pods/llm_pretrain-0_0a1b/main/0.log",
            "kubernetes": {
                "pod_name": "pretrain-0",
                "pod_namespace": "llm",
                "pod_uid": "0a1b",
                "container_name": "main",
                "pod_node_name": "gpu-001",
            },
            "message": TEXT,
            "source_type": "kubernetes_logs",
            "stream": "stdout",
            "timestamp": AT,
        },
        Line(
            payload=TEXT.encode(),
            host="gpu-001",
            file="/var/log/pods/llm_pretrain-0_0a1b/main/0.log",
            collected_time=COLLECTED,
            stream="stdout",
        ),
    ),
    "Vector, a part": (
        {"message": "begin", "_partial": True, "stream": "stdout", "source_type": "kubernetes_logs", "timestamp": AT},
        Line(payload=b"begin", collected_time=COLLECTED, truncated=True, stream="stdout", part=Part()),
    ),
    "Vector, syslog source": (
        {
            "appname": "sshd",
            "facility": "auth",
            "host": "login-1",
            "message": ACCEPTED,
            "procid": 9,
            "source_type": "syslog",
            "timestamp": AT,
        },
        Line(payload=f"{AT} login-1 sshd[9]: {ACCEPTED}".encode(), host="login-1", program="sshd", collected_time=COLLECTED),
    ),
    "Vector, journald source: the journal's keys beside its own": (
        {
            "PRIORITY": "6",
            "SYSLOG_FACILITY": "10",
            "SYSLOG_IDENTIFIER": "sshd",
            "_COMM": "sshd",
            "_EXE": "/usr/sbin/sshd",
            "_PID": "9",
            "_TRANSPORT": "syslog",
            "_UID": "0",
            "__REALTIME_TIMESTAMP": "1772452800318000",
            "host": "login-1",
            "message": ACCEPTED,
            "source_type": "journald",
            "timestamp": AT,
        },
        Line(payload=f"{AT} login-1 sshd[9]: {ACCEPTED}".encode(), host="login-1", program="sshd", collected_time=COLLECTED),
    ),
    "Fluent Bit, `timestamp_format iso8601_ns`": (
        {"@timestamp": "2026-03-02T12:00:00.318123456Z", "log": TEXT, "stream": "stderr", "logtag": "F"},
        Line(payload=TEXT.encode(), collected_time=COLLECTED, stream="stderr"),
    ),
    "syslog-ng, with the pairs that input-formats proposes": (
        {
            "MESSAGE": ACCEPTED,
            "HOST": "login-1",
            "PROGRAM": "sshd",
            "PID": "9",
            "FACILITY": "auth",
            "DATE": "Mar  2 12:00:00",
            "ts": AT,
            "received_at": AT,
        },
        Line(payload=f"{AT} login-1 sshd[9]: {ACCEPTED}".encode(), host="login-1", program="sshd", collected_time=COLLECTED),
    ),
    "the journal": (
        {
            "__CURSOR": "s=1",
            "__REALTIME_TIMESTAMP": "1772452800318000",
            "_HOSTNAME": "login-1",
            "MESSAGE": ACCEPTED,
            "SYSLOG_IDENTIFIER": "sshd",
            "_PID": "4711",
            "_TRANSPORT": "syslog",
        },
        Line(
            payload=f"2026-03-02T12:00:00.318+00:00 login-1 sshd[4711]: {ACCEPTED}".encode(),
            host="login-1",
            program="sshd",
            collected_time=COLLECTED,
        ),
    ),
    "the journal: bytes that are no UTF-8": (
        {"__REALTIME_TIMESTAMP": "1772452800318000", "_HOSTNAME": "gpu-001", "MESSAGE": [97, 255, 10], "_COMM": "python"},
        Line(
            payload=b"2026-03-02T12:00:00.318+00:00 gpu-001 python: a\xff",
            host="gpu-001",
            program="python",
            collected_time=COLLECTED,
        ),
    ),
    "Docker json-file": (
        {"log": TEXT + "\n", "stream": "stderr", "time": "2026-03-02T12:00:00.318123456Z"},
        Line(payload=TEXT.encode(), collected_time=COLLECTED, stream="stderr"),
    ),
    "Docker json-file, a part": (
        {"log": TEXT, "stream": "stderr", "time": "2026-03-02T12:00:00.318123456Z"},
        Line(payload=TEXT.encode(), collected_time=COLLECTED, truncated=True, stream="stderr", part=Part()),
    ),
    "a container's file that nobody took apart: CRI": (
        {"@timestamp": AT, "message": f"{AT} stdout P begin", "log": {"file": {"path": "/var/log/containers/a.log"}, "offset": 1}},
        Line(
            payload=b"begin",
            file="/var/log/containers/a.log",
            file_offset=1,
            collected_time=COLLECTED,
            truncated=True,
            stream="stdout",
            part=Part(),
        ),
    ),
    "a container's file that nobody took apart: Docker": (
        {
            "@timestamp": AT,
            "message": '{"log":"iteration 40\\n","stream":"stdout","time":"2026-03-02T12:00:00Z"}',
            "log": {"file": {"path": "/var/lib/docker/containers/c/c-json.log"}},
        },
        Line(payload=TEXT.encode(), file="/var/lib/docker/containers/c/c-json.log", collected_time=COLLECTED, stream="stdout"),
    ),
    "the same text in another file is a job's own": (
        {"@timestamp": AT, "message": f"{AT} stdout F x", "file": "/l/slurm-7.out"},
        Line(payload=f"{AT} stdout F x".encode(), file="/l/slurm-7.out", collected_time=COLLECTED),
    ),
}


@pytest.mark.parametrize(("value", "line"), ROWS.values(), ids=ROWS)
def test_shippers(value: dict[str, Any], line: Line) -> None:
    """The line, where it stood, who wrote it, and when it was read."""
    data = orjson.dumps(value)
    assert bare(registry.unwrap(data, ())) == bare(registry.unwrap(data + b"\n", ())) == [line]  # syslog-ng's template ends a line


NAME = st.sampled_from(["gpu-001", "", "-", "a\nb", "x" * 600, "/var/log/syslog", 7, None])
TAILED = st.fixed_dictionaries(
    {"message": st.sampled_from(["x", "", "x\r\n", f"{AT} stdout F x", '{"log":"x\\n","stream":"stderr"}', " \u2028", 7])},
    optional={
        "file": NAME, "program": NAME, "facility": NAME, "source_type": NAME, "path": NAME, "logtag": st.just("P"),
        "host": st.one_of(NAME, st.fixed_dictionaries({}, optional={"name": NAME, "hostname": NAME})),
        "log": st.fixed_dictionaries({}, optional={
            "file": st.fixed_dictionaries({}, optional={"path": NAME, "inode": NAME}),
            "offset": st.sampled_from([0, 7, -1, 2**63, "7", None, 1.5]),
            "flags": st.just(["truncated"]),
        }),
        "agent": st.fixed_dictionaries({}, optional={"name": NAME}), "procid": NAME,
        **dict.fromkeys(("received_at", "@timestamp", "timestamp", "ts"), st.sampled_from([AT, "", "soon", "1772452800318", None, 7])),
    },
)  # fmt: skip


@given(TAILED)
def test_a_tailed_line_reads_as_any_wrapper(value: dict[str, Any]) -> None:
    """What most objects are is read quicker, not otherwise; a blank before its first key sends an object the slow way."""
    quick = orjson.dumps(value)
    slow = quick.replace(b"{", b"{ ", 1)
    lines, others = bare(registry.unwrap(quick, ())), bare(registry.unwrap(slow, ()))
    assert lines == others or (lines[0].payload, others[0].payload) == (quick, slow)


STRANGE: list[dict[str, Any]] = [
    {"MESSAGE": [97, 300]},
    {"MESSAGE": ["a"]},
    {"MESSAGE": []},
    {"MESSAGE": None, "__REALTIME_TIMESTAMP": "x"},
]


@pytest.mark.parametrize("value", STRANGE)
def test_bytes_that_are_none(value: dict[str, Any]) -> None:
    """A list of other things is no message, and the object goes on whole."""
    data = orjson.dumps(value)
    assert registry.unwrap(data, ()) == [Line(payload=data)]


def test_an_object_called_json_is_nobodys_line() -> None:
    """But for Filebeat's, which names the file beside it."""
    for value in ({"step": 40, "json": {"loss": 2.31}}, {"json": {"loss": 2.31}, "log": {"file": {}}}, {"json": {"a": 1}, "log": {}}):
        payload = orjson.dumps(value)
        assert registry.unwrap(payload, ()) == [Line(payload=payload)]


ODD: list[dict[str, Any]] = [
    {"kubernetes": 7, "agent": [], "syslog": "x", "process": {"name": {}}},
    {"kubernetes": {"pod_name": "a/b", "namespace_name": "..", "pod_id": 7}},
    {"kubernetes": {"pod_name": "p", "container_name": "c/../x"}},
    {"kubernetes": {"pod_name": "p" * 600}},
    {"partial_message": "true", "partial_id": {}, "partial_ordinal": "-1", "partial_last": []},
    {"stream": "stdfoo", "source": ["stdout"], "_partial": "yes", "logtag": 7},
    {"time": {}, "date": -1, "ts": "soon", "__REALTIME_TIMESTAMP": "9" * 30},
    {"path": "a\nb", "filename": ["x"]},
]


@pytest.mark.parametrize("value", ODD)
def test_what_shippers_would_not_write_counts_as_absent(value: dict[str, Any]) -> None:
    """The line is kept, without names that nobody said."""
    (found,) = registry.unwrap(orjson.dumps({"message": TEXT, **value}), ())
    assert (found.payload, found.host, found.program, found.file, found.collected_time) == (TEXT.encode(), "", "", "", None)


def parsed(value: dict[str, Any]) -> list[str]:
    """Kinds of the events of a wrapper."""
    (line,) = registry.unwrap(orjson.dumps(value), ())
    reading = Reading(zone=ZoneInfo("UTC"), reference_time=COLLECTED)
    return [type(event.body).__name__ for event in registry.parse(line, reading)[1]]


KERNELS: dict[str, tuple[dict[str, Any], str]] = {
    "rsyslog": ({"@timestamp": AT, "host": "gpu-001", "program": "kernel", "message": KERNEL}, "facility"),
    "the journal": (
        {"__REALTIME_TIMESTAMP": "1772452800318000", "_HOSTNAME": "gpu-001", "SYSLOG_IDENTIFIER": "kernel", "MESSAGE": KERNEL},
        "",
    ),
    "syslog-ng": ({"ISODATE": AT, "HOST": "gpu-001", "PROGRAM": "kernel", "MESSAGE": KERNEL}, "FACILITY"),
    "rsyslog without time": ({"host": "gpu-001", "program": "kernel", "message": KERNEL}, "facility"),
}


@pytest.mark.parametrize(("value", "facility"), KERNELS.values(), ids=KERNELS)
def test_only_the_kernel_is_the_kernel(value: dict[str, Any], facility: str) -> None:
    """`logger -t kernel` writes the same program; the facility says that it was not the kernel, or the journal's transport."""
    real, forged = ({facility: "kern"}, {facility: "user"}) if facility else ({"_TRANSPORT": "kernel"}, {"_TRANSPORT": "syslog"})
    assert parsed(value | real) == [OomKill.__name__]
    with pytest.raises(UnknownFormat):
        parsed(value | forged)


@pytest.mark.parametrize(("facility", "is_kernel"), [("0", True), (0, True), ("1", False), (3, False), (["0", "1"], False)])
def test_what_root_writes_to_the_kernels_log_is_not_the_kernels(facility: object, is_kernel: bool) -> None:
    """`echo "kernel: .." > /dev/kmsg` comes by the kernel's transport, under its name; the kernel makes its facility a program's."""
    value = KERNELS["the journal"][0] | {"_TRANSPORT": "kernel", "SYSLOG_FACILITY": facility}
    if is_kernel:
        assert parsed(value) == [OomKill.__name__]
    else:
        with pytest.raises(UnknownFormat):
            parsed(value)


@pytest.mark.parametrize(
    "known",
    [{"_uid": "5050"}, {"_uid": "0"}, {"_UID": "5050"}, {"_UID": 5050}, {"inputname": "imuxsock"}],
    ids=str,
)
def test_whoever_has_a_uid_or_came_by_the_socket_is_not_the_kernel(known: dict[str, Any]) -> None:
    """`<2>kernel: ..` to /dev/log has the kernel's facility: neither rsyslog nor syslog-ng asks who sent it."""
    value = {"host": "gpu-001", "@timestamp": AT, "program": "kernel", "facility": "kern", "message": KERNEL}
    for harmless in ({}, {"_UID": ""}, {"inputname": "imklog"}):
        assert parsed(value | harmless) == [OomKill.__name__]
    with pytest.raises(UnknownFormat):
        parsed(value | known)


def test_a_line_from_the_journal_is_read() -> None:
    """The composed line is one that the formats of system logs know."""
    value = {
        "__REALTIME_TIMESTAMP": "1772452800318000",
        "_HOSTNAME": "login-1",
        "SYSLOG_IDENTIFIER": "sshd",
        "_PID": "9",
        "MESSAGE": ACCEPTED,
    }
    assert parsed(value) == [Login.__name__]


SUDO = "u050 : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/kill -9 4711"
WHOLE_LINES = {
    "sshd": f"Mar  2 12:00:00 login-9 sshd[9]: {ACCEPTED}",
    "sshd, behind a blank": f" Mar  2 12:00:00 login-9 sshd[9]: {ACCEPTED}",
    "sshd, behind a priority": f"<38>2026-03-02T12:00:00Z login-9 sshd: {ACCEPTED}",
    "sudo, as RFC 5424": f"<86>1 2026-03-02T12:00:00Z gpu-009 sudo 9 - - {SUDO}",
    "the audit daemon's file, a tag without a colon": "Mar  2 12:00:00 gpu-009 auditd type=LOGIN msg=audit(1772452800.318:7): pid=9 uid=0",
    "the kernel": f"Mar  2 12:00:00 gpu-009 kernel: {KERNEL}",
    "the kernel, with its priority": f"<3>Mar  2 12:00:00 gpu-009 kernel: {KERNEL}",
}


@pytest.mark.parametrize("name", WHOLE_LINES)
@pytest.mark.parametrize("said", [{"program": "logger"}, {"PROGRAM": "u050"}, {"SYSLOG_IDENTIFIER": "kernel-watch"}], ids=str)
def test_a_text_that_looks_like_a_whole_line_is_one_of_who_sent_it(name: str, said: dict[str, str]) -> None:
    """Not of the program and the host that it names; where the sender is that program, it may say so twice."""
    message = WHOLE_LINES[name]
    value = {"host": "gpu-012", "@timestamp": AT, "facility": "user", "message": message, **said}
    (line,) = registry.unwrap(orjson.dumps(value), ())
    assert line.payload.startswith(b"2026-03-02T12:00:00.318Z gpu-012 ")
    with pytest.raises(UnknownFormat):
        registry.parse(line, READING, allowed=FAMILIES["access"])
    if name == "sshd":
        assert parsed({**value, "program": "sshd"}) == [Login.__name__]


# Who says he is whom, his uid, his executable, his words; may he?
LEFT = "Disconnected from user u050 10.0.0.5 port 50022"
OPENED = "pam_unix(systemd-user:session): session opened for user u012(uid=5012) by (uid=0)"
SENDERS = [
    ("sshd", "0", "/usr/sbin/sshd", ACCEPTED, True),
    ("sshd", None, None, ACCEPTED, True),
    ("sshd", "5050", "/usr/sbin/sshd", LEFT, True),
    ("sshd", "5050", "/usr/lib/openssh/sshd-session", f" {LEFT}", True),
    ("sshd-session", "5050", "/usr/lib/openssh/sshd-session", LEFT, True),
    ("sshd", "5050", "/usr/sbin/sshd", ACCEPTED, False),  # his own, with LD_PRELOAD
    ("sshd", "5050", "/usr/sbin/sshd", "error: maximum authentication attempts exceeded for u012 from 10.0.0.5 port 7 ssh2", False),
    ("sudo", "5050", "/usr/bin/sudo", SUDO, True),
    ("su", "5050", "/usr/bin/su", "(to root) u050 on pts/1", True),
    ("run7", "5050", "/usr/bin/python3.11", ACCEPTED, True),
    ("sshd", "5050", "/usr/bin/systemd-cat", LEFT, False),
    ("sshd", "5050", "/home/u050/bin/sshd", LEFT, False),
    ("sshd", "5050", None, LEFT, False),
    ("Sudo", 5050, "/usr/bin/logger", SUDO, False),
    ("Sudo", 5050, "/usr/bin/sudo", SUDO, False),
    ("audispd", "5050", "/usr/bin/logger", ACCEPTED, False),
    ("audisp-syslog", "5050", "/usr/sbin/audisp-syslog", ACCEPTED, False),
    ("laurel", "5050", None, ACCEPTED, False),
    ("slurmctld", "5050", "/usr/bin/bash", ACCEPTED, False),
    ("slurmctld", "64030", "/usr/sbin/slurmctld", ACCEPTED, True),  # Debian's slurm
    ("systemd", "5050", "/usr/lib/systemd/systemd", "Started run7.service.", True),
    ("systemd", "5050", "/usr/lib/systemd/systemd", OPENED, False),
    ("systemd", "5050", "/usr/bin/systemd-cat", "Started run7.service.", False),
    ("systemd-logind", "5050", "/usr/lib/systemd/systemd", ACCEPTED, False),
    ("sshd", "5050", "/usr/bin/ssh", LEFT, False),
    ("sudo", "5050", "/usr/bin/su", SUDO, False),
]


@pytest.mark.parametrize(("program", "uid", "executable", "message", "may"), SENDERS)
def test_the_log_daemon_knows_who_wrote(program: str, uid: object, executable: str | None, message: str, may: bool) -> None:
    """Whoever says that he is a daemon is none by that: as the journal says it, and Filebeat, rsyslog and syslog-ng."""
    journal: dict[str, Any] = {"_HOSTNAME": "login-1", "__REALTIME_TIMESTAMP": f"{COLLECTED}000", "MESSAGE": message}
    journal["SYSLOG_IDENTIFIER"] = program
    beat: dict[str, Any] = {
        "@timestamp": AT,
        "message": message,
        "host": {"name": "login-1"},
        "syslog": {"identifier": program},
        "journald": {},
    }
    rsyslog: dict[str, Any] = {"@timestamp": AT, "host": "login-1", "program": program, "message": message}
    syslog_ng: dict[str, Any] = {"ISODATE": AT, "HOST": "login-1", "PROGRAM": program, "MESSAGE": message, "_UID": "", "_EXE": ""}
    if uid is not None:
        journal |= {"_UID": uid, "_EXE": executable}
        beat |= {"journald": {"uid": uid, "process": {"executable": executable}}}
        rsyslog |= {"_uid": uid} | ({"_exe": executable} if executable else {})
        syslog_ng |= {"_UID": uid, "_EXE": executable or ""}
    for each in (journal, beat, rsyslog, syslog_ng):
        (line,) = registry.unwrap(orjson.dumps(each), ())
        assert line.program == (program if may else f"uid-{uid}")
        assert f" {line.program}: {message.strip()}".encode() in line.payload


def test_what_sudo_prints_is_not_what_it_logs() -> None:
    """`systemd-cat -t sudo sudo -S -p "u012 : TTY=.."` is sudo, under its name, with anybody's words."""
    journal = {"_HOSTNAME": "login-1", "_UID": "5050", "_EXE": "/usr/bin/sudo", "SYSLOG_IDENTIFIER": "sudo", "MESSAGE": SUDO}
    beat = {"message": SUDO, "syslog": {"identifier": "sudo"}, "journald": {"uid": 5050, "process": {"executable": "/usr/bin/sudo"}}}
    for transport, program in (("syslog", "sudo"), ("stdout", "uid-5050")):
        for each in (journal | {"_TRANSPORT": transport}, beat | {"systemd": {"transport": transport}}):
            (line,) = registry.unwrap(orjson.dumps(each), ())
            assert line.program == program


CALL = "type=SYSCALL msg=audit(1772480441.311:9001): arch=c000003e syscall=62 success=yes a0=1267 a1=9 pid=912 auid=5012 uid=5012"


@pytest.mark.parametrize(
    "known", [{"_HOSTNAME": "login-1"}, {"_TRANSPORT": "journal"}, {"__REALTIME_TIMESTAMP": f"{COLLECTED}000"}], ids=str
)
def test_fields_that_a_writer_of_the_journal_chooses_say_nothing(known: dict[str, str]) -> None:
    """`logger --journald` takes any field that has no `_` in front: the journal's own tell host, program and time, and nobody a file."""
    chosen = {
        "HOST": "gpu-009",
        "PROGRAM": "kernel",
        "FACILITY": "kern",
        "FILE_NAME": "/var/log/audit/audit.log",
        "ISODATE": AT,
        "PID": "7",
    }
    (line,) = registry.unwrap(orjson.dumps({"MESSAGE": CALL, "SYSLOG_IDENTIFIER": "x"} | known | chosen), ())
    assert (line.host, line.program, line.file) == (known.get("_HOSTNAME", ""), "x", "")
    with pytest.raises(UnknownFormat):
        registry.parse(line, READING, allowed=FAMILIES["access"])


POD = {"namespace_name": "llm", "pod_name": "run7-0", "pod_id": "u-1", "container_name": "train", "host": "gpu-001"}
RUN7_FILE = "/var/log/pods/llm_run7-0_u-1/train/"
STEP = {"step": 7, "loss": 2.5}
OTHERS = {"file": "/var/log/pods/llm_run8-0_u-2/train/0.log", "host": "gpu-009"}
STEP_LINE = '{"step":7,"loss":2.5}'
MERGED: dict[str, tuple[dict[str, Any], str, str]] = {
    "Fluent Bit, without the line": ({**STEP, **OTHERS, "stream": "stdout", "kubernetes": POD}, RUN7_FILE, "gpu-001"),
    "Fluent Bit, with it": ({**OTHERS, "message": "x", "log": STEP_LINE, "stream": "stdout", "kubernetes": POD}, RUN7_FILE, "gpu-001"),
    "Vector": ({**OTHERS, "message": STEP_LINE, "kubernetes": POD}, RUN7_FILE, "gpu-001"),
    "Fluent Bit's own": (
        {"log": STEP_LINE, "path": "/var/log/containers/run7-0_llm_train-0a1b.log", "stream": "stdout", "kubernetes": POD},
        "/var/log/containers/run7-0_llm_train-0a1b.log",
        "gpu-001",
    ),
    "another pod's link": (
        {"log": STEP_LINE, "path": "/var/log/containers/run8-0_llm_train-0a1b.log", "stream": "stdout", "kubernetes": POD},
        RUN7_FILE,
        "gpu-001",
    ),
    "a file of its own": (
        {"message": STEP_LINE, "log": {"file": {"path": "/jobs/slurm-8.out"}}, "kubernetes": POD},
        RUN7_FILE,
        "gpu-001",
    ),
    "Vector's own": ({"message": STEP_LINE, "file": f"{RUN7_FILE}3.log", "kubernetes": POD}, f"{RUN7_FILE}3.log", "gpu-001"),
    "Filebeat": (
        {"file": "/jobs/slurm-8.out", "message": STEP_LINE, "log": {"file": {"path": "/jobs/slurm-7.out"}, "offset": 7}},
        "/jobs/slurm-7.out",
        "",
    ),
}


@pytest.mark.parametrize(("value", "file", "host"), MERGED.values(), ids=MERGED)
def test_keys_of_a_line_that_a_shipper_merged_do_not_say_whose_it_is(value: dict[str, Any], file: str, host: str) -> None:
    """A job that prints JSON is its pod's, whatever file and host it names; and its step is read."""
    (line,) = registry.unwrap(orjson.dumps({"@timestamp": AT, **value}), ())
    assert (line.file, line.host) == (file, host)
    _, (event,) = registry.parse(line, READING, allowed=FAMILIES["training"])
    assert isinstance(event.body, Iteration)


@pytest.mark.parametrize(
    "event",
    [{"trainwatch_probe": 1, "kind": "x", "job": "8"}, {"jobid": 8}, {"node_state": "FAILED"}, {"note": "nothing of ours"}],
    ids=str,
)
def test_an_event_into_which_a_pod_was_merged_is_the_pods(event: dict[str, Any]) -> None:
    """Else a job could speak for others by printing what is an event by itself."""
    value = orjson.dumps({"@timestamp": AT, **event, "stream": "stderr", "kubernetes": POD})
    (line,) = registry.unwrap(value, ())
    assert (line.file, line.host, line.payload) == (RUN7_FILE, "gpu-001", value)
