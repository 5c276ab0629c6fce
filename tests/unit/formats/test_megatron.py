"""Megatron-LM: iterations by name, checkpoints, the launcher's cascade, and lines typed by their shape."""

import contextlib
import math
import re
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DecodeError, RejectedRecord, UnknownFormat
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads import megatron
from pipeline.formats.payloads.megatron import FORMAT
from pipeline.model.events import AnyBody, CheckpointNote, Iteration, Parsed, RankFailed, RanksClosed, TrainingLine
from pipeline.model.source import Source

AT = 1_772_451_641_318  # 2026-03-02T19:40:41.318 in Shanghai
READING = Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=AT)


def all_of(text: str) -> list[Parsed]:
    """The events of a line that the format claims."""
    payload = text.encode()
    assert FORMAT.claims(payload)
    events = list(FORMAT.parse(Line(payload=payload), READING))
    assert all(event.source is Source.TRAINING for event in events)
    return events


def parsed(text: str) -> Parsed:
    """The one event."""
    (event,) = all_of(text)
    return event


FULL = (
    " iteration       40/    1000 | consumed samples:          160 | elapsed time per iteration (ms): 1625.2 | learning rate: 1.499E-04 |"
    " global batch size:     4 | lm loss: 1.377455E+01 | loss scale: 16384.0 | grad norm: 81.041 | params norm: 7.5 |"
    " number of skipped iterations:   0 | number of nan iterations:   2 |"
)
WHOLE = Iteration(
    iteration=40, iterations_total=1000, consumed_samples=160, elapsed_ms=1625.2, learning_rate=1.499e-4, global_batch_size=4,
    loss=13.77455, loss_scale=16384.0, grad_norm=81.041, params_norm=7.5, skipped=0, nan=2,
)  # fmt: skip
ITERATIONS = [
    ("all fields", FULL, WHOLE, None),
    ("a rank's label", "0: " + FULL, WHOLE, None),
    ("a clock in front", " [2026-03-02 19:40:41.318]" + FULL, WHOLE, AT),
    ("a clock without fraction", "[2026-03-02 19:40:41]" + FULL + "\r", WHOLE, AT - 318),
    ("all skipped", " iteration 10/ 1000 | learning rate: 0.000E+00 | number of skipped iterations: 10 |",
     Iteration(iteration=10, iterations_total=1000, learning_rate=0.0, skipped=10), None),
    ("the old name", " iteration 10/ 1000 | lm-loss: 2.5 |", Iteration(iteration=10, iterations_total=1000, loss=2.5), None),
    ("broken values", " iteration 10/ 1000 | lm loss: x | consumed samples: 1.5 | loss scale: 1_0 |",
     Iteration(iteration=10, iterations_total=1000), None),
    ("a diverged scale", " iteration 10/ 1000 | loss scale: inf |",
     Iteration(iteration=10, iterations_total=1000, loss_scale=math.inf), None),
    ("no fields", " iteration 10/ 1000", Iteration(iteration=10, iterations_total=1000), None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "expected", "time"), ITERATIONS)
def test_iterations(name: str, text: str, expected: Iteration, time: int | None) -> None:
    """Fields are read by name, whatever their set; the time is there only where the line says it."""
    event = parsed(text)
    assert event.body == expected
    assert event.event_time == time


@given(st.integers(0, len(FULL)), st.sampled_from(["", " ", "-", ".", "e", "7", "|", ":", "\r", "1E-4", "nan"]), st.integers(0, 2))
def test_the_usual_line_reads_as_field_by_field(at: int, inserted: str, cut: int) -> None:
    """The whole line is read quicker, not otherwise, wherever it is damaged."""

    def read(text: str) -> Parsed | type[RejectedRecord]:
        try:
            (event,) = FORMAT.parse(Line(payload=text.encode()), READING)
        except RejectedRecord as error:
            return type(error)
        return event

    changed = FULL[:at] + inserted + FULL[at + cut :]
    quick = read(changed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(megatron, "_USUAL", re.compile("none"))
        assert repr(read(changed)) == repr(quick)  # NaN equals nothing


def test_a_diverged_loss() -> None:
    """NaN is a value."""
    body = parsed(" iteration 10/ 1000 | lm loss: nan |").body
    assert isinstance(body, Iteration)
    assert body.loss is not None
    assert math.isnan(body.loss)


def test_fields_that_have_no_name_here() -> None:
    """Unknown fields pass through."""
    assert parsed(" iteration 10/ 1000 | num zeros: 12.0 | lm loss: 2.5 |").unmapped == {"num zeros": "12.0"}


CHECKPOINTS = [
    ("saving checkpoint at iteration   33241 to /ckpt/run7", CheckpointNote(action="saving", path="/ckpt/run7", iteration=33241)),
    ("  successfully saved checkpoint at iteration   33241 to /ckpt/run7",
     CheckpointNote(action="saved", path="/ckpt/run7", iteration=33241)),
    ("0:   successfully saved checkpoint from iteration   33241 to /ckpt/run7 [ t 1/8, p 1/4 ]\r",
     CheckpointNote(action="saved", path="/ckpt/run7", iteration=33241)),
    ("saving checkpoint at iteration 33241 to /ckpt/run7 in torch_dist format",
     CheckpointNote(action="saving", path="/ckpt/run7", iteration=33241)),
    (" loading checkpoint from /ckpt/run7 at iteration 33241", CheckpointNote(action="loading", path="/ckpt/run7", iteration=33241)),
    ("  successfully loaded checkpoint from /ckpt/run7 [ t 0/8, p 0/4 ] at iteration 33241",
     CheckpointNote(action="loaded", path="/ckpt/run7", iteration=33241)),
    ("loading release checkpoint from /ckpt/run7", CheckpointNote(action="loading", path="/ckpt/run7")),
    ("loading checkpoint from /a at iteration 5/b at iteration 7",
     CheckpointNote(action="loading", path="/a at iteration 5/b", iteration=7)),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CHECKPOINTS)
def test_checkpoints(text: str, expected: CheckpointNote) -> None:
    """Action, folder and iteration, with the parts of the model that newer versions add taken off."""
    assert parsed(text).body == expected


CASCADE: list[tuple[str, list[AnyBody]]] = [
    ("Killing subprocess 4711", [RanksClosed(pid=4711)]),
    ("Killing subprocess 4711Killing subprocess 4712", [RanksClosed(pid=4711), RanksClosed(pid=4712)]),
    ("[2026-03-02 19:40:41,318] [INFO] [launch.py:319:sigkill_handler] Killing subprocess 4711", [RanksClosed(pid=4711)]),
    ("Main process received SIGTERM, exiting", [TrainingLine(what="launcher", text="Main process received SIGTERM, exiting")]),
    ("[2026-03-02 19:40:41,318] [ERROR] [launch.py:325:sigkill_handler] ['python'] exits with return code = -9",
     [RankFailed(exit_code=-9, signal=9, text="['python'] exits with return code = -9")]),
    ("[2026-03-02 19:40:41,318] [INFO] [logging.py:60:log_dist] [Rank 0] step=100, skipped=3",
     [TrainingLine(what="deepspeed", text="[INFO] [logging.py:60:log_dist] [Rank 0] step=100, skipped=3")]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CASCADE)
def test_cascade(text: str, expected: list[AnyBody]) -> None:
    """What the launcher does after a cancel or failure is its own hand, also where ranks share a line."""
    events = all_of(text)
    assert [event.body for event in events] == expected
    assert {event.event_time for event in events} == {AT if text.startswith("[2026") else None}


KINDS = [
    (" validation loss at iteration 100 | lm loss value: 7.5E+00 | lm loss PPL: 1.8E+03 | ", "validation", 7.5, None),
    (" time (ms) | forward-compute: 10.5 | backward-compute: 20.5", "timing", None, None),
    ("time to initialize megatron (seconds): -19.9", "timing", -19.9, None),
    ("[Rank 17] (after 10 iterations) memory (MB) | allocated: 100.5 | max allocated: 200.5", "memory", None, 17),
    ("    will not load any checkpoints and will start from random", "checkpoint_missing", None, None),
    ("WARNING: something", "warning", None, None),
    (" > building train, validation, and test datasets ...", "startup", None, None),
    (">>> done with compiling and loading fused kernels. Compilation time: 1.5 seconds", "startup", None, None),
    ("using world size: 32, data-parallel-size: 1", "startup", None, None),
    ("    train:      4000", "dataset", None, None),
    ("    loaded indexed file in 0.005 seconds", "dataset", None, None),
    ("ninja: no work to do.", "build", None, None),
    ("  adam_beta1 ...................................... 0.9", "config", None, None),
    ("------------------------ arguments ------------------------", "config", None, None),
    ("    --lr 0.00015     --lr-decay-style cosine", "config", None, None),
    ("| N/A   40C    P0    40W / 300W |      0MiB |", "device_table", None, None),
    ("+-------------------------------+", "device_table", None, None),
    ("+ echo hello", "shell_trace", None, None),
    ("++++ export PATH", "shell_trace", None, None),
    ("    if [ -n \"${X}\" ]; then", "shell_trace", None, None),
    ("LD_LIBRARY_PATH=/usr/lib;' export 'LD_LIBRARY_PATH;", "shell_trace", None, None),
    ("-" * 40, "rule", None, None),
    ("Your compiler (c++) is not compatible with the compiler Pytorch was", "warning", None, None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "what", "value", "rank"), KINDS)
def test_kinds(text: str, what: str, value: float | None, rank: int | None) -> None:
    """Other lines are typed by their shape, with the one number that matters."""
    for end in ("", "\r"):
        body = parsed(text + end).body
        assert isinstance(body, TrainingLine)
        assert (body.what, body.value, body.rank) == (what, value, rank)


def test_the_clock_of_the_start() -> None:
    """The only clock of old versions stands in a few lines of the start-up, local."""
    for between in (" ", "T"):
        assert parsed(f"[before the start of training step] datetime: 2026-03-02{between}19:40:41 ").event_time == AT - 318


REFUSED = [
    (" iteration 10 | lm loss: 2.5", DecodeError),
    (" iteration 10/ x | lm loss: 2.5", DecodeError),
    (" [2026-02-31 19:40:41] iteration 10/ 1000 |", DecodeError),
    ("iteration speed is fine", UnknownFormat),
    ("    return f(*args, **kwargs)", UnknownFormat),
    ("export the model and return it", UnknownFormat),
    ("local rank 3 is ready", UnknownFormat),
    ("loss=2.3 step=100", UnknownFormat),
    ("hello", UnknownFormat),
    ("", UnknownFormat),
]


@pytest.mark.parametrize(("text", "error"), REFUSED)
def test_refused(text: str, error: type[RejectedRecord]) -> None:
    """A broken iteration is broken; other text, and a traceback's source line, is unknown."""
    with pytest.raises(error):
        FORMAT.parse(Line(payload=text.encode()), READING)


TEXTS = [row[1] for row in ITERATIONS] + [text for text, _ in CHECKPOINTS] + [text for text, _ in CASCADE] + [row[0] for row in KINDS]


@given(st.sampled_from(TEXTS), st.integers(0, 400), st.binary(max_size=60))
def test_any_text(start: str, cut: int, rest: bytes) -> None:
    """Nothing but a RejectedRecord is raised."""
    with contextlib.suppress(RejectedRecord):
        FORMAT.parse(Line(payload=start[:cut].encode() + rest), READING)


PIECES = ["a", " ", "|", ": ", " at iteration ", "Killing subprocess ", "+", "-", "[ t 0/8", " in format", "a_", "."]


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("start", ["", " iteration 1/ 2 |", "loading checkpoint from ", "    a", "| a", "validation loss at "])
def test_hostile_megabyte(start: str, piece: str) -> None:
    """A megabyte made to send a pattern astray is read in linear time."""
    payload = (start + piece * (1_000_000 // len(piece))).encode()
    FORMAT.claims(payload)
    with contextlib.suppress(RejectedRecord):
        FORMAT.parse(Line(payload=payload), READING)
