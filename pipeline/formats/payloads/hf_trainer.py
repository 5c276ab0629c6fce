"""A line of a Hugging Face Trainer job in; progress, an iteration, a checkpoint note or a typed line out.

    {'loss': 2.31, 'grad_norm': 1.2, 'learning_rate': 5e-05, 'epoch': 0.4}
    [INFO|trainer.py:1143] 2026-03-02 19:40:41,284 >>   Total optimization steps = 16
    03/02/2026 19:40:41 - INFO - transformers.trainer -   Saving model checkpoint to out/checkpoint-500
     12%|#2        | 2/16 [02:00<13:53, 59.57s/it]

The dictionaries are Python, not JSON: single quotes, bare `nan` and `inf`; since version 5 the numbers are quoted too.  They are read by
a pattern, since no literal parser takes `nan`.  They carry an epoch but no step, and so are `Progress`; only where a step stands beside
the loss is it an `Iteration`.  The summary at the end comes once per node: one run, not four.  A dictionary is often glued after a
progress bar.  The logger's time is local; a dictionary has none.

Configurations that the library prints as JSON over many lines are typed by their shape: `"loss_scale": 0` in one is not a measurement.

Sources: github.com/huggingface/transformers src/transformers/trainer.py, trainer_callback.py (ProgressCallback, PrinterCallback),
utils/logging.py; hiyouga/LLaMA-Factory extras/logging.py; pull request 9613 of transformers for the older form with a step.
Holds: linear time; unmapped is bounded; never of the kind `error`.
"""

import re
from collections.abc import Sequence

from pipeline.errors import DecodeError, UnknownFormat
from pipeline.formats.fields import UNMAPPED_FIELDS_MAX, iso_time
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads.bars import last_bar, whole
from pipeline.formats.ranks import unlabelled
from pipeline.formats.syslog import TEXT_CHARACTERS_MAX, text_of
from pipeline.model.events import AnyBody, CheckpointNote, Iteration, Parsed, Progress, TrainingLine
from pipeline.model.source import Source

DICTIONARY_CHARACTERS_MAX = 4096
_ENTRY = re.compile(r"'([^'{}]{1,120})': (?:'([^'{}]{0,120})'|([^\s,{}']{1,60}))(?=[,}])")
_NUMBER = re.compile(r"-?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?(?:[eE][-+]?[0-9]{1,4})?|nan|inf)")
_LOGGER = re.compile(
    r"\[([A-Z]{4,8})\|(?:([A-Za-z0-9_.]{1,80}):[0-9]{1,6}\] (20[0-9]{2}-[0-9]{2}-[0-9]{2}) ([0-9:]{8},[0-9]{3})"
    r"|(20[0-9]{2}-[0-9]{2}-[0-9]{2}) ([0-9:]{8})\] ([A-Za-z0-9_.]{1,120}):[0-9]{1,6}) >> ?"
)
_BASIC = re.compile(
    r"([0-9]{2})/([0-9]{2})/(20[0-9]{2}) ([0-9]{2}:[0-9]{2}:[0-9]{2}) - ([A-Z]{4,8}) - ([A-Za-z_][A-Za-z0-9_.]{0,120}) - {1,4}"
)
_CHECKPOINTS = (
    (re.compile(r"Saving model checkpoint to (\S.*)"), "saving"),
    (
        re.compile(
            r"(?:Model weights saved in|The model is bigger than .{1,60} You can find where each parameters has been saved in the index "
            r"located at) (\S.*)"
        ),
        "saved",
    ),
    (re.compile(r"(?:Loading model from|loading weights file|Loading best model from|Attempting to resume from) (\S.*)"), "loading"),
)
_STEP_OF_PATH = re.compile(r"checkpoint-([0-9]{1,15})(?:/|$)")
_STEPS = re.compile(r" {0,4}Total optimization steps = ([0-9,]{1,20})\s*$")
_RESUMED = re.compile(r" {0,4}Continuing training from global step ([0-9]{1,15})\s*$")
_DUMP = re.compile(r' {2,24}(?:"[^"]{1,200}"(?:: \S.{0,2000})?,?\s*$|[\]}],?\s*$)|[\[{\]}],?\s*$')
_METRICS = re.compile(r" {2}([a-z_0-9]{1,80}) {1,40}= {1,40}(\S{1,60})\s*$")
_NOTES = (
    "Training completed. Do not forget to share",
    "***** ",
    "trainable params: ",
    "Using custom data configuration",
    "Loading cached ",
    "Running tokenizer on ",
    "Grouping texts in chunks",
    "Generating train split",
)
_CLAIM = re.compile(
    rb"(?: {0,8}[0-9]{1,6}: |\[rank[0-9]{1,6}\]: ?)?(?:\[[A-Z]{4,8}\||[0-9]{2}/[0-9]{2}/20[0-9]{2} |[{}\[\]],?\s*$| {2,24}[\"\]}]|\*{5} "
    rb"| {2}[a-z_0-9]{1,80} {1,40}= |Training c|trainable|Using c|Loading c|Running t|Grouping|Generating"
    rb"|Saving model checkpoint to |Model weights saved in |The model is bigger than |Loading (?:best )?model from "
    rb"|Attempting to resume from )"
)
_FIRST = frozenset(bytes([first]) for first in b" 0123456789[]{}*TtULRGSMA")
_EVALUATED = ("eval_", "test_", "predict_")
_MAPPED = frozenset({"loss", "eval_loss", "train_loss", "grad_norm", "learning_rate", "epoch", "step"})


class HfTrainer:
    """The Trainer of transformers and those built on it."""

    name = "hf_trainer"
    source = Source.TRAINING
    begins = (b"{'loss'", b"{'train_runtime'")

    def claims(self, payload: bytes) -> bool:
        """A dictionary of Python's, a bar, or one of the starts that these lines can have."""
        if payload[:1] in _FIRST and _CLAIM.match(payload) is not None:
            return True
        return payload.find(b"{'") >= 0 or payload.find(b"it/s") >= 0 or payload.find(b"s/it") >= 0

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """The event of the line.  Raises UnknownFormat for other text."""
        text, rank, _ = unlabelled(text_of(line.payload))
        time, text, rest = _logged(text, reading)
        body = _dictionary(text, rank, rest) or (_message(text, rank, rest) if rest else _bare(text, rank))
        if body is None:
            raise UnknownFormat("no line of a Hugging Face Trainer")
        return (Parsed(source=Source.TRAINING, body=body, event_time=time, unmapped=rest),)


def _logged(text: str, reading: Reading) -> tuple[int | None, str, dict[str, str]]:
    """Time, text and logger of a line of the library's logger."""
    if found := _LOGGER.match(text):
        level, module, day, clock, other_day, other_clock, other_module = found.groups()
        time = iso_time(f"{day or other_day}T{clock or other_clock}", reading)
        return time, text[found.end() :], {"level": level, "logger": module or other_module}
    if found := _BASIC.match(text):
        month, day, year, clock, level, module = found.groups()
        try:
            time = iso_time(f"{year}-{month}-{day}T{clock}", reading)
        except DecodeError as error:  # day first is another program's habit
            raise UnknownFormat("no time of a Hugging Face Trainer") from error
        return time, text[found.end() :], {"level": level, "logger": module}
    return None, text, {}


def _dictionary(text: str, rank: int | None, rest: dict[str, str]) -> AnyBody | None:
    start = text.rfind("{'")
    end = text.find("}", start)
    if start < 0 or not 0 < end - start <= DICTIONARY_CHARACTERS_MAX:
        return None
    fields = {name: quoted or bare for name, quoted, bare in _ENTRY.findall(text, start, end + 1)}
    summary = "train_runtime" in fields
    evaluation = bool([name for name in fields if name.startswith(_EVALUATED)])
    if not (summary or evaluation or ("loss" in fields and ("epoch" in fields or "learning_rate" in fields or "step" in fields))):
        return None
    numbers: dict[str, float | None] = {}
    for name, value in fields.items():
        if name in _MAPPED:
            numbers[name] = _float(value)
        elif len(rest) < UNMAPPED_FIELDS_MAX:
            rest[name] = value
    loss = numbers.get("loss")
    if loss is None:
        loss = numbers["eval_loss"] if numbers.get("eval_loss") is not None else numbers.get("train_loss")
    step = whole(fields.get("step"))
    if step is not None and not summary and not evaluation:
        return Iteration(iteration=step, loss=loss, learning_rate=numbers.get("learning_rate"), grad_norm=numbers.get("grad_norm"))
    return Progress(
        what="summary" if summary else "evaluation" if evaluation else "train",
        step=step,
        epoch=numbers.get("epoch"),
        loss=loss,
        learning_rate=numbers.get("learning_rate"),
        grad_norm=numbers.get("grad_norm"),
        rank=rank,
    )


def _checkpoint(said: str) -> CheckpointNote | None:
    for pattern, action in _CHECKPOINTS:
        if found := pattern.match(said):
            path = found[1].rstrip(".")[:TEXT_CHARACTERS_MAX]
            step = _STEP_OF_PATH.search(path)
            return CheckpointNote(action=action, path=path, iteration=int(step[1]) if step else None)
    return None


def _message(text: str, rank: int | None, rest: dict[str, str]) -> AnyBody:
    said = text.strip()
    if (note := _checkpoint(said)) is not None:
        return note
    if found := _STEPS.match(text):
        return Progress(what="start", steps_total=int(found[1].replace(",", "") or 0), rank=rank)
    if found := _RESUMED.match(text):
        return TrainingLine(what="resumed", text=said, rank=rank, value=float(found[1]))
    if found := _METRICS.match(text):
        rest[found[1]] = found[2]
        return TrainingLine(what="metrics", text=said[:TEXT_CHARACTERS_MAX], rank=rank, value=_float(found[2]))
    return TrainingLine(what="log", text=said[:TEXT_CHARACTERS_MAX], rank=rank)


def _bare(text: str, rank: int | None) -> AnyBody | None:
    """Lines without the logger's prefix."""
    if bar := last_bar(text):
        if bar.description.startswith("Epoch "):
            return None  # Lightning's
        return Progress(what="bar", step=bar.step, steps_total=bar.steps_total, seconds_per_step=bar.seconds_per_step, rank=rank)
    if _DUMP.match(text):
        return TrainingLine(what="config", text=text.rstrip()[:TEXT_CHARACTERS_MAX], rank=rank)
    if text.startswith(_NOTES):
        return TrainingLine(what="log", text=text.rstrip()[:TEXT_CHARACTERS_MAX], rank=rank)
    return _checkpoint(text.rstrip())


def _float(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None


FORMAT = HfTrainer()
