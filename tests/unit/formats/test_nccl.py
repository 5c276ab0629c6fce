"""The collectives' watchdog in the words of each version, and NCCL's own lines."""

import pytest

from pipeline.errors import UnknownFormat
from pipeline.formats.line import Line
from pipeline.formats.payloads.nccl import FORMAT
from pipeline.model.events import AnyBody, CollectiveTimeout, TrainingLine
from tests.unit.formats.training_lines import AT, READING, the_event

WORK = "WorkNCCL(SeqNum=64, OpType=ALLREDUCE, NumelIn=4, NumelOut=4, Timeout(ms)=600000) ran for 600081 milliseconds before timing out."
TIMED_OUT = CollectiveTimeout(rank=3, operation="ALLREDUCE", timeout_ms=600_000, ran_ms=600_081)
GLOG = "302 19:40:41.426415540 ProcessGroupNCCL.cpp"
TIMEOUTS: list[tuple[str, str, AnyBody, int | None]] = [
    (
        "oldest, srun's label",
        (
            "7: Caught collective operation timeout: WorkNCCL(OpType=BROADCAST, TensorShape=[1], Timeout(ms)=1800000) "
            "ran for 1800499 milliseconds before timing out."
        ),
        CollectiveTimeout(rank=7, operation="BROADCAST", timeout_ms=1_800_000, ran_ms=1_800_499),
        None,
    ),
    (
        "1.8",
        (
            "[E ProcessGroupNCCL.cpp:485] Some NCCL operations, Caught collective operation timeout: WorkNCCL(OpType=BROADCAST, "
            "Timeout(ms)=1800000) ran for 1800116 milliseconds before timing out."
        ),
        CollectiveTimeout(operation="BROADCAST", timeout_ms=1_800_000, ran_ms=1_800_116),
        None,
    ),
    ("1.13", f"[E ProcessGroupNCCL.cpp:828] [Rank 3] Watchdog caught collective operation timeout: {WORK}", TIMED_OUT, None),
    ("2.4", f"[rank3]:[E{GLOG}:629] [Rank 3] Watchdog caught collective operation timeout: {WORK}", TIMED_OUT, AT + 426),
    (
        "2.4, month of two digits",
        (f"[rank3]:[E1218 20:27:21.426415540 ProcessGroupNCCL.cpp:629] [Rank 3] Watchdog caught collective operation timeout: {WORK}"),
        TIMED_OUT,
        1_766_060_841_426,
    ),
    (
        "2.6, crash",
        (
            f"[rank3]:[E{GLOG}:1785] [PG ID 0 PG GUID 0(default_pg) Rank 3] Process group watchdog thread terminated with exception: "
            f"[Rank 3] Watchdog caught collective operation timeout: {WORK}"
        ),
        TIMED_OUT,
        AT + 426,
    ),
    (
        "what() of the crash",
        (
            f"  what():  [PG 3 Rank 3] Process group watchdog thread terminated with exception: [Rank 3] Watchdog caught "
            f"collective operation timeout: {WORK}"
        ),
        TIMED_OUT,
        None,
    ),
    (
        "the label's rank is the global one",
        f"[rank11]:[E{GLOG}:629] [Rank 3] Watchdog caught collective operation timeout: {WORK}",
        CollectiveTimeout(rank=11, operation="ALLREDUCE", timeout_ms=600_000, ran_ms=600_081),
        AT + 426,
    ),
    (
        "glued behind a bar",
        (
            f"Epoch 0:   6%|#  | 32/500 [6:28:43<94:39:17, 1.37it/s, loss=2.6][E ProcessGroupNCCL.cpp:458] [Rank 3] Watchdog "
            f"caught collective operation timeout: {WORK}"
        ),
        TIMED_OUT,
        None,
    ),
    (
        "cut",
        "[E ProcessGroupNCCL.cpp:828] [Rank 3] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=64, OpTy",
        CollectiveTimeout(rank=3),
        None,
    ),
    (
        "in Ray",
        f"(RayWorkerWrapper pid=4711) [rank3]:[E ProcessGroupNCCL.cpp:563] [Rank 3] Watchdog caught collective operation timeout: {WORK}",
        TIMED_OUT,
        None,
    ),
]


@pytest.mark.parametrize(("text", "body", "time"), [row[1:] for row in TIMEOUTS], ids=[row[0] for row in TIMEOUTS])
def test_timeouts(text: str, body: AnyBody, time: int | None) -> None:
    """Rank, operation, limit and run time in every version; the time where glog writes it."""
    event = the_event(FORMAT, text)
    assert (event.body, event.event_time) == (body, time)


LINES: list[tuple[str, int | None, dict[str, str]]] = [
    (
        (
            "[rank2]:[E ProcessGroupNCCL.cpp:1537] [PG 0 Rank 2] Timeout at NCCL work: 64, last enqueued NCCL work: 65, "
            "last completed NCCL work: 63."
        ),
        2,
        {"group": "0", "work": "64", "enqueued": "65", "completed": "63"},
    ),
    (
        (
            f"[rank4]:[E{GLOG}:1785] [PG ID 0 PG GUID 0(default_pg) Rank 4] Exception (either an error or timeout) detected by watchdog "
            "at work: 808, last enqueued NCCL work: 811, last completed NCCL work: 807."
        ),
        4,
        {"group": "default_pg", "work": "808", "enqueued": "811", "completed": "807"},
    ),
    (
        (
            "[rank1]:[E ProcessGroupNCCL.cpp:700] [PG 1 Rank 1] Received a dump signal due to a collective timeout from rank 0 and we will "
            "try our best to dump the debug info. Last enqueued NCCL work: -1, last completed NCCL work: -1."
        ),
        1,
        {"group": "1", "enqueued": "-1", "completed": "-1"},
    ),
    (
        "[rank25]:[F ProcessGroupNCCL.cpp:1169] [PG 0 Rank 25] ProcessGroupNCCL's watchdog got stuck for 600 seconds without making",
        25,
        {"group": "0", "stuck_seconds": "600"},
    ),
    ("[rank3]:[E ProcessGroupNCCL.cpp:583] [Rank 3] To avoid data inconsistency, we are taking the entire process down.", 3, {}),
    (
        "gpu-001:4711:4802 [3] misc/socket.cc:49 NCCL WARN socketProgress: Connection closed by remote peer gpu-002<41234>",
        None,
        {"host": "gpu-001", "pid": "4711", "device": "3", "level": "WARN"},
    ),
    (
        "0: gpu-001:4711:4711 [0] NCCL INFO Bootstrap : Using eth0:10.0.0.7<0>",
        0,
        {"host": "gpu-001", "pid": "4711", "device": "0", "level": "INFO"},
    ),
    ("NCCL version 2.21.5+cuda12.4", None, {}),
]


@pytest.mark.parametrize(("text", "rank", "rest"), LINES)
def test_other_lines(text: str, rank: int | None, rest: dict[str, str]) -> None:
    """Typed, never as an error of the program, with what they name beside the text."""
    event = the_event(FORMAT, text)
    assert isinstance(event.body, TrainingLine)
    assert (event.body.what, event.body.rank, event.unmapped) == ("nccl", rank, rest)


def test_the_rank_that_is_behind_can_be_found() -> None:
    """Sequence number and group stand beside a timeout."""
    event = the_event(
        FORMAT, f"[E ProcessGroupNCCL.cpp:1785] [PG ID 2 PG GUID 7(tp) Rank 3] Watchdog caught collective operation timeout: {WORK}"
    )
    assert event.unmapped == {"SeqNum": "64", "NumelIn": "4", "NumelOut": "4", "group": "tp"}


def test_an_impossible_day_is_no_time() -> None:
    """The line counts, its time does not."""
    event = the_event(FORMAT, "[rank3]:[E0231 19:40:41.426415 ProcessGroupNCCL.cpp:583] [Rank 3] we are taking the entire process down.")
    assert event.event_time is None


@pytest.mark.parametrize("text", ["I like NCCL", "An ordinary sentence."])
def test_prose_is_not_taken(text: str) -> None:
    """A word is not a line."""
    with pytest.raises(UnknownFormat):
        FORMAT.parse(Line(payload=text.encode()), READING)
