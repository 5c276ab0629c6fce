"""Lines by somebody who wants the worker to stop: whatever the bytes, a format answers with events or a RejectedRecord.

The long lines hold no assertion on time: one that took more than linear time would not end within the run.
"""

import contextlib
import json
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.bench.fuzz_input import good_lines
from pipeline.errors import RejectedRecord
from pipeline.formats import registry
from pipeline.formats.line import Line, Payload, Reading
from tests.unit.formats.test_registry import LINES

READING = Reading(zone=ZoneInfo("Europe/Berlin"), reference_time=1_772_480_460_000)
LONG = 1 << 16  # bytes: what takes more than linear time takes minutes for them
VALID = [text.encode() for _, text in LINES]
FORMATS = pytest.mark.parametrize("format_", registry.PAYLOADS, ids=lambda format_: format_.name)


def offer(format_: Payload, payload: bytes, program: str = "") -> None:
    """Ask as ingest does, sniffed and pinned; only a RejectedRecord may be raised."""
    line = Line(payload=payload, program=program)
    format_.claims(payload)
    with contextlib.suppress(RejectedRecord):
        for event in format_.parse(line, READING):
            assert event.event_time is None or isinstance(event.event_time, int)


@FORMATS
@settings(deadline=None, max_examples=50)  # for each of dozens of formats; `bench fuzz` tries millions
@given(payload=st.binary(max_size=300))
def test_any_bytes(format_: Payload, payload: bytes) -> None:
    """Bytes that were never a line."""
    offer(format_, payload)


@FORMATS
@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_mutated_lines(format_: Payload, data: st.DataObject) -> None:
    """Valid lines of every format, cut, doubled or with bytes exchanged, offered to each format."""
    payload = bytearray(data.draw(st.sampled_from(VALID)))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(payload)))
        end = data.draw(st.integers(start, min(len(payload), start + 12)))
        payload[start:end] = data.draw(
            st.sampled_from([b"", b"9", b"99999999999999999999", b"-", b" ", b"[", b"]", b"\xff", b'"', b"{", b"|", b"\n", "٣".encode()])
        )
    offer(format_, bytes(payload), data.draw(st.sampled_from(["", "sshd", "kernel", "slurmctld"])))


def filled(unit: bytes) -> bytes:
    """As many bytes of it."""
    return (unit * (LONG // len(unit) + 1))[:LONG]


UNITS = [
    b"a ",
    b"[[[[",
    b"]]",
    b"[1-2]",
    b"9",
    b"|",
    b": ",
    b" for JobId=",
    b'{"jobid":',
    b"debug: error: ",
    b"gpu-[1-9],",
    b"\xff",
    b'"',
    b"\\",
    b" ",
]
STAMP = b"[2026-03-02T19:40:41.318] "
STARTS = [
    b"",
    STAMP,
    STAMP + b"error: ",
    STAMP + b"_update_job: setting name to ",
    STAMP + b"update_node: node gpu-003 reason set to: ",
    STAMP + b"_slurm_rpc_kill_job: REQUEST_KILL_JOB JobId=",
    STAMP + b"_slurm_rpc_kill_job: job_str_signal() uid=1 JobId=7 sig=9 returned: ",
    STAMP + b"sched: Allocate JobId=7 NodeList=gpu-[",
    STAMP + b"Nodes gpu-[1-99999,",
    b"7|7|",
    b'{"jobid":7,"nodes":"',
    b'{"trainwatch_probe":1,"path":"',
    b"0: ",
    b"Mar  2 19:40:41 ctl-1 slurmctld[9]: ",
    b"<30>1 2026-03-02T19:40:41Z ctl-1 slurmctld 9 - [",
    b"type=SYSCALL msg=audit(1772480441.318:77): ",
    b"slurmstepd: error: *** STEP ",
    b"JobId=7 UserId=u017(5017) GroupId=llm(5000) Name=",
    STAMP + b"[7.0] error: ",
    b"{'loss': ",
    b"Epoch 0:  1%|",
    b":::MLLOG {",
    b"[rank3]:[E ProcessGroupNCCL.cpp:1] ",
    b"[2026-03-02 19:40:41,765] [INFO] [a.py:1:f] ",
    b'{"step":1,"loss":',
    b"[INFO|trainer.py:1] 2026-03-02 19:40:41,284 >> ",
    b'{"ID":"1772480441.311:9001","SYSCALL":{"comm":"%',
    b'{"auditID":"a","stage":"s","objectRef":{"subresource":"exec"},"requestURI":"/x?',
    b"2026-03-02 19:40:41,161 INFO FSNamesystem.audit: allowed=true\tugi=u017\tip=/1\tcmd=delete\tsrc=",
    b"7" * 64 + b" ckpt [02/Mar/2026:19:40:41 +0000] 10.0.0.7 u017 R1 REST.DELETE.OBJECT ",
    b"135 08RENME 19:40:41.1 2026.03.02 0x1 t=[0x2:0x2:0x0] p=[0x2:0x2:0x0] ",
]


@pytest.mark.parametrize("start", STARTS, ids=lambda start: start[-40:].decode())
def test_long_lines(start: bytes) -> None:
    """64 KiB of what is worst for a pattern that could go back, behind every start that leads deep into a format."""
    for unit in UNITS:
        payload = start + filled(unit)
        for format_ in registry.PAYLOADS:
            offer(format_, payload)
        with contextlib.suppress(RejectedRecord):
            registry.unwrap(payload, [])


MANY_COLUMNS = "|".join(["7"] * 500_000).encode()
WIDE_NODES = b'{"jobid":7,"nodes":"' + b",".join([b"gpu-[1-100000]"] * 60_000) + b'"}'
MANY_RANGES = b'{"jobid":7,"nodes":"gpu-[' + b",".join([b"1-99999"] * 100_000) + b']"}'
LONG_NAMES = b'{"jobid":7,"nodes":"' + b"x" * LONG + b'[1-99999]"}'
DEEP = b'{"jobid":7,"a":' + b"[" * 900 + b"]" * 900 + b"}"


@FORMATS
@pytest.mark.parametrize(
    "payload", [MANY_COLUMNS, WIDE_NODES, MANY_RANGES, LONG_NAMES, DEEP], ids=["columns", "wide", "ranges", "names", "deep"]
)
def test_lines_that_would_grow(format_: Payload, payload: bytes) -> None:
    """Short texts for huge values stop at a bound."""
    offer(format_, payload)


LISTS = b"[" * 1000 + b"]" * 1000


def with_lists_in(line: bytes) -> Iterator[bytes]:
    """The line with lists in lists in the place of each value of its object; as deep as a decoder goes."""
    start = line.find(b"{")
    try:
        waiting = [value := json.loads(line[start:])] if start >= 0 else []
    except ValueError:
        return  # braces of a text
    holders: list[tuple[Any, Any]] = []
    while waiting:
        each = waiting.pop()
        for key in list(each) if isinstance(each, dict) else range(len(each)):
            holders.append((each, key))
            waiting += [each[key]] if isinstance(each[key], dict | list) else []
    for holder, key in holders:
        kept, holder[key] = holder[key], "\x00"
        yield line[:start] + json.dumps(value, separators=(",", ":")).encode().replace(b'"\\u0000"', LISTS)
        holder[key] = kept


@FORMATS
def test_lists_in_lists_in_any_field(format_: Payload) -> None:
    """Decoders read more of them than Python's `repr` does, which ends in a RecursionError; a job may print them all day."""
    lines = {bytes(sorted(set(line[:200]))): line for line in good_lines(format_.name, 60, 1)}
    own = [text.encode() for name, text in LINES if name == format_.name]
    for line in (*own, *list(lines.values())[:4]):
        for payload in with_lists_in(line):
            offer(format_, payload)
            with contextlib.suppress(RejectedRecord):
                registry.unwrap(payload, [])


@pytest.mark.parametrize(
    "key", ["partial_message", "facility", "_UID", "_uid", "_TRANSPORT", "stream", "kubernetes", "log", "host", "time", "journald", "file"]
)
def test_lists_in_lists_beside_a_line(key: str) -> None:
    """At the depth, too, that a decoder just takes: what is done with it then must not go as deep."""
    for depth in range(700, 1000):
        lists = b"[" * depth + b"]" * depth
        value = b'{"message":"x","program":"kernel","@timestamp":"2026-03-02T12:00:00Z","%s":%s}' % (key.encode(), lists)
        with contextlib.suppress(RejectedRecord):
            registry.unwrap(value, [])
