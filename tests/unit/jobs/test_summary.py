"""What cohorts are told of an attempt: what it loaded that others had written, how it ended apart from that, and what it runs with.

#   import(a) by job 6 @10     write by u099 @40     import(b) by job 7 @90    put back by u099 @95    import(a) by job 9
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import pytest

from pipeline.detect import verdict
from pipeline.jobs.summary import cohorts_of, summarise
from pipeline.model.events import Event, Iteration, TrainingLine
from pipeline.model.source import Source
from pipeline.model.summary import JobSummary
from tests import build
from tests.build import COLLEAGUE, MODULE, OWNER, WRITER, error_line, imported, job_end, load, rank_failed, write

BEFORE, ALTERED = imported(10, "a", job="6"), write(40, COLLEAGUE, path=MODULE)
LOADED = [BEFORE, ALTERED, imported(90)]


def summary(*events: Event) -> JobSummary:
    """Of an attempt with an allocation of 512 GPUs, so that there always is one."""
    case = build.case(build.allocation(gpus=512), *events)
    told = summarise(case, verdict.judge(case, (), build.now()))
    assert told is not None
    return told


def test_a_ticket_for_the_host_of_the_write_is_leave() -> None:
    """As for the detectors of one job: who writes under a ticket exposes nobody."""
    where = {"identities": ("u099",), "hosts": ("login-001",)}
    other = {"identities": ("u099",), "hosts": ("gpu-001",)}
    for ticket, exposures in (
        (build.ticket(0, 100, **where), 0),
        (build.ticket(0, 100, **where, cluster="west"), 1),
        (build.ticket(0, 100, **other), 1),
    ):
        case = build.case(build.allocation(gpus=512), *LOADED, at=build.site(tickets=(ticket,)))
        told = summarise(case, None)
        assert told is not None
        assert len(told.exposures) == exposures


def line(at: float, what: str, text: str) -> Event:
    """A line of the job's own output."""
    return build.event(at, Source.TRAINING, TrainingLine(what, text), job=build.JOB, tag=text)


class Row(NamedTuple):
    """What was loaded, and the exposures: (writer, sha256, restored)."""

    name: str
    events: Sequence[Event]
    exposures: list[tuple[str, str, bool]]


EXPOSURES = [
    Row("a colleague's bytes", LOADED, [("u099", "b" * 64, False)]),
    Row("the owner's own", [BEFORE, write(40, OWNER, path=MODULE), imported(90)], []),
    Row("by who may write there", [BEFORE, write(40, WRITER, path=MODULE), imported(90)], []),
    Row("the maintainer wrote behind him", [*LOADED[:2], write(50, WRITER, path=MODULE), imported(90)], []),
    Row("he put back what he had altered", [*LOADED[:2], imported(60, job="8"), write(70, COLLEAGUE, path=MODULE), imported(90, "a")], [
        ("u099", "a" * 64, True),
    ]),
    Row("he put it back before anybody loaded it", [BEFORE, ALTERED, write(50, COLLEAGUE, path=MODULE), imported(90, "a")], [
        ("u099", "a" * 64, True),
    ]),
    Row("he put back the owner's release before", [
        write(5, OWNER, path=MODULE), BEFORE, write(20, OWNER, path=MODULE), imported(30, job="6"), ALTERED, imported(90, "a"),
    ], [("u099", "a" * 64, True)]),
    Row("the bytes that he wrote first came again", [ALTERED, imported(60, job="8"), write(70, COLLEAGUE, path=MODULE), imported(90)], [
        ("u099", "b" * 64, False),
    ]),
    Row("nobody wrote", [BEFORE, imported(90)], []),
]  # fmt: skip


@pytest.mark.parametrize("row", EXPOSURES, ids=lambda row: row.name)
def test_exposures(row: Row) -> None:
    """Of each path the last load, when the last hand on it was a foreign one."""
    assert [(each.writer, each.sha256, each.restored) for each in summary(*row.events).exposures] == row.exposures


def forged(event: Event) -> Event:
    """The same as anybody may have sent it."""
    return msgspec.structs.replace(event, id=f"{event.id}-unproven", unproven=True)


FORGED = [
    ("he wrote again, and it took effect", write(50, COLLEAGUE, path=MODULE)),
    ("the owner wrote last", write(50, OWNER, path=MODULE)),
    ("the maintainer wrote last", write(50, WRITER, path=MODULE)),
    ("the job loaded other bytes", imported(92, "c")),
    ("the bytes are those from before", imported(20, "b", job="5")),
]


@pytest.mark.parametrize("sent", [each[1] for each in FORGED], ids=[each[0] for each in FORGED])
def test_what_anybody_may_send_takes_no_exposure_away(sent: Event) -> None:
    """What known senders tell of a write and a load stands, word for word."""
    assert summary(*LOADED, forged(sent)).exposures == summary(*LOADED).exposures


def test_what_anybody_may_send_does_not_make_a_job_say_what_it_loads() -> None:
    """Then it would count among those that loaded nothing foreign; but where nobody known tells of its output, anybody's word is taken."""
    step = build.event(50, Source.TRAINING, Iteration(iteration=100, loss=2.5, elapsed_ms=1000.0), job=build.JOB)
    told = [(step, load(90)), (step, forged(load(90))), (forged(step), forged(load(90))), (step,)]
    assert [summary(*events).loads_told for events in told] == [True, False, True, False]


def test_what_anybody_may_send_changes_no_pace() -> None:
    """Nor the steps by which an attempt is compared, as long as known senders tell of any."""
    steps = [
        build.event(50 + at, Source.TRAINING, Iteration(iteration=100 * at, loss=2.5, elapsed_ms=1000.0), job=build.JOB) for at in range(9)
    ]
    slow = [
        build.event(70 + at, Source.TRAINING, Iteration(iteration=1000 + at, loss=9.0, elapsed_ms=9000.0), job=build.JOB) for at in range(9)
    ]
    told, spoilt = summary(*steps), summary(*steps, *map(forged, slow))
    assert told.pace is not None
    assert (spoilt.pace, spoilt.steps) == (told.pace, told.steps)


def step(at: float, iteration: int) -> Event:
    """A line of the job's training."""
    return build.event(at, Source.TRAINING, Iteration(iteration=iteration, loss=2.5, elapsed_ms=1000.0), job=build.JOB)


@pytest.mark.parametrize(
    ("logged", "kept"),
    [
        (range(100, 2000, 100), [*range(100, 2000, 100)]),
        (range(52_100, 52_500, 100), [52_100, 52_200, 52_300, 52_400]),
        (range(52_000, 54_400, 100), [52_000, 52_100, 52_300, 52_500, 52_800, 53_000, 53_100, 53_300, 53_600, 53_800, 54_000, 54_100]),
    ],
    ids=["round ones", "few, none of them round", "three of many are round"],
)
def test_steps_by_which_it_is_compared(logged: Sequence[int], kept: list[int]) -> None:
    """Round ones, which siblings log, too; where an attempt passes few, others, spread over the run, up to a dozen."""
    told = summary(*(step(50 + place, iteration) for place, iteration in enumerate(logged)))
    assert [each.iteration for each in told.steps] == kept


TRACE = (
    line(95, "traceback", "Traceback (most recent call last):"),
    line(95, "traceback", f'  File "{MODULE}", line 40, in forward'),
    line(95, "traceback", "RuntimeError: shape mismatch"),
)
OWN_TRACE = (TRACE[0], line(95, "traceback", '  File "/home/u012/train.py", line 7, in main'), TRACE[2])
EXITED = (rank_failed(96, signal=None, exit_code=1), job_end(100, exit_code=1))
ENDS = [
    ("killed, nobody says by whom", [rank_failed(96), job_end(100, exit_signal=9)], "unexplained"),
    ("an exit without a word", EXITED, "unexplained"),
    (
        "only the launcher has a word for it",
        [error_line(97, "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: "), *EXITED],
        "unexplained",
    ),
    ("an error in the foreign file", [*LOADED, *TRACE, *EXITED], "unexplained"),
    ("an error in the job's own code", [*LOADED, *OWN_TRACE, *EXITED], "benign"),
    ("an error in that file, which nobody altered", [BEFORE, *TRACE, *EXITED], "benign"),
    ("an error line", [error_line(95), *EXITED], "benign"),
    ("it ended well, whatever it loaded", [*LOADED, job_end(100, "COMPLETED")], "benign"),
    ("it runs", LOADED, ""),
]


@pytest.mark.parametrize(("events", "said"), [each[1:] for each in ENDS], ids=[each[0] for each in ENDS])
def test_how_it_ended_is_told_apart_from_what_it_loaded(events: Sequence[Event], said: str) -> None:
    """An error explains an end, unless it is one in a file that others wrote."""
    assert summary(*events).verdict == said


def test_siblings_may_differ_in_size() -> None:
    """One configuration, whatever the number of GPUs; the cohort of large ones comes on top."""
    step = build.event(50, Source.TRAINING, Iteration(iteration=100, loss=2.5), job=build.JOB)
    large, small = (build.case(build.allocation(gpus=gpus), step) for gpus in (512, 8))
    told = [cohorts_of(case, found) for case in (large, small) if (found := summarise(case, None)) is not None]
    assert told[0][:1] == told[1]
    assert told[0][1:] == ["size/256"]


def test_arguments_that_decide_what_is_learned() -> None:
    """Not the folders and sizes in which siblings differ."""
    dump = [line(5, "config", text) for text in ("  seed ............ 1234", "  lr .......... 0.0001", "  load ....... /ckpt/u012/run1")]
    assert [(name, value) for name, value, _ in summary(*dump).arguments] == [("lr", "0.0001"), ("seed", "1234")]
