"""torchrun and tracebacks: failed ranks, the launcher's own hand, and typed lines."""

import contextlib
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DecodeError, RejectedRecord, UnknownFormat
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads.torchrun import FORMAT, signal_of
from pipeline.formats.ranks import Labelled, unlabelled
from pipeline.model.events import AnyBody, Parsed, RankFailed, RanksClosed, TrainingLine
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
RAY = "A worker died or was killed while executing a task by an unexpected system error. To troubleshoot, check the logs."
WORKER = "Worker ID: 12a6 Node ID: 0b6a Worker IP address: 10.0.1.3 Worker port: 45555 Worker PID: 4711 Worker exit type: SYSTEM_ERROR"
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
    (f"(raylet) {RAY} {WORKER}", RankFailed(pid=4711, host="10.0.1.3", text=f"{RAY} {WORKER}")),
    (f"2026-03-02 19:40:41,177\tWARNING worker.py:2074 -- {RAY}",
     TrainingLine(what="error", text=f"2026-03-02 19:40:41,177\tWARNING worker.py:2074 -- {RAY}")),
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


KINDS = [
    ("Traceback (most recent call last):", "traceback"),
    ('  File "/usr/lib/python3/torch/distributed/run.py", line 798, in <module>', "traceback"),
    ('super().__init__(open(name, mode))  File "/a.py", line 254, in __init__', "traceback"),
    ("    return f(*args, **kwargs)", "traceback"),
    ("    self.model.step()", "traceback"),
    ("3:     self.model.step()", "traceback"),
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


REFUSED = [
    ("  time      : 2026-02-31_19:40:41", DecodeError),
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


TEXTS = [text for text, _ in FAILURES] + [text for text, _ in KINDS]


@given(st.sampled_from(TEXTS), st.integers(0, 200), st.binary(max_size=60))
def test_any_text(start: str, cut: int, rest: bytes) -> None:
    """Nothing but a RejectedRecord is raised."""
    with contextlib.suppress(RejectedRecord):
        FORMAT.parse(Line(payload=start[:cut].encode() + rest), READING)


PIECES = ["a", "Aa", "A", " ", ".a", 'File "', "Sending process ", "failed (exitcode: -9", "WorkNCCL(", "0: ", "[rank1]: ", "Rank 3", "="]


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("start", ["", "    x", "Error ", "a:1:1 [0] "])
def test_hostile_megabyte(start: str, piece: str) -> None:
    """A megabyte made to send a pattern astray is read in linear time."""
    payload = (start + piece * (1_000_000 // len(piece))).encode()
    FORMAT.claims(payload)
    with contextlib.suppress(RejectedRecord):
        FORMAT.parse(Line(payload=payload), READING)
