"""A line of a Lightning or NeMo job in; an iteration, progress, a checkpoint note or a typed line out.

    Epoch 0: :  12%|#2        | 40/333 [00:51<06:17,  0.78it/s, v_num=a1, reduced_train_loss=6.93, global_step=39.00]
    Training epoch 0, iteration 5/99 | lr: 1.2e-05 | global_batch_size: 512 | global_step: 5 | reduced_train_loss: 11.03 | ..
    [NeMo I 2026-03-02 19:40:41 nemo_logging:393] Successfully saved checkpoint from iteration     500 to /ckpt/run7
    Epoch 0, global step 40: 'val_loss' reached 2.10 (best 2.10), saving model to '/ckpt/run7/last.ckpt' as top 1

A bar counts within its epoch; its `global_step` numbers the run but is rounded to three digits above 999, and then is left out rather
than believed.  NeMo's time is local.  One line holds many updates of a bar, of which the last is read.

Layout: bars, NeMo's logger and its checkpoint lines after lines quoted in public documentation and test data (NVIDIA/NeMo launchers, AWS
Neuron's guides); NeMo's printer and Lightning's messages by knowledge of github.com/NVIDIA/NeMo and Lightning-AI/pytorch-lightning.
Not verified on files of a site.
Holds: linear time; never of the kind `error`.
"""

import re
from collections.abc import Mapping, Sequence

from pipeline.errors import UnknownFormat
from pipeline.formats.fields import UNMAPPED_FIELDS_MAX, UNMAPPED_TEXT_LENGTH_MAX, iso_time
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads.bars import last_bar, whole
from pipeline.formats.ranks import unlabelled
from pipeline.formats.syslog import TEXT_CHARACTERS_MAX, text_of
from pipeline.model.events import AnyBody, CheckpointNote, Iteration, Parsed, Progress, TrainingLine
from pipeline.model.source import Source

_NUMBER = re.compile(r"-?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?(?:[eE][-+]?[0-9]{1,4})?|nan|inf)")
_NEMO = re.compile(r"\[NeMo ([IWED]) (20[0-9]{2}-[0-9]{2}-[0-9]{2}) ([0-9]{2}:[0-9]{2}:[0-9]{2}) ([A-Za-z0-9_.]{1,120}):[0-9]{1,6}\] ?")
_PRINTED = re.compile(r"(Training|Validation|Testing) epoch ([0-9]{1,9}), iteration ([0-9]{1,15})/([0-9]{1,15})(?: \| |$)")
_EPOCH = re.compile(r"Epoch ([0-9]{1,9})")
_TOP = re.compile(r"Epoch ([0-9]{1,9}), global step ([0-9]{1,15}): .{1,200}?, saving model to '(.{1,2000})' as top ")
_CHECKPOINTS = (
    (re.compile(r"Successfully saved checkpoint from iteration {1,12}([0-9]{1,15}) to (\S.*)"), "saved"),
    (re.compile(r"Global Checkpoint Save {1,2}: Rank: [0-9]{1,7} : Iteration: ([0-9]{1,15})()"), "saved"),
    (re.compile(r"(?:Scheduled async checkpoint save for|Async checkpoint save for step) ()(\S.*)"), "saving"),
    (
        re.compile(r"(?:Restoring states from the checkpoint path at|Loading checkpoint from|Loading distributed checkpoint) ()(\S.*)"),
        "loading",
    ),
    (re.compile(r"(?:Restored all states from the checkpoint at|Loaded model weights from the checkpoint at) ()(\S.*)"), "loaded"),
    (re.compile(r"Removing checkpoint: ()(\S.*)"), "removed"),
)
_NOTES = (
    "`Trainer.fit` stopped:",
    "`Trainer.fit()` ",
    "Trainer already configured",
    "GPU available: ",
    "TPU available: ",
    "IPU available: ",
    "HPU available: ",
    "LOCAL_RANK: ",
    "Initializing distributed: GLOBAL_RANK:",
    "distributed_backend=",
    "Sanity Checking",
    "Using 16bit ",
    "Using bfloat16 ",
    "Missing logger folder: ",
    "Detected KeyboardInterrupt, attempting graceful shutdown",
)
_PHASES = ("Validation", "Testing", "Sanity", "Predicting")
_LOSSES = ("reduced_train_loss", "train_loss", "loss", "train_loss_step", "train/loss", "val_loss")
_RATES = ("lr", "learning_rate")
_NORMS = ("grad_norm", "gradient_norm")
_TAKEN = frozenset({*_LOSSES, *_RATES, *_NORMS, "global_step", "consumed_samples", "global_batch_size"})


class Lightning:
    """Lightning's bar and messages, NeMo's logger and printer."""

    name = "lightning"
    source = Source.TRAINING
    begins = (b"Epoch ", b"[NeMo ")

    def claims(self, payload: bytes) -> bool:
        """One of the words that these lines cannot be without."""
        return (
            payload.find(b"Epoch ") >= 0
            or payload.find(b"[NeMo ") >= 0
            or payload.find(b" epoch ") >= 0
            or payload.find(b"checkpoint") >= 0
            or payload.find(b" available: ") >= 0
            or (payload[:1] in _FIRST and payload.startswith(_STARTS))
        )

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """The event of the line.  Raises UnknownFormat for other text."""
        text, rank, _ = unlabelled(text_of(line.payload))
        rest: dict[str, str] = {}
        time, nemo = None, _NEMO.match(text)
        if nemo:
            time = iso_time(f"{nemo[2]}T{nemo[3]}", reading)
            rest = {"level": nemo[1], "logger": nemo[4]}
            text = text[nemo.end() :]
        body = _printed(text, rank, rest) or _bar(text, rank, rest) or _checkpoint(text)
        if body is None and (nemo or text.startswith(_NOTES)):
            body = TrainingLine(what="log", text=text.strip()[:TEXT_CHARACTERS_MAX], rank=rank)
        if body is None:
            raise UnknownFormat("no line of Lightning or NeMo")
        return (Parsed(source=Source.TRAINING, body=body, event_time=time, unmapped=rest),)


_STARTS = tuple(words.encode() for words in (*_NOTES, *_PHASES))
_FIRST = frozenset(words[:1] for words in _STARTS)  # most lines begin otherwise, and are seen to by it


def _printed(text: str, rank: int | None, rest: dict[str, str]) -> AnyBody | None:
    """NeMo's printer, which replaces the bar where the output is not a terminal.  It prints the global step whole."""
    head = _PRINTED.match(text)
    if head is None:
        return None
    fields: dict[str, str] = {}
    for part in text[head.end() :][:TEXT_CHARACTERS_MAX].split(" | "):
        name, colon, value = part.rpartition(": ")
        if colon and len(fields) < UNMAPPED_FIELDS_MAX:
            fields[name.strip()] = value.strip()
    step, total = int(head[3]), int(head[4])
    return _told(head[1], fields, rank, rest, float(head[2]), step, total, None)


def _bar(text: str, rank: int | None, rest: dict[str, str]) -> AnyBody | None:
    bar = last_bar(text)
    if bar is None:
        return None
    epoch = _EPOCH.match(bar.description)
    if epoch is None and not bar.description.startswith(_PHASES):
        return None
    what = "Training" if epoch else "Validation"
    return _told(what, bar.postfix, rank, rest, float(epoch[1]) if epoch else None, bar.step, bar.steps_total, bar.seconds_per_step)


def _told(
    what: str,
    fields: Mapping[str, str],
    rank: int | None,
    rest: dict[str, str],
    epoch: float | None,
    step: int,
    total: int | None,
    seconds: float | None,
) -> AnyBody:
    for name, value in fields.items():
        if name not in _TAKEN and len(rest) < UNMAPPED_FIELDS_MAX:
            rest[name[:80]] = value[:UNMAPPED_TEXT_LENGTH_MAX]
    loss, rate, norm = (_first(fields, names) for names in (_LOSSES, _RATES, _NORMS))
    run_step = whole(fields.get("global_step"))
    if what == "Training" and run_step is not None:
        return Iteration(
            iteration=run_step,
            consumed_samples=whole(fields.get("consumed_samples")),
            elapsed_ms=None if seconds is None else seconds * 1000,
            learning_rate=rate,
            global_batch_size=whole(fields.get("global_batch_size")),
            loss=loss,
            grad_norm=norm,
        )
    return Progress(
        what="train" if what == "Training" else "evaluation",
        step=step,
        steps_total=total,
        epoch=epoch,
        loss=loss,
        learning_rate=rate,
        grad_norm=norm,
        seconds_per_step=seconds,
        rank=rank,
    )


def _checkpoint(text: str) -> AnyBody | None:
    if top := _TOP.match(text):
        return CheckpointNote(action="saving", path=top[3][:TEXT_CHARACTERS_MAX], iteration=int(top[2]))
    said = text.strip()
    for pattern, action in _CHECKPOINTS:
        if found := pattern.match(said):
            return CheckpointNote(action=action, path=found[2][:TEXT_CHARACTERS_MAX], iteration=int(found[1]) if found[1] else None)
    return None


def _first(fields: Mapping[str, str], names: Sequence[str]) -> float | None:
    """The first of the names that holds a number."""
    for name in names:
        value = fields.get(name)
        if value is not None and _NUMBER.fullmatch(value):
            return float(value)
    return None


FORMAT = Lightning()
