"""Lines that came by the system log in the name of a daemon that has a log of its own: seen, and marked, since `logger -t` is anybody's.

What tells who wrote them are the log daemon, where it says that root sent them; a file of the daemon's own; or the site's settings.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.formats import registry
from pipeline.ingest.step import build_state, step
from pipeline.model.outcome import EventRow, Lost, Record
from pipeline.model.source import FAMILIES, OF_LOGS, Source
from pipeline.settings import IngestSettings
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING
from tests import build
from tests.unit.formats.test_carried import FRAMES, OF_DAEMONS, PROGRAMS, TEXTS
from tests.unit.formats.test_registry import LINES

AT = 1_772_480_460_000
NOTHING_SAID: Mapping[str, str] = MappingProxyType({})
AUDIT = "type=USER_CMD msg=audit(1772480441.311:9001): pid=9 uid=5099 auid=5099 ses=7 msg='cwd=\"/\" cmd=6C73 terminal=? res=success'"
KERNEL = "audit: type=1123 audit(1772480441.311:9001): pid=9 uid=5099 auid=5099 ses=7 msg='cwd=\"/\" cmd=6C73 terminal=? res=success'"
CANCEL = "_slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=7 uid 5099"
LAUNCH = "launch task StepId=7.0 request from UID:5017 GID:5000 HOST:10.0.0.7 PORT:51234"
SESSION = '{"id":"s1","user":"u098","asset":"gpu-012(10.0.0.7)","account":"u099","is_finished":false}'
COMMAND = '{"id":"c1","user":"u098","asset":"gpu-012(10.0.0.7)","account":"u099","input":"ls","session":"s1","timestamp":1772480441}'
TAGS: dict[str, tuple[str, str, str]] = {  # tag, text, family of the topic
    **{tag: (tag, AUDIT, "access") for tag in ("audit", "auditd", "audispd", "audisp-syslog", "audisp-remote")},
    "slurmctld": ("slurmctld", CANCEL, "scheduler"),
    "slurmd, text alone": ("slurmd", LAUNCH, "scheduler"),
    "jumpserver": ("jumpserver", f"session_command_log - {COMMAND}", "access"),
    **{
        f"{name}, a whole line": (program, text, "scheduler" if name.startswith("slurm") else "access")
        for name, program, text in OF_DAEMONS
    },
    **{
        name: (program, TEXTS[name], next(family for family, sources in FAMILIES.items() if registry.by_name(name).source in sources))
        for name, program in PROGRAMS.items()
    },
}
SENT = ["{}", *FRAMES]  # the first: in an object of rsyslog's, which tells no sender


def rows(
    value: str | dict[str, Any], family: str = "access", trusted: tuple[str, ...] = (), headers: Mapping[str, str] = NOTHING_SAID
) -> list[EventRow]:
    """What ingest makes of a record."""
    payload = value.encode() if isinstance(value, str) else orjson.dumps(value)
    record = Record(
        topic=f"logs.{family}",
        partition=0,
        offset=0,
        timestamp=AT,
        value=payload,
        headers=tuple((name, text.encode()) for name, text in headers.items()),
    )
    settings = build.settings(ingest=IngestSettings(trusted_syslog_programs=trusted))
    return [out for out in step(build_state(settings, Cases()), [record], NOTHING)[1] if isinstance(out, EventRow)]


def marks(found: list[EventRow]) -> set[bool]:
    assert found
    return {row.attrs.get("sender") == "not authenticated" for row in found}


def by_rsyslog(tag: str, text: str, **more: Any) -> dict[str, Any]:
    """As our template has it."""
    return {"@timestamp": "2026-03-02T19:40:41Z", "host": "gpu-012", "program": tag, "procid": "9", "message": text, **more}


@pytest.mark.parametrize("sent", SENT)
@pytest.mark.parametrize("name", TAGS)
def test_whoever_wrote_it_claims_to_be_that_program(name: str, sent: str) -> None:
    """In a file of the system log, from a wire, or in an object; unless the site trusts the tag."""
    tag, text, family = TAGS[name]
    value = by_rsyslog(tag, text) if sent == "{}" else sent.format(tag, text)
    for headers in ({}, {"host": "gpu-012", "source": "syslog", "file": "/var/log/messages"}):
        if sent == "{}" and headers:
            continue
        assert marks(rows(value, family, headers=headers)) == {True}
        assert marks(rows(value, family, ("another", f"{tag}x"), headers=headers)) == {True}
        assert marks(rows(value, family, (tag,), headers=headers)) == {False}


def test_whom_a_bastion_lets_in_is_not_marked() -> None:
    """That he became another's user withholds this one's name, as a line of sshd or su does."""
    assert marks(rows(f"Mar  2 19:40:41 nn-1 jumpserver: host_session_log - {SESSION}")) == {False}


JOURNAL = {"_HOSTNAME": "gpu-012", "__REALTIME_TIMESTAMP": f"{AT}000", "SYSLOG_IDENTIFIER": "audispd", "MESSAGE": AUDIT}
BEAT = {"message": AUDIT, "host": {"name": "gpu-012"}, "syslog": {"identifier": "audispd"}, "journald": {"uid": 0}}
KNOWN: dict[str, tuple[Any, dict[str, str]]] = {
    "the audit's own file": (AUDIT, {"host": "gpu-012", "source": "auditd", "file": "/var/log/audit/audit.log"}),
    "that, in an object": (by_rsyslog("auditd", AUDIT, file="/var/log/audit/audit.log", offset=7), {}),
    "that, of Filebeat": ({"message": AUDIT, "host": {"name": "gpu-012"}, "log": {"file": {"path": "/var/log/audit/audit.log"}}}, {}),
    "nobody says how it came": (AUDIT, {}),
    "the shipper says of what program": (AUDIT, {"host": "gpu-012", "source": "auditd"}),
    "root, by rsyslog": (by_rsyslog("audispd", AUDIT, _UID="0", _EXE="/usr/sbin/audisp-syslog"), {}),
    "root, by syslog-ng": ({"ISODATE": "2026-03-02T19:40:41Z", "HOST": "gpu-012", "PROGRAM": "audispd", "MESSAGE": AUDIT, "_UID": "0"}, {}),
    "root, by the journal": (JOURNAL | {"_UID": "0"}, {}),
    "root, by Filebeat": (BEAT, {}),
    "the journal's transport": (JOURNAL | {"_TRANSPORT": "audit", "SYSLOG_IDENTIFIER": "audit"}, {}),
    "the kernel, by the journal": (JOURNAL | {"_TRANSPORT": "kernel", "SYSLOG_IDENTIFIER": "kernel", "MESSAGE": KERNEL}, {}),
}


@pytest.mark.parametrize(("value", "headers"), KNOWN.values(), ids=KNOWN)
def test_of_these_somebody_knows_who_wrote_them(value: Any, headers: dict[str, str]) -> None:
    """As ever."""
    assert marks(rows(value, headers=headers)) == {False}


CHOSEN: dict[str, Any] = {
    "no program, as RFC 5424 may": by_rsyslog("-", AUDIT),
    "a daemon's account": by_rsyslog("audispd", AUDIT, _UID="33"),
    "the journal knows nobody": JOURNAL,
    "a field of the writer's own": JOURNAL | {"UID": "0", "TRANSPORT": "audit"},
    "Filebeat's syslog input": {"message": AUDIT, "host": {"name": "gpu-012"}, "log": {"syslog": {"appname": "audispd", "procid": 9}}},
    "Filebeat's parser on a file": {
        "message": AUDIT,
        "host": {"name": "gpu-012"},
        "log": {"file": {"path": "/var/log/syslog"}, "syslog": {"appname": "audispd"}},
    },
    "Fluent Bit's parser on a file": {"message": AUDIT, "host": "gpu-012", "ident": "audispd", "file": "/var/log/messages"},
    "a system log that syslog-ng took apart": {"HOST": "gpu-012", "PROGRAM": "audispd", "MESSAGE": AUDIT, "FILE_NAME": "/var/log/messages"},
    "what a central host keeps": {"host": "gpu-012", "program": "audispd", "message": AUDIT, "file": "/var/log/remote/gpu-012.log"},
    "GELF": {"version": "1.1", "host": "gpu-012", "short_message": AUDIT, "_program": "audispd", "_UID": "0"},
}


@pytest.mark.parametrize("value", CHOSEN.values(), ids=CHOSEN)
def test_and_of_these_nobody(value: dict[str, Any]) -> None:
    """Though the prefix is gone."""
    assert marks(rows(value)) == {True}


TEXT_ALONE = {name: (text, family) for name, (_, text, family) in TAGS.items() if not text.startswith(("_slurm", "launch", "session_"))}
FILES = [
    "/var/log/messages", "/var/log/syslog.1", "/var/log/auth.log", "/var/log/user.log", "/var/log/remote/gpu-012.log",
    "/var/log/hosts/gpu-012/audit.log",
]  # fmt: skip


def in_file(text: str, file: str) -> list[tuple[str | dict[str, Any], dict[str, str]]]:
    """A line as it stands in a file: with headers, and as Filebeat, Vector and our template for rsyslog without a program have it."""
    return [
        (text, {"host": "gpu-012", "source": "syslog", "file": file}),
        (text, {"host": "gpu-012", "file": file}),
        ({"@timestamp": "2026-03-02T19:41:00Z", "log": {"offset": 7, "file": {"path": file}}, "message": text, "host": {"name": "n"}}, {}),
        ({"file": file, "host": "gpu-012", "message": text, "source_type": "file", "timestamp": "2026-03-02T19:41:00Z"}, {}),
        ({"host": "gpu-012", "file": file, "message": text, "offset": 7}, {}),
    ]  # fmt: skip


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("name", TEXT_ALONE)
def test_nor_does_the_file_tell_where_the_line_has_no_prefix(name: str, file: str) -> None:
    """What stands behind a line end in a message, syslog-ng writes so.  The site trusts it as lines without a tag."""
    text, family = TEXT_ALONE[name]
    for value, headers in in_file(text, file):
        found = rows(value, family, headers=headers)
        assert marks(found) == {True}
        assert {row.attrs["by_syslog"] for row in found} == {"file"}
        assert marks(rows(value, family, ("audispd", "syslog"), headers=headers)) == {True}
        assert marks(rows(value, family, ("-",), headers=headers)) == {False}


def test_a_long_line_there_is_nobodys_loss() -> None:
    """Any user may send it; that of the daemon's own file is."""
    settings = build.settings(ingest=IngestSettings(record_bytes_max=1024))
    for file, expected in (("/var/log/messages", set[Source]()), ("/var/log/audit/audit.log", {Source.AUDITD})):
        headers = tuple((name, text.encode()) for name, text in {"host": "gpu-012", "file": file}.items())
        record = Record(topic="logs.access", partition=0, offset=0, timestamp=AT, value=AUDIT.encode() + b"x" * 1024, headers=headers)
        assert {out.source for out in step(build_state(settings, Cases()), [record], NOTHING)[1] if isinstance(out, Lost)} == expected


@given(st.permutations(["message", "host", "program", "file", "@timestamp"]))
def test_the_order_of_keys_says_nothing(keys: list[str]) -> None:
    """Some begin as shippers write them most often, and are read in a shorter way."""
    said = {"message": AUDIT, "host": "gpu-012", "program": "audispd", "file": "/var/log/messages", "@timestamp": "2026-03-02T19:41:00Z"}
    assert marks(rows({key: said[key] for key in keys})) == {True}
    for own in ("/var/log/audit/audit.log", "/host/var/log/audit/audit.log"):  # the second as a pod sees that of its node
        assert marks(rows({key: (said | {"file": own})[key] for key in keys})) == {False}


TAG = st.one_of(st.sampled_from([tag for tag, _, _ in TAGS.values()]), st.from_regex(r"[A-Za-z0-9_./@-]{1,20}", fullmatch=True))


@given(TAG, st.sampled_from(["", "[9]", "(audit)[9]"]), st.sampled_from([*SENT, ""]), st.sampled_from([AUDIT, KERNEL,
       f"node=gpu-009 {AUDIT}", TEXTS["auditbeat"], dict(LINES)["laurel"]]), st.booleans())  # fmt: skip
def test_no_line_of_the_system_log_is_a_proven_record_of_the_kernels_audit(tag: str, pid: str, sent: str, text: str, file: bool) -> None:
    """Whatever stands before it, or nothing."""
    value = by_rsyslog(tag, text) if sent == "{}" else sent.replace("[9]", "").format(f"{tag}{pid}", text)
    headers = {"host": "gpu-012", "source": "syslog", "file": "/var/log/messages"} if file and sent != "{}" else {}
    for shipped, said in [(value, headers)] if sent else in_file(text, "/var/log/messages"):
        assert all(row.attrs.get("sender") == "not authenticated" for row in rows(shipped, headers=said) if row.source not in OF_LOGS)
