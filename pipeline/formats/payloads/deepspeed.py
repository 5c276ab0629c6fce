"""A line of DeepSpeed's engine or launcher in; an iteration, a checkpoint note, a failed rank or a typed line out.

    [2026-03-02 19:40:41,765] [INFO] [logging.py:60:log_dist] [Rank 0] step=100, skipped=3, lr=[0.0001, 0.0001], mom=[(0.9, 0.95)]
    [2026-03-02 19:40:41,766] [INFO] [timer.py:260:stop] epoch=0/micro_step=400/global_step=100, RunningAvgSamplesPerSec=25.02, ..
    [2026-03-02 19:40:41,935] [INFO] [loss_scaler.py:183:update_scale] [deepspeed] OVERFLOW! Rank 0 Skipping step. Attempted loss scale: ..
    [2026-03-02 19:41:02,100] [ERROR] [launch.py:321:sigkill_handler] ['python', 'train.py'] exits with return code = -9

Times are local.  A step line has no loss; its `skipped` counts from the start of the run, while Megatron's counts since its last line,
and so stands in `unmapped`.  A progress bar may stand in front on the same line, since it has no line end.
`Did not save the model` because weights are not gathered is an ordinary end.  The launcher's `Killing subprocess` is left to the
format of the launcher, which reads several of them on one line.

Sources: github.com/deepspeedai/DeepSpeed deepspeed/utils/logging.py, utils/timer.py, runtime/engine.py, launcher/launch.py,
runtime/fp16/loss_scaler.py, runtime/checkpoint_engine/torch_checkpoint_engine.py.
Holds: linear time; other text is UnknownFormat.
"""

import re
from collections.abc import Sequence

from pipeline.errors import UnknownFormat
from pipeline.formats.choosing import TEXT
from pipeline.formats.fields import iso_time
from pipeline.formats.line import Line, Reading
from pipeline.formats.ranks import unlabelled
from pipeline.formats.syslog import TEXT_CHARACTERS_MAX, text_of
from pipeline.model.events import AnyBody, CheckpointNote, Iteration, Parsed, Progress, RankFailed, TrainingLine
from pipeline.model.source import Source

SIGNAL_MAX = 64
_PREFIX = re.compile(
    r"\[(20[0-9]{2}-[0-9]{2}-[0-9]{2}) ([0-9]{2}:[0-9]{2}:[0-9]{2}[.,][0-9]{3})\] \[([A-Z]{1,10})\] "
    r"\[([A-Za-z0-9_.]{1,80}):[0-9]{1,6}:([A-Za-z0-9_<>]{1,80})\] ?(?:\[Rank (-?[0-9]{1,7})\] ?)?"
)
_NUMBER = r"(-?[0-9]{1,20}(?:\.[0-9]{1,30})?(?:[eE][-+]?[0-9]{1,4})?|nan|-?inf)"
_STEP = re.compile(rf"step=([0-9]{{1,15}}), skipped=([0-9]{{1,15}}), lr=\[(?:{_NUMBER})?")
_THROUGHPUT = re.compile(
    rf"(?:epoch=([0-9]{{1,9}})/micro_step=[0-9]{{1,15}}/global_step=|[0-9]{{1,9}}/)([0-9]{{1,15}}), "
    rf"(?:RunningAvg)?SamplesPerSec={_NUMBER}(?:, CurrSamplesPerSec={_NUMBER})?"
)
_OVERFLOW = re.compile(rf"OVERFLOW! Rank (-?[0-9]{{1,7}}) Skipping step\.(?:.{{0,80}}? reducing to {_NUMBER})?")
_CHECKPOINT = re.compile(
    r"(?:\[[A-Za-z]{1,20}\] )?(?:Checkpoint (\S{1,1000}) is (about to be saved|ready now)!"
    r"|(Saving model checkpoint: |Saving |Saved |Loading checkpoint from |Loaded checkpoint from )(\S.*))"
)
_STEP_OF_TAG = re.compile(r"global_step([0-9]{1,15})")
_RETURNED = re.compile(r"exits with return code = (-?[0-9]{1,5})\s*$")
_ACTIONS = {
    "about to be saved": "saving",
    "ready now": "saved",
    "Saving model checkpoint: ": "saving",
    "Saving ": "saving",
    "Saved ": "saved",
    "Loading checkpoint from ": "loading",
    "Loaded checkpoint from ": "loaded",
}
_LEFT = ("Killing subprocess ", "Main process received ")


# What it prints past its logger.
_BARE = (
    b"Adam Optimizer #",
    b"Config: alpha=",
    b"Initializing ZeRO Stage ",
    b"Checking ZeRO support for ",
    b"nn.functional.linear has been over",
)


class DeepSpeed:
    """DeepSpeed's logger: `[time] [LEVEL] [file:line:function] text`."""

    name = "deepspeed"
    source = Source.TRAINING
    begins = (b"] [INFO] ", b"] [WARNING] ")
    first_bytes = TEXT

    def claims(self, payload: bytes) -> bool:
        """Three brackets after one another, or what it prints past its logger."""
        first = payload.find(b"] [", 20)
        return (first > 0 and payload.find(b"] [", first + 3) > 0) or payload.startswith(_BARE)

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """The event of the line.  Raises UnknownFormat for other text."""
        text, rank, _ = unlabelled(text_of(line.payload))
        if line.payload.startswith(_BARE):
            bare = TrainingLine(what="config", text=text.rstrip()[:TEXT_CHARACTERS_MAX])
            return (Parsed(source=Source.TRAINING, body=bare),)
        prefix = _PREFIX.match(text)
        if prefix is None and "] [deepspeed] " in text:
            prefix = _PREFIX.search(text)  # after a progress bar
        if prefix is None or any(words in text for words in _LEFT):
            raise UnknownFormat("no line of DeepSpeed")
        if rank is None and prefix[6] is not None and prefix[6][0] != "-":
            rank = int(prefix[6])
        rest = {"logger": f"{prefix[4]}:{prefix[5]}"}
        said = text[prefix.end() :].rstrip()
        body = _step(said, rest) or _throughput(said, rank, rest) or _overflow(said, rank) or _checkpoint(said, prefix[5])
        body = body or _returned(said, rank)
        if body is None:
            level = prefix[3]
            rest["level"] = level
            what = "memory" if prefix[5] == "see_memory_usage" else "config" if prefix[4] == "config.py" else "deepspeed"
            body = TrainingLine(what=what, text=said[:TEXT_CHARACTERS_MAX], rank=rank)
        time = iso_time(f"{prefix[1]}T{prefix[2]}", reading)
        return (Parsed(source=Source.TRAINING, body=body, event_time=time, unmapped=rest),)


def _step(said: str, rest: dict[str, str]) -> AnyBody | None:
    found = _STEP.match(said)
    if found is None:
        return None
    rest["skipped_total"] = found[2]
    return Iteration(iteration=int(found[1]), learning_rate=float(found[3]) if found[3] else None)


def _throughput(said: str, rank: int | None, rest: dict[str, str]) -> AnyBody | None:
    found = _THROUGHPUT.match(said)
    if found is None:
        return None
    rest["samples_per_second"] = found[4] or found[3]
    return Progress(what="throughput", step=int(found[2]), epoch=float(found[1]) if found[1] else None, rank=rank)


def _overflow(said: str, rank: int | None) -> AnyBody | None:
    """A step that was skipped since half precision did not hold its gradients; the value is the new loss scale."""
    found = _OVERFLOW.search(said[:400])
    if found is None:
        return None
    rank = rank if found[1].startswith("-") else int(found[1])
    return TrainingLine(what="overflow", text=said[:TEXT_CHARACTERS_MAX], rank=rank, value=float(found[2]) if found[2] else None)


def _checkpoint(said: str, function: str) -> AnyBody | None:
    found = _CHECKPOINT.match(said)
    if found is None or (found[3] in {"Saving ", "Saved "} and "." not in found[4]):
        return None
    path = found[1] or found[4].removesuffix("...").removesuffix(".") or ""
    tag = _STEP_OF_TAG.search(path[-300:])
    action = _ACTIONS[found[2] or found[3]]
    if function.startswith("load") and action == "saving":
        return None
    return CheckpointNote(action=action, path=path[:TEXT_CHARACTERS_MAX], iteration=int(tag[1]) if tag else None)


def _returned(said: str, rank: int | None) -> AnyBody | None:
    found = _RETURNED.search(said[-200:])
    if found is None:
        return None
    code = int(found[1])
    signal = -code if -SIGNAL_MAX <= code < 0 else None
    return RankFailed(rank=rank, exit_code=code, signal=signal, text=said[:TEXT_CHARACTERS_MAX])


FORMAT = DeepSpeed()
