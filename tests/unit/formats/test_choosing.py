"""Which formats are asked about a line: few of them, and never another answer for it."""

import re
from collections.abc import Sequence
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.bench.format_lines import MAKERS, lines_of
from pipeline.errors import RejectedRecord, UnknownFormat
from pipeline.formats import registry
from pipeline.formats.choosing import Candidates
from pipeline.formats.line import Line, Payload, Reading
from pipeline.model.events import Parsed
from pipeline.model.source import FAMILIES, Source
from tests.unit.formats.test_registry import LINES

READING = Reading(zone=ZoneInfo("UTC"), reference_time=1_772_600_000_000)
EVERYBODY = frozenset(Source)
HEAD_BYTES = 1024

# The topic's family, a line, and who is offered it first: "" where nothing at its start tells.
FIRST = [
    ("scheduler", b'{"jobid":7}', "slurm_jobcomp"),
    ("scheduler", b'{"job":7}', ""),
    ("access", b"Mar  2 19:40:41 login-1 sshd[9]: x", "sshd"),
    ("access", b"<38>Mar  2 19:40:41 login-1 sshd[9]: x", "sshd"),
    ("access", b"<38>2026-03-02T19:40:41.318+00:00 login-1 sudo: x", "sshd"),
    ("access", b"Mar  2 19:40:41 login-1 python[9]: sshd[9]: x", ""),
    ("access", b"Mar  2 19:40:41", ""),
    ("access", b"2026-03-02 19:40:41,161 INFO FSNamesystem.audit: x", "hdfs_audit"),
    ("access", b"135 06UNLNK 19:40:41", "lustre_changelog"),
    ("access", b"<14>osm: login_log - {", "jumpserver"),
    ("access", b"7" * 64 + b" ckpt [02/Mar/2026:19:40:41 +0000] ", "s3_access"),
    ("scheduler", b"2026-03-02T19:40:41.318+00:00 ctl-1 slurmctld[9]: x", "slurmctld"),
    ("scheduler", b"[2026-03-02T19:40:41.318] launch task x", "slurmd"),
    ("scheduler", b"[2026-03-02T19:40:41.318] launched", "slurmd"),  # six bytes tell
    ("scheduler", b"[2026-03-02T19:40:41] launched", ""),
    ("scheduler", b"[2026-03-02T19:40:41] launch task x", "slurmd"),
    ("scheduler", b'{"job_id":7}', "sacct_json"),
    ("access", b'{"event":"exec","code":"T3002I"}', "teleport"),
    ("access", b'{"eventVersion": "1.09"}', "cloudtrail"),
    ("access", b'{"uuid" : "7"}', "falco"),
    ("access", b'{"ref": "refs/heads/main"}', "git_push"),
    ("access", b'{"reference":7}', ""),
    ("scheduler", b'{"kind":"Command","apiVersion":"bus.volcano.sh/v1alpha1"}', "volcano"),
    ("scheduler", b"03/02/2026 19:40:41;D;48213", "pbs"),
    ("scheduler", b"7_3|9|a|u017", "sacct"),
    ("training", b"[2026-03-02 19:40:41,765] [INFO] x", "deepspeed"),
    ("training", b"3: [2026-03-02 19:40:41,765] [INFO] x", "deepspeed"),
    ("training", b" [2026-03-02 19:40:41.318] iteration 7", "megatron"),
    ("training", b"0:  iteration   7/ 9 |", "megatron"),
    ("training", b"[rank3]:[E302 19:40:41.426415540 ProcessGroupNCCL.cpp:629] x", "nccl"),
    ("training", b"gpu-001:4711:4802 [3] NCCL INFO x", "nccl"),
    ("training", b"[rank3]: Traceback (most recent call last):", "torchrun"),
    ("training", b"[rank3]: loss", ""),
    ("training", b"W0302 19:40:41.318000 77 torch/distributed/elastic/agent.py:7] x", "torchrun"),
    ("training", b"torch.cuda.OutOfMemoryError: CUDA out of memory.", "torchrun"),
    ("training", b"[rank3]: RuntimeError: CUDA error: unspecified launch failure", "torchrun"),
    ("training", b"RuntimeError: NCCL communicator was aborted", ""),
    ("training", b"RuntimeError: [Rank 3] Watchdog caught collective operation timeout", ""),
    ("training", b"    loss = model(batch, 7)", "torchrun"),
    ("training", b"3:     return self.run(batch)", "torchrun"),
    ("training", b"    loss scale .......... 16384", ""),
    ("training", b"Sentence: of a job", ""),
    ("training", b'3: :::MLLOG {"time_ms":1}', "mllog"),
    ("training", b"3: MLLOG", ""),
    ("training", b"slurmstepd: error: *** STEP 7.0", "slurmstepd"),
    ("training", b"", ""),
]


def first_of(candidates: Candidates, payload: bytes) -> Payload | None:
    """As the registry asks."""
    where, named, match, told = candidates.offered[payload[0] if payload else 0]
    found = match(payload)
    return named.get(payload[where]) or (told[found.lastindex] if found else None)


def offered(payload: bytes, allowed: frozenset[Source]) -> Payload | None:
    """Who is offered the line first."""
    candidates = registry._ARRANGED.get(allowed) or registry._arranged(allowed)
    return first_of(candidates, payload)


@pytest.mark.parametrize(("family", "payload", "name"), FIRST, ids=[payload[:30].decode() for _, payload, _ in FIRST])
def test_who_is_offered_a_line_first(family: str, payload: bytes, name: str) -> None:
    """At the start, or behind the time, the host or the rank, stands what tells the format."""
    first = offered(payload, FAMILIES[family])
    assert (first.name if first else "") == name


def one_by_one(line: Line, allowed: frozenset[Source]) -> tuple[str, Sequence[Parsed]] | type[RejectedRecord]:
    """The answer of the slow way: every format in order, objects of objects first, none left out."""
    formats = [format_ for format_ in registry.PAYLOADS if format_.source in allowed]
    if line.payload[:1] == b"{":
        formats.sort(key=lambda format_: format_.name not in registry._OBJECTS)
    for format_ in formats:
        if format_.claims(line.payload):
            try:
                return format_.name, format_.parse(line, READING)
            except UnknownFormat:
                continue
            except RejectedRecord as error:
                return type(error)
    return UnknownFormat


def asked(line: Line, allowed: frozenset[Source]) -> tuple[str, Sequence[Parsed]] | type[RejectedRecord]:
    """The registry's answer."""
    try:
        format_, events = registry.parse(line, READING, allowed=allowed)
    except RejectedRecord as error:
        return type(error)
    return format_.name, events


ALL = [text.encode() for _, text in LINES] + [line for name in MAKERS for line in lines_of(name, 12)]
ALONE = [asked(Line(payload=text.encode()), EVERYBODY) for _, text in LINES]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_answer_is_that_of_asking_everybody(family: str) -> None:
    """Lines of all formats, on the topics of each family."""
    for payload in ALL:
        line = Line(payload=payload)
        assert asked(line, FAMILIES[family]) == one_by_one(line, FAMILIES[family])


@settings(deadline=None, max_examples=400)
@given(data=st.data())
def test_the_answer_for_damaged_lines(data: st.DataObject) -> None:
    """The same of lines that are cut or joined, as an attacker or a full disk leaves them."""
    payload = data.draw(st.sampled_from(ALL))
    start = data.draw(st.integers(0, len(payload)))
    tail = data.draw(st.sampled_from(ALL))
    end = data.draw(st.integers(0, len(tail)))
    line = Line(payload=payload[:start] + data.draw(st.sampled_from([b"", b"{", b" ", b"]", b"9", b'"'])) + tail[end:])
    allowed = FAMILIES[data.draw(st.sampled_from(sorted(FAMILIES)))]
    answer = asked(line, allowed)
    assert answer == one_by_one(line, allowed) or answer == by_its_beginning(line, allowed)


def by_its_beginning(line: Line, allowed: frozenset[Source]) -> tuple[str, Sequence[Parsed]] | None:
    """What the format says whose beginning the line has: of two lines that run into one another it is the first."""
    format_ = offered(line.payload, allowed)
    try:
        return (format_.name, format_.parse(line, READING)) if format_ else None
    except RejectedRecord:
        return None


PYTHON = [
    "RuntimeError: ",
    "[rank3]: a.b.C_Exception: ",
    "    loss = ",
    "3:     return self.run(",
    "        self.x += ",
    "    NCCL(",
    "    f(b, ",
]


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(PYTHON), st.sampled_from(ALL), st.integers(0, 400), st.integers(0, 400))
def test_python_that_quotes_a_line_of_another_format(python: str, quoted: bytes, start: int, end: int) -> None:
    """Whoever reads such a line when all are asked is not robbed of it."""
    line = Line(payload=python.encode() + quoted[start : start + end])
    for allowed in (EVERYBODY, FAMILIES["training"]):
        first = offered(line.payload, allowed)
        if first is not None and first.name == "torchrun":
            assert asked(line, allowed) == one_by_one(line, allowed)


@settings(deadline=None)
@given(st.sampled_from(ALL) | st.binary(max_size=400), st.sampled_from([b"a", b" ", b"9", b":1", b"1 [", b"<1>", b"[2026-", b"]", b"{"]))
def test_the_start_alone_tells(start: bytes, unit: bytes) -> None:
    """However long a line is, who is offered it is told by a head of bounded length."""
    for line in (start + unit * 2000, unit * 2000 + start):
        for allowed in FAMILIES.values():
            assert offered(line, allowed) is offered(line[:HEAD_BYTES], allowed)


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(len(LINES))))
def test_the_answer_does_not_depend_on_the_lines_before(order: Sequence[int]) -> None:
    """Nothing is remembered between lines."""
    for number in order:
        line = Line(payload=LINES[number][1].encode())
        assert asked(line, EVERYBODY) == ALONE[number]


class Spy:
    """A format that notes whether it was asked."""

    source = Source.TRAINING

    def __init__(self, name: str, **optional: object) -> None:
        self.name = name
        for attribute, value in optional.items():
            setattr(self, attribute, value)

    def claims(self, payload: bytes) -> bool:
        return False

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        raise UnknownFormat(line.payload.decode() + str(reading.zone))


def test_who_is_asked() -> None:
    """A format is left out only by what it says of itself; formats for objects come first for an object."""
    formats: list[Payload] = [Spy("any"), Spy("digits", first_bytes=b"0123456789"), Spy("inside", in_object=True), Spy("objects")]
    candidates = Candidates(formats, frozenset({"objects"}))
    assert [format_.name for format_ in candidates.of(b"7 x")] == ["any", "digits", "objects"]
    assert [format_.name for format_ in candidates.of(b"x {}")] == ["any", "inside", "objects"]
    assert [format_.name for format_ in candidates.of(b"{}")] == ["objects", "any", "inside"]
    assert candidates.of(b"") == ()


def test_the_longest_beginning_is_tried_first() -> None:
    """Of beginnings that share their first bytes the more telling one wins, also behind a time."""
    candidates = Candidates([Spy("short", begins=(b"] [",)), Spy("long", begins=(b"] [INFO] ",))], frozenset())
    for line in (b"[2026-03-02 19:40:41,765] [INFO] x", b"] [INFO] x"):
        first = first_of(candidates, line)
        assert first is not None
        assert first.name == "long"


@pytest.mark.parametrize("format_", [each for each in registry.PAYLOADS if hasattr(each, "shape")], ids=lambda each: each.name)
def test_shapes_begin_with_the_bytes_that_they_name(format_: Payload) -> None:
    """None of the lines here that has the shape begins with another byte."""
    first_bytes, shape = getattr(format_, "shape")  # noqa: B009 - no format must have it
    begun = {line[0] for line in ALL + [payload for _, payload, _ in FIRST] if re.match(shape, line)}
    assert begun
    assert begun <= set(first_bytes)
