"""Values of several lines: what a shipper's `multiline` joined, or a program sent in one piece, is taken apart again."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ErrorCode
from pipeline.formats import registry, several, syslog
from pipeline.formats.line import ITEMS_MAX, Line, Part
from pipeline.ingest.step import build_state, step
from pipeline.model.outcome import EventRow, Outcome, Record, Rejected
from pipeline.model.source import FAMILIES
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING
from tests import build
from tests.unit.formats.test_failures import BLOCK, TRACEBACK, WHOLE, case_of, failed
from tests.unit.formats.test_registry import LINES as REGISTERED

AT = "2026-03-02T00:01:00Z"
ITERATION = " iteration       40/  100000 | consumed samples: 10240 | elapsed time per iteration (ms): 5000.0 | lm loss: 2.310000E+00 |"
NEXT = ITERATION.replace(" 40/", " 41/")
STEP = "slurmstepd: error: *** STEP 7.{} ON gpu-001 CANCELLED AT 2026-03-02T00:00:59 ***"
PATHS = [f'type=PATH msg=audit(1772409600.100:7): item={item} name="/a{item}" nametype=DELETE' for item in (0, 1)]


def filebeat(message: str, file: str = "/runs/slurm-7.out", **more: Any) -> bytes:
    """As its `multiline` sends lines."""
    log = {"file": {"path": file}, "offset": 1000, "flags": ["multiline"]}
    return orjson.dumps({"@timestamp": AT, "message": message, "log": log, "host": {"name": "gpu-001"}, **more})


def outcomes(value: bytes, topic: str = "logs.training") -> list[Outcome]:
    """Of one record."""
    return step(build_state(build.settings(), Cases()), [build.record(value, topic=topic, at=60)], NOTHING)[1]


def rows(value: bytes, topic: str = "logs.training") -> list[EventRow]:
    return [out for out in outcomes(value, topic) if isinstance(out, EventRow)]


JOINED: dict[str, tuple[str, list[str]]] = {
    "steps": (f"{ITERATION}\n{NEXT}", ["iteration", "iteration"]),
    "a step and what the launcher says at the end": (f"{ITERATION}\n{BLOCK}", ["iteration", *["training_line"] * 8, "rank_failed"]),
    "behind words": (f"words that nobody reads\r\n{ITERATION}\r\n", ["iteration", "unknown_format"]),
    "blank lines": (f"\n\n{ITERATION}\n\n", ["iteration"]),
    "a traceback stays whole": (f"{ITERATION}\n{TRACEBACK}\n{NEXT}", ["iteration", "training_line", "iteration"]),
    "steps that were cancelled": (f"{STEP.format(0)}\n{STEP.format(1)}", ["step_cancelled", "step_cancelled"]),
    "a Python dictionary a line": ("{'loss': 2.5, 'epoch': 1.0}\n{'loss': 2.4, 'epoch': 2.0}", ["progress", "progress"]),
    "an object a line": ('{"step":1,"loss":2.5}\n{"step":2,"loss":2.4}', ["iteration", "iteration"]),
}


@pytest.mark.parametrize(("message", "kinds"), JOINED.values(), ids=JOINED)
def test_lines_of_a_job_that_were_joined(message: str, kinds: list[str]) -> None:
    """Each is the event that it would be alone."""
    found = rows(filebeat(message))
    assert [row.kind for row in found][: len(kinds)] == kinds
    assert [row.index for row in found] == list(range(len(found)))


def test_a_joined_failure_block_is_the_one_of_its_lines() -> None:
    """The places of the lines follow from the first one's."""
    assert failed(case_of([build.record(filebeat(f"{ITERATION}\n{BLOCK}"), topic="logs.training", at=60)])) == WHOLE


BARS = "\r 12%|#2        | 40/333 [00:51<06:17,  0.78it/s]"
BEHIND = {
    "a cancel": (STEP.format(0), "step_cancelled"),
    "a task's end": ("srun: error: gpu-003: task 17: Killed", "task_ended"),
    "what the agent does": (
        "WARNING:torch.distributed.elastic.multiprocessing.api:Sending process 143 closing signal SIGTERM",
        "ranks_closed",
    ),
    "the same since 2024": (
        "W0501 22:04:48.360000 139692 torch/distributed/elastic/multiprocessing/api.py:906] Sending process 227 closing signal SIGTERM",
        "ranks_closed",
    ),
    "a traceback": (TRACEBACK, "training_line"),
}


@pytest.mark.parametrize(("text", "kind"), BEHIND.values(), ids=BEHIND)
def test_behind_a_progress_bar_stands_a_line_of_its_own(text: str, kind: str) -> None:
    """A bar ends without a line end: what is printed next stands on its line."""
    bar, behind = rows(filebeat(BARS + BARS + text))
    (alone,) = rows(filebeat(text, log={"file": {"path": "/runs/slurm-7.out"}, "offset": 1000 + 2 * len(BARS)}))
    assert (bar.kind, bar.raw) == ("progress", BARS + BARS)
    assert (behind.event_id, behind.kind, behind.file_offset, behind.raw) == (alone.event_id, kind, alone.file_offset, text)


@pytest.mark.parametrize("said", ["srun: error: gpu-003: task 17: Killed", "Traceback (most recent call last)"])
def test_an_object_only_quotes_what_looks_like_a_line_behind_a_bar(said: str) -> None:
    """Among joined lines, too: it stays whole, and takes no line with it."""
    quotes = orjson.dumps({"step": 40, "loss": 2.5, "said": f"12%]{said}"}).decode()
    assert [row.raw for row in rows(filebeat(f"{ITERATION}\n{quotes}\n{NEXT}"))] == [ITERATION, quotes, NEXT]


def test_nobody_prints_so_many_lines_behind_a_bar_that_others_are_refused() -> None:
    """Shippers send lines of several jobs in one record."""
    sent = [orjson.loads(filebeat(text, f"/runs/slurm-{job}.out")) for job, text in ((7, "]srun: " * (ITEMS_MAX + 1)), (8, ITERATION))]
    assert "iteration" in [row.kind for row in rows(orjson.dumps(sent))]


def test_a_line_is_the_same_event_joined_or_alone() -> None:
    """Where the shipper tells the place: a multiline that was set up later gives no event twice."""
    first, second = rows(filebeat(f"{ITERATION}\n{NEXT}"))
    place = 1000 + len(ITERATION) + 1
    (alone,) = rows(filebeat(NEXT, log={"file": {"path": "/runs/slurm-7.out"}, "offset": place}))
    assert (second.event_id, second.file_offset, second.raw) == (alone.event_id, place, NEXT)
    assert first.file_offset == 1000


def test_records_of_the_audit_daemon_in_one_value() -> None:
    """No field of one is a field of another; a tag that is none of the daemon's stays one."""
    value = "\n".join(PATHS)
    assert [row.attrs["nametype"] for row in rows(value.encode(), "logs.access")] == ["DELETE", "DELETE"]
    assert [row.attrs["item"] for row in rows(filebeat(value, "/var/log/audit/audit.log"), "logs.access")] == ["0", "1"]
    forged = orjson.dumps({"message": value, "program": "logger", "host": "gpu-001", "@timestamp": AT})
    assert [out.code for out in outcomes(forged, "logs.access") if isinstance(out, Rejected)] == [ErrorCode.UNKNOWN_FORMAT]


@pytest.mark.parametrize("topic", ["logs.access", "logs.scheduler"])
def test_what_a_line_of_a_daemon_holds_is_no_line(topic: str) -> None:
    """syslog-ng leaves line ends in what any user may send: behind one anybody could speak for sshd, or for the controller."""
    forged = [
        "Mar  2 00:00:50 login-1 sshd[9]: Accepted publickey for u012 from 10.0.0.7 port 5022 ssh2",
        "[2026-03-02T00:00:50.100] _slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=7 uid 5012",
        PATHS[0],
    ]
    for line in forged:
        assert rows(f"Mar  2 00:00:50 login-1 u050: x\n{line}".encode(), topic) == []


LOGIN = "Mar  2 00:00:50 login-1 sshd[9]: Accepted publickey for {} from 10.0.0.7 port 5022 ssh2: ED25519 SHA256:abc"
SUDO = "Mar  2 00:00:51 login-1 sudo:     u050 : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/kill -9 4711"
PAM = "2026-03-02T00:00:52.100+00:00 login-1 su: pam_unix(su:session): session opened for user root(uid=0) by u050(uid=5050)"
FRAMED = "<86>1 2026-03-02T00:00:53Z login-1 sshd-session 9 - - Disconnected from user u012 10.0.0.7 port 5022"
SYSTEM_LOG = [LOGIN.format("u012"), LOGIN.format("u013"), SUDO, PAM, FRAMED]


def test_lines_of_the_system_log_that_were_joined() -> None:
    """Each is the event that it is alone, with its place, whatever program wrote it."""
    found = rows(filebeat("\n".join(SYSTEM_LOG), "/var/log/auth.log"), "logs.access")
    alone = [row for line in SYSTEM_LOG for row in rows(filebeat(line, "/var/log/auth.log"), "logs.access")]
    assert [(row.kind, row.attrs, row.raw) for row in found] == [(row.kind, row.attrs, row.raw) for row in alone]
    assert [row.kind for row in found] == ["login", "login", "privilege_used", "session_changed", "access_line"]
    assert [row.file_offset for row in found] == [1000 + sum(len(line) + 1 for line in SYSTEM_LOG[:at]) for at in range(5)]


def unflagged(message: str) -> bytes:
    """A tailed line of a shipper that does not say what it joined."""
    return orjson.dumps({"date": AT, "path": "/var/log/auth.log", "log": message, "hostname": "login-1"})


def as_sent(message: str) -> bytes:
    """By syslog-ng, which leaves line ends in."""
    return orjson.dumps({"MESSAGE": message, "HOST": "login-1", "received_at": AT})


@pytest.mark.parametrize("envelope", [str.encode, unflagged, as_sent])
@pytest.mark.parametrize("first", SYSTEM_LOG)
def test_where_nobody_says_that_lines_were_joined_the_first_alone_is_believed(first: str, envelope: Callable[[str], bytes]) -> None:
    """The rest is refused, with a code: a user may have written it; the first one is what it is alone."""
    forged = [LOGIN.format("u099"), SUDO.replace("u050", "u099"), "more"]
    believed, refused = rows(envelope("\n".join([first, *forged])), "logs.access")
    (alone,) = rows(envelope(first), "logs.access")
    assert (believed.kind, believed.attrs, believed.raw) == (alone.kind, alone.attrs, alone.raw)
    assert (refused.source, refused.kind, refused.raw) == ("refused", "decode_error", "\n".join(forged))


@pytest.mark.parametrize("file", ["", "/var/log/auth.log"])
def test_a_login_and_what_is_no_line_of_the_system_log_is_no_login(file: str) -> None:
    """sshd writes no line end: the words behind one are another's, and would be a part of the key.  What sudo ran may have one."""
    behind = "Accepted publickey for u099 from 10.0.0.8 port 5022 ssh2"
    for first in (LOGIN.format("u012"), PAM, FRAMED):
        value = filebeat(f"{first}\n{behind}", file) if file else f"{first}\n{behind}".encode()
        assert [out.code for out in outcomes(value, "logs.access") if isinstance(out, Rejected)] == [ErrorCode.UNKNOWN_FORMAT]
    (row,) = rows(f"{SUDO}\n{behind}".encode(), "logs.access")
    assert row.attrs["command"] == f"/usr/bin/kill -9 4711\n{behind}"


@pytest.mark.parametrize("more", [
    {"journald": {"uid": 5050}, "syslog": {"identifier": "u050"}}, {"log": {"flags": ["multiline"], "syslog": {"appname": "u050"}}},
    {"file": "/var/log/auth.log"},
])  # fmt: skip
def test_what_was_joined_is_no_file_unless_the_shipper_names_it(more: dict[str, Any]) -> None:
    """Filebeat joins messages of the journal, too, and in those anybody may write what looks like a line."""
    forged = LOGIN.format("u099")
    value = orjson.dumps({"@timestamp": AT, "message": f"{SUDO}\n{forged}", "log": {"flags": ["multiline"]}, "host": {"name": "n"}, **more})
    found = outcomes(value, "logs.access")
    assert [out.raw for out in found if isinstance(out, EventRow) and out.kind == "login"] == []
    assert any(isinstance(out, Rejected) or (isinstance(out, EventRow) and out.kind == "decode_error") for out in found)


def test_blank_lines_are_nobodys_words() -> None:
    """Neither before nor behind a line."""
    for around in ("\n{}", "{}\n\n", "\r\n{}\r\n\r\n"):
        (row,) = rows(around.format(LOGIN.format("u012")).encode(), "logs.access")
        assert (row.kind, row.raw) == ("login", LOGIN.format("u012"))


DAEMONS = [(name, text) for name, text in REGISTERED if registry.by_name(name).source in FAMILIES["access"] | FAMILIES["scheduler"]]


@pytest.mark.parametrize(("name", "text"), [each for each in DAEMONS if each[1][:1] != "{"], ids=lambda value: str(value)[:20])
def test_no_line_of_a_daemon_is_a_part_of_another(name: str, text: str) -> None:
    """Where a program or a relay sends several in one value, none is lost without a word."""
    topic = "logs.access" if registry.by_name(name).source in FAMILIES["access"] else "logs.scheduler"
    alone = rows(text.encode(), topic)
    found = rows(f"{text}\n{text}".encode(), topic)
    assert found[0].raw == text
    assert (found[0].kind, found[0].attrs) == (alone[0].kind, alone[0].attrs)
    assert found[-1].raw == text
    assert len(found) == 2


@pytest.mark.parametrize(("name", "text"), [each for each in DAEMONS if each[1][:1] != "{" and not syslog.program_of(each[1])])
def test_nor_of_one_of_another_daemon(name: str, text: str) -> None:
    """A relay reads several files."""
    family = "access" if registry.by_name(name).source in FAMILIES["access"] else "scheduler"
    for other, behind in DAEMONS:
        if other != name and behind[:1] != "{" and registry.by_name(other).source in FAMILIES[family]:
            told = [out for out in outcomes(f"{text}\n{behind}".encode(), f"logs.{family}") if isinstance(out, EventRow | Rejected)]
            assert len(told) == 2, other


def test_as_many_lines_as_a_record_may_have() -> None:
    """More are a dead letter, as in any batch."""
    (out,) = [out for out in outcomes(b"x\n" * (ITEMS_MAX + 1)) if isinstance(out, Rejected)]
    assert out.code is ErrorCode.RECORD_TOO_LARGE


PIECES = [
    (Line(payload=b"a"), [b"a"]),
    (Line(payload=b"a\n b\n\nc"), [b"a", b" b", b"c"]),
    (Line(payload=b'{"a":1,\n"b":2}'), [b'{"a":1,\n"b":2}']),
    (Line(payload=b"a\nb", part=Part()), [b"a\nb"]),
    (Line(payload=b"a\nb", broken="x"), [b"a\nb"]),
    (Line(payload=b"\n\n"), [b"\n\n"]),
]


@pytest.mark.parametrize(("line", "payloads"), PIECES)
def test_pieces(line: Line, payloads: list[bytes]) -> None:
    """An object printed over lines is one, and so is what is a piece or broken."""
    assert [each.payload for each in several.lines_of(line, of_job=True)] == payloads


def test_only_the_last_line_of_what_was_cut_is_cut() -> None:
    """The others are whole."""
    assert [each.truncated for each in several.lines_of(Line(payload=b"a\nb", truncated=True), of_job=True)] == [False, True]


TEXTS = st.sampled_from(
    [
        b"a",
        b"",
        b"Traceback (most recent call last):",
        b"  b",
        b"E: c",
        b"\r",
        b"Mar  2 00:00:50 login-1 sshd[9]: x",
        b"<13>Mar  2 00:00:50 y",
    ]
)


@given(st.lists(TEXTS, max_size=12), st.booleans(), st.booleans())
def test_no_byte_is_lost_and_places_are_true(texts: list[bytes], of_job: bool, joined: bool) -> None:
    """Whatever the lines: each stands where it says."""
    payload = b"\n".join(texts)
    found = several.lines_of(Line(payload=payload, file_offset=100, joined=joined), of_job=of_job)
    assert b"\n".join(each.payload for each in found).split() == payload.split()
    for each in found:
        assert each.file_offset is not None
        assert payload.startswith(each.payload, each.file_offset - 100)


def test_a_record_of_one_line_is_left_as_it_is() -> None:
    """Also where it ends with its line end."""
    record = Record(topic="logs.training", partition=0, offset=0, timestamp=build.ms(60), value=ITERATION.encode() + b"\n")
    (row,) = [out for out in step(build_state(build.settings(), Cases()), [record], NOTHING)[1] if isinstance(out, EventRow)]
    assert row.raw == ITERATION
