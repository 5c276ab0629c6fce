"""torchrun, NCCL, tracebacks and MLLOG: failed ranks, the launcher's own hand, and typed lines."""

import contextlib
import math
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DecodeError, RejectedRecord, SchemaMismatch, UnknownFormat
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads.torchrun import FORMAT, signal_of
from pipeline.formats.ranks import Labelled, unlabelled
from pipeline.model.events import AnyBody, CollectiveTimeout, Parsed, RankFailed, RanksClosed, TrainingLine
from pipeline.model.source import Source

AT = 1_772_451_641_000  # 2026-03-02T19:40:41 in Shanghai
READING = Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=AT + 5_000)


def parsed(text: str) -> Parsed:
    """The one event of a line that the format claims."""
    payload = text.encode()
    assert FORMAT.claims(payload)
    (event,) = FORMAT.parse(Line(payload=payload), READING)
    assert event.source is Source.TRAINING
    return event


LABELS = [
    ("text", Labelled("text", None, None)),
    ("0: text", Labelled("text", 0, None)),
    (" 12: text", Labelled("text", 12, None)),
    ("[rank3]: text", Labelled("text", 3, None)),
    ("[rank3]:[E1218", Labelled("[E1218", 3, None)),
    ("3: [rank7]: text", Labelled("text", 7, None)),
    ("[default3]:text", Labelled("text", None, 3)),
    ("1: [default3]: text", Labelled("text", 1, 3)),
    ("1: 2: 3: text", Labelled("3: text", 2, None)),
    ("0:", Labelled("", 0, None)),
    ("19:40:41 text", Labelled("19:40:41 text", None, None)),
    ("[rank]: text", Labelled("[rank]: text", None, None)),
]


@pytest.mark.parametrize(("text", "expected"), LABELS)
def test_labels(text: str, expected: Labelled) -> None:
    """At most two labels are taken off; torchrun's own label names the local rank, not the rank."""
    assert unlabelled(text) == expected


API = "torch.distributed.elastic.multiprocessing.api"
GLOG = "0302 19:40:41.360000 139692391809664 torch/distributed/elastic/multiprocessing/api.py:906]"
FAILURES = [
    (f"WARNING:{API}:Sending process 143 closing signal SIGTERM", RanksClosed(pid=143, signal=15)),
    (f"W{GLOG} Sending process 227 closing signal SIGINT", RanksClosed(pid=227, signal=2)),
    (f"WARNING:{API}:Sending process 143 closing signal 15", RanksClosed(pid=143, signal=15)),
    (f"WARNING:{API}:Unable to shutdown process 227 via Signals.SIGTERM, forcefully exiting via Signals.SIGKILL",
     RanksClosed(pid=227, signal=9)),
    (f"WARNING:{API}:Unable to shutdown process 227 via 15, forcefully exitting via 9", RanksClosed(pid=227, signal=9)),
    (f"ERROR:{API}:failed (exitcode: -9) local_rank: 0 (pid: 222) of binary: /usr/bin/python\r",
     RankFailed(local_rank=0, pid=222, exit_code=-9, signal=9,
                text="failed (exitcode: -9) local_rank: 0 (pid: 222) of binary: /usr/bin/python")),
    ("3: failed (exitcode: 1) local_rank: 4 (pid: 169) of binary: ./run.sh",
     RankFailed(rank=3, local_rank=4, pid=169, exit_code=1, text="failed (exitcode: 1) local_rank: 4 (pid: 169) of binary: ./run.sh")),
    ("  exitcode  : -9 (pid: 223)", RankFailed(pid=223, exit_code=-9, signal=9, text="-9 (pid: 223)")),
    ("0:   exitcode  : 137 (pid: 223)", RankFailed(rank=0, pid=223, exit_code=137, signal=9, text="137 (pid: 223)")),
    ("./run.sh: line 12:  4711 Killed                  python train.py",
     RankFailed(pid=4711, signal=9, text="./run.sh: line 12:  4711 Killed                  python train.py")),
    ("run.sh: line 3: 4711 Segmentation fault      (core dumped) python",
     RankFailed(pid=4711, signal=11, text="run.sh: line 3: 4711 Segmentation fault      (core dumped) python")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), FAILURES)
def test_failures(text: str, expected: AnyBody) -> None:
    """A failed rank with its signal, and the ranks that the launcher ends itself."""
    assert parsed(text).body == expected


SIGNALS = [(-9, 9), (-15, 15), (-64, 64), (-65, None), (0, None), (1, None), (128, None), (137, 9), (143, 15), (192, 64), (193, None)]


@pytest.mark.parametrize(("exit_code", "signal"), SIGNALS)
def test_signal_of(exit_code: int, signal: int | None) -> None:
    """Negative codes are the launcher's, 128 and more a shell's; 255 is no signal."""
    assert signal_of(exit_code) == signal


BLOCK = [
    ("./run.sh FAILED", "./run.sh FAILED", None),
    ("Failures:", "Failures:", None),
    ("  <NO_OTHER_FAILURES>", "  <NO_OTHER_FAILURES>", None),
    ("Root Cause (first observed failure):", "Root Cause (first observed failure):", None),
    ("[0]:", "[0]:", None),
    ("=" * 60, "=" * 60, None),
    ("  host      : gpu-001.cluster", "host: gpu-001.cluster", None),
    ("  rank      : 9 (local_rank: 1)", "rank: 9 (local_rank: 1)", 9),
    ("  error_file: <N/A>", "error_file: <N/A>", None),
    ("  traceback : Signal 9 (SIGKILL) received by PID 223", "traceback: Signal 9 (SIGKILL) received by PID 223", None),
]


@pytest.mark.parametrize(("text", "shown", "rank"), BLOCK)
def test_failure_block(text: str, shown: str, rank: int | None) -> None:
    """The lines of the block at the end are typed, each alone."""
    assert parsed(text).body == TrainingLine(what="failure_block", text=shown, rank=rank)


def test_time_of_the_failure_block() -> None:
    """Its time is local, with an underscore."""
    event = parsed("  time      : 2026-03-02_19:40:41")
    assert event.event_time == AT
    assert event.body == TrainingLine(what="failure_block", text="time: 2026-03-02_19:40:41")


WORK = "WorkNCCL(SeqNum=64, OpType=ALLREDUCE, NumelIn=4, NumelOut=4, Timeout(ms)=600000) ran for 600081 milliseconds before timing out."
TIMEOUT = CollectiveTimeout(rank=3, operation="ALLREDUCE", timeout_ms=600_000, ran_ms=600_081)
CAUGHT = f"Watchdog caught collective operation timeout: {WORK}"
OLDEST = "WorkNCCL(OpType=BROADCAST, TensorShape=[1], Timeout(ms)=1800000) ran for 1800499 milliseconds before timing out."
PREFIX = "[E0302 19:40:41.426415540 ProcessGroupNCCL.cpp:629]"
TIMEOUTS = [
    (f"[E ProcessGroupNCCL.cpp:828] [Rank 3] {CAUGHT}", TIMEOUT, None),
    (f"[rank5]:{PREFIX} [Rank 3] {CAUGHT}", TIMEOUT, AT + 426),
    (f"[rank3]:{PREFIX} [PG ID 0 PG GUID 0(default_pg) Rank 3] {CAUGHT}", TIMEOUT, AT + 426),
    (f"7: Caught collective operation timeout: {OLDEST}",
     CollectiveTimeout(rank=7, operation="BROADCAST", timeout_ms=1_800_000, ran_ms=1_800_499), None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected", "time"), TIMEOUTS)
def test_collective_timeouts(text: str, expected: CollectiveTimeout, time: int | None) -> None:
    """All generations of the watchdog's line give operation, timeout and run time."""
    event = parsed(text)
    assert event.body == expected
    assert event.event_time == time


KINDS = [
    ("gpu-001:4711:4800 [0] proxy.cc:100 NCCL WARN [Service thread] Could not receive type from localRank 3", "nccl"),
    ("gpu-001:4711:4800 [0] NCCL INFO Connected all rings", "nccl"),
    ("[rank3]:[E0302 19:40:41.4 ProcessGroupNCCL.cpp:629] To avoid data inconsistency, we are taking the entire process down.", "nccl"),
    ("Traceback (most recent call last):", "traceback"),
    ('  File "/usr/lib/python3/torch/distributed/run.py", line 798, in <module>', "traceback"),
    ('super().__init__(open(name, mode))  File "/a.py", line 254, in __init__', "traceback"),
    ("    return f(*args, **kwargs)", "traceback"),
    ("    self.model.step()", "traceback"),
    ("    elastic_launch(", "traceback"),
    ("RuntimeError: CUDA error: an illegal memory access", "error"),
    ("torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ", "error"),
    ("FileNotFoundErrorsuper().__init__(open(name, mode)): : [Errno 2] No such file", "error"),
    ("KeyboardInterrupt", "error"),
    ("/x/torch/cuda/a.py:12: UserWarning: text", "warning"),
    ("  warnings.warn(msg, DeprecatedFeatureWarning)", "warning"),
    ("INFO:torch.distributed.elastic.agent.server.api:[default] Rendezvous complete for workers", "agent"),
    ("INFO:torch.distributed.elastic.rendezvous.dynamic:The node joined the rendezvous", "rendezvous"),
    (f"I{GLOG} Received 15 death signal, shutting down workers", "agent"),
    ("W0302 19:40:41.360000 4711 site/run.py:12] text", "log"),
    ("INFO:root:text", "log"),
    ("Setting OMP_NUM_THREADS environment variable for each process to be 1 in default", "launcher"),
    ("*" * 41, "launcher"),
    ("3: STARTING TIMING RUN AT 2026-03-02 07:40:41 PM", "timing_run"),
]


@pytest.mark.parametrize(("text", "what"), KINDS)
def test_kinds(text: str, what: str) -> None:
    """Lines of no consequence of their own are typed by what they are."""
    body = parsed(text).body
    assert isinstance(body, TrainingLine)
    assert body.what == what


def test_nccl_names_host_and_pid() -> None:
    """Where the line says them they are kept: as what the job says, not as where it ran."""
    event = parsed("0: gpu-001:4711:4800 [0] proxy.cc:100 NCCL WARN text")
    assert (event.unmapped, event.host) == ({"host": "gpu-001", "pid": "4711"}, "")


def test_local_rank() -> None:
    """torchrun's label is kept as the local rank."""
    assert parsed("[default3]:RuntimeError: text").unmapped == {"local_rank": "3"}


CLOCKS = [("07:40:41 PM", AT), ("12:00:00 AM", AT - 70_841_000), ("12:00:00 PM", AT - 27_641_000)]


@pytest.mark.parametrize(("clock", "expected"), CLOCKS)
def test_timing_run(clock: str, expected: int) -> None:
    """MLPerf's script writes local time of twelve hours."""
    assert parsed(f"3: STARTING TIMING RUN AT 2026-03-02 {clock}").event_time == expected


def test_glog_time() -> None:
    """A glog line has neither year nor zone."""
    assert parsed(f"W{GLOG} Sending process 227 closing signal SIGTERM").event_time == AT + 360


MLLOG = ':::MLLOG {{"namespace": "", "time_ms": 1772451641360, "event_type": "POINT_IN_TIME", "key": "train_loss", "value": {}}}'
VALUES = [
    ("1.25", 1.25, None),
    ("3", 3.0, None),
    ("null", None, None),
    ("true", None, "True"),
    ('"h100"', None, "h100"),
    ("1e400", None, "inf"),
]


@pytest.mark.parametrize(("value", "expected", "text"), VALUES)
def test_mllog(value: str, expected: float | None, text: str | None) -> None:
    """The record's own milliseconds are the time; a value that is no number is kept as text."""
    event = parsed("1: " + MLLOG.format(value))
    assert event.event_time == AT + 360
    assert event.body == TrainingLine(what="mllog", text="train_loss", rank=1, value=expected)
    assert event.unmapped == {"event_type": "POINT_IN_TIME", **({"value": text} if text is not None else {})}


def test_mllog_of_a_diverged_loss() -> None:
    """NaN, which is no JSON, is what a diverged run writes."""
    body = parsed(MLLOG.format("NaN")).body
    assert isinstance(body, TrainingLine)
    assert body.value is None or math.isnan(body.value)


EVENT = (
    '{{"name": "torchelastic.worker.status.{}", "source": "AGENT", "timestamp": {},'
    ' "metadata": {{"global_rank": {}, "hostname": "gpu-001", "raw_error": {}}}}}'
)
ELASTIC = [
    (EVENT.format("FAILED", AT, 3, '"boom"'), RankFailed(rank=3, host="gpu-001", text="boom"), AT),
    (EVENT.format("FAILED", 0, "null", "null"), RankFailed(host="gpu-001"), None),
    (EVENT.format("SUCCEEDED", AT, 3, "null"), TrainingLine(what="agent", text="torchelastic.worker.status.SUCCEEDED", rank=3), AT),
]


@pytest.mark.parametrize(("text", "expected", "time"), ELASTIC)
def test_event_log_of_the_agent(text: str, expected: AnyBody, time: int | None) -> None:
    """A failed worker is a failed rank; a timestamp of 0 is no time."""
    event = parsed(text)
    assert (event.body, event.event_time) == (expected, time)


REFUSED = [
    (':::MLLOG {"time_ms": 1', DecodeError),
    (':::MLLOG {"time_ms": "1772451641360", "key": "x"}', SchemaMismatch),
    (':::MLLOG {"time_ms": true, "key": "x"}', SchemaMismatch),
    (':::MLLOG {"a": ' * 20_000, DecodeError),
    ("  time      : 2026-02-31_19:40:41", DecodeError),
    ('{"name": "torchelastic.x"}', SchemaMismatch),
    ('{"name": "torchelastic.x"', DecodeError),
    ("loss 1.25", UnknownFormat),
    ("An Error in passing", UnknownFormat),
    ("Failures of ours", UnknownFormat),
    ("  exitcode  : none", UnknownFormat),
    ("ls: line 12: hello", UnknownFormat),
]


@pytest.mark.parametrize(("text", "error"), REFUSED, ids=lambda value: value[:40] if isinstance(value, str) else "")
def test_refused(text: str, error: type[RejectedRecord]) -> None:
    """Broken records of ours are broken; other text is unknown."""
    with pytest.raises(error):
        FORMAT.parse(Line(payload=text.encode()), READING)


def test_an_empty_line_of_a_rank() -> None:
    """A label without text is known and of no interest."""
    assert FORMAT.claims(b"0: ")
    assert FORMAT.parse(Line(payload=b"0: \r"), READING) == ()


TEXTS = [text for text, _ in FAILURES] + [text for text, *_ in TIMEOUTS] + [text for text, _ in KINDS] + [MLLOG.format("1")]


@given(st.sampled_from(TEXTS), st.integers(0, 200), st.binary(max_size=60))
def test_any_text(start: str, cut: int, rest: bytes) -> None:
    """Nothing but a RejectedRecord is raised."""
    with contextlib.suppress(RejectedRecord):
        FORMAT.parse(Line(payload=start[:cut].encode() + rest), READING)


PIECES = ["a", "Aa", "A", " ", ".a", 'File "', "Sending process ", "failed (exitcode: -9", "WorkNCCL(", "0: ", "[rank1]: ", "Rank 3", "="]


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("start", ["", "    x", "aught collective operation timeout: WorkNCCL(", "Error ", ":::MLLOG {", "a:1:1 [0] "])
def test_hostile_megabyte(start: str, piece: str) -> None:
    """A megabyte made to send a pattern astray is read in linear time."""
    payload = (start + piece * (1_000_000 // len(piece))).encode()
    FORMAT.claims(payload)
    with contextlib.suppress(RejectedRecord):
        FORMAT.parse(Line(payload=payload), READING)
