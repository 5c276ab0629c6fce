"""Failures that several lines tell: torchrun's block, tracebacks.  Lines come in any order, and any of them may be missing.

Root Cause:  [0]:  time  host  rank  exitcode      ->  one failed rank that cites its lines
"""

import random
from collections.abc import Sequence
from itertools import permutations

import pytest

from pipeline.detect.case import Case
from pipeline.formats.failures import Frame
from pipeline.ingest.step import build_state, step
from pipeline.jobs.index import JobIndex
from pipeline.model.events import RankFailed
from pipeline.model.outcome import Record, Tell
from pipeline.model.told import decode_told
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import NOTHING
from tests import build
from tests.build import CLUSTER, JOB, allocation

BLOCK = """\
============================================================
train.py FAILED
------------------------------------------------------------
Failures:
[1]:
  time      : 2026-03-02_00:00:43
  host      : gpu-004.cluster.example
  rank      : 9 (local_rank: 1)
  exitcode  : 1 (pid: 224)
  error_file: <N/A>
  traceback : To enable traceback see: https://example.invalid/errors.html
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-03-02_00:00:41
  host      : gpu-003
  rank      : 5 (local_rank: 5)
  exitcode  : -9 (pid: 223)
  error_file: <N/A>
  traceback : Signal 9 (SIGKILL) received by PID 223
============================================================"""
TRACEBACK = """\
Traceback (most recent call last):
  File "/home/u012/train.py", line 12, in <module>
    main()
  File "/envs/torch/nn.py", line 9, in forward
    return self.inner(batch)
ValueError: bad shape"""


def records(text: str, *, file: str = "/runs/slurm-7.out", offsets: bool = True) -> list[Record]:
    """A record a line, as a shipper sends them, all collected at once."""
    found, at = [], 0
    for line in text.splitlines():
        headers = (("file", file.encode()), *((("offset", str(at).encode()),) if offsets else ()))
        found.append(build.record(line, at=60, headers=headers, topic="logs.training"))
        at += len(line) + 1
    return found


def case_of(lines: Sequence[Record]) -> Case:
    """What a judge sees, of the facts of these records one by one."""
    state = build_state(build.settings(), Cases())
    told = Cases()
    for line in lines:
        state, outcomes = step(state, [line], NOTHING)
        for out in outcomes:
            if isinstance(out, Tell) and out.stage == "jobs":
                told.merge(out.fact)
    index = JobIndex(CLUSTER, JOB, 1_000)
    index.add("start", allocation())
    for fact in told.facts():
        index.add(fact.id, decode_told(fact.body))
    (case,) = index.cases(build.site())
    return case


Rank = tuple[int | None, str, int | None, int | None, bool]


def failed(case: Case) -> list[Rank]:
    """(pid, host, rank, signal, first) of each failed rank, by process."""
    ranks = [(body.pid, body.host, body.rank, body.signal, body.first) for _, body in case.failed_ranks()]
    return sorted(ranks, key=lambda rank: rank[0] or 0)


WHOLE = [(223, "gpu-003", 5, 9, True), (224, "gpu-004", 9, None, False)]


def test_a_block_says_which_rank_failed_first_and_where() -> None:
    """Each of its lines is cited, as those of an audit event are."""
    case = case_of(records(BLOCK))
    assert failed(case) == WHOLE
    assert [len(event.parts) for event, _ in case.failed_ranks()] == [4, 4]
    assert [event.record for event, _ in case.failed_ranks()] == [event.id for event, _ in case.failed_ranks()]  # the line that says how


def test_lines_may_come_in_any_order() -> None:
    """From partitions that know nothing of one another."""
    lines, dice = records(BLOCK), random.Random(7)
    for _ in range(20):
        dice.shuffle(lines)
        assert failed(case_of(lines)) == WHOLE


def test_a_line_that_is_missing_takes_only_its_own_word() -> None:
    """A half-finished block is what its lines are; none borrows from the failure before it."""
    lines = records(BLOCK)
    for gone in range(len(lines)):
        left = failed(case_of([*lines[:gone], *lines[gone + 1 :]]))
        for pid, host, rank, signal, _ in left:
            assert (host, rank) in {("", None), ("", 5), ("", 9), ("gpu-003", None), ("gpu-003", 5), ("gpu-004", None), ("gpu-004", 9)}
            expected = next(each for each in WHOLE if each[0] == pid)
            assert (host in ("", expected[1]), rank in (None, expected[2]), signal) == (True, True, expected[3])


def test_without_offsets_lines_stay_what_they_are() -> None:
    """Nothing says which of them stood together."""
    case = case_of(records(BLOCK, offsets=False))
    assert failed(case) == [(223, "", None, 9, False), (224, "", None, None, False)]
    assert all(isinstance(body, RankFailed) for _, body in case.failed_ranks())


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_files_are_told_apart(order: tuple[int, ...]) -> None:
    """Each rank may have a file of its own."""
    files = [records(BLOCK.replace("223", f"22{number}0"), file=f"/runs/slurm-7.{number}.out") for number in range(3)]
    case = case_of([line for number in order for line in files[number]])
    assert [(pid, host) for pid, host, _, _, first in failed(case) if first] == [(f, "gpu-003") for f in (2200, 2210, 2220)]


def test_a_traceback_is_put_together() -> None:
    """Its frames in order, the last one where it failed, and the error that ends it."""
    lines = records(TRACEBACK)
    for order in (lines, lines[::-1]):
        (found,) = case_of(order).tracebacks()
        assert found.frames == (Frame("/home/u012/train.py", 12, "<module>"), Frame("/envs/torch/nn.py", 9, "forward"))
        assert found.error == "ValueError: bad shape"


def test_ranks_that_fail_alike_are_one_traceback() -> None:
    """A thousand of them must not fill a case; labels keep ranks apart that do not."""
    many = "\n".join(TRACEBACK for _ in range(40))
    case = case_of(records(many))
    assert len(case.tracebacks()) == 1
    first, second = (TRACEBACK.replace("nn.py", f"{name}.py").splitlines() for name in "ab")
    mixed = "\n".join(f"{rank}: {line}" for pair in zip(first, second, strict=True) for rank, line in enumerate(pair))
    assert {found.frames[-1].path: found.rank for found in case_of(records(mixed)).tracebacks()} == {
        "/envs/torch/a.py": 0,
        "/envs/torch/b.py": 1,
    }


def test_a_line_without_offset_is_a_frame_alone() -> None:
    """Released as what it is."""
    found = case_of(records(TRACEBACK, offsets=False)).tracebacks()
    assert sorted(frame.line for each in found for frame in each.frames) == [9, 12]
    assert all(len(each.frames) == 1 for each in found)


def test_a_traceback_that_its_shipper_put_together() -> None:
    """Filebeat's `multiline` sends it as one line."""
    whole = build.record(TRACEBACK, at=60, headers=(("file", b"/runs/slurm-7.out"),), topic="logs.training")
    (found,) = case_of([whole]).tracebacks()
    assert [frame.line for frame in found.frames] == [12, 9]
    assert found.error == "ValueError: bad shape"
