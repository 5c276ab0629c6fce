"""An object that a training program logged in; an iteration out.

    {"step": 100, "loss": 2.31, "lr": 0.0003, "time": 1772480441.318}
    2026-03-02 19:40:41 | INFO | train_inner | {"epoch": 1, "loss": "9.42", "num_updates": "100", "lr": "0.0005"}
    {"_step": 100, "_timestamp": 1772480441.3, "train/loss": 2.31}          {"step": 100, "metrics": {"loss": NaN}}

No two programs call these fields the same, so a source's settings may name them (`json_keys`), and what they name is asked before the
names below.  An object needs a step and a loss; any other is not this format's, for a job prints objects of many kinds.  One level of
nesting is looked into, by `outer.inner`.  Numbers may be texts (fairseq) and NaN or Infinity (Python), which are not JSON.

The time is the object's own: seconds, milliseconds, microseconds or nanoseconds by size, or ISO 8601.  A time that is none of these leaves
the event without one, rather than losing the step.

Nobody fixes this format.  Names are those of github.com/wandb/wandb (history keys) and github.com/facebookresearch/fairseq
(fairseq/logging/progress_bar.py), and custom.  Not verified on files of a site.
Holds: linear time; unmapped is bounded.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.errors import RejectedRecord, UnknownFormat
from pipeline.formats.fields import EVENT_TIME_MAX, EVENT_TIME_MIN, iso_time, unmapped
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads.mllog import decoded
from pipeline.formats.ranks import unlabelled
from pipeline.formats.syslog import text_of
from pipeline.model.events import Iteration, Parsed
from pipeline.model.source import Source

PREFIX_CHARACTERS_MAX = 200
NESTED_MAX = 64
WHOLE_MAX = 2**53
DEFAULT_KEYS: Mapping[str, tuple[str, ...]] = {
    "step": ("step", "global_step", "iteration", "iter", "_step", "num_updates", "train_step", "trainer/global_step", "train/global_step"),
    "loss": ("loss", "train_loss", "train/loss", "training_loss", "lm_loss", "lm loss", "reduced_train_loss", "train_inner_loss"),
    "learning_rate": ("lr", "learning_rate", "train/learning_rate", "train/lr"),
    "grad_norm": ("grad_norm", "gradient_norm", "train/grad_norm", "gnorm"),
    "consumed_samples": ("consumed_samples", "samples", "num_samples"),
    "time": ("time", "timestamp", "ts", "_timestamp", "@timestamp", "asctime", "datetime"),
}
_PREFIX_TIME = re.compile(r"\[?(20[0-9]{2}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?)")
_NUMBER = re.compile(r"-?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?(?:[eE][-+]?[0-9]{1,4})?|nan|inf(?:inity)?)", re.IGNORECASE)
_SCALES = ((1e11, 1000.0), (1e14, 1.0), (1e17, 1e-3), (1e20, 1e-6))  # below the bound, times this is milliseconds


class JsonLogger:
    """An object with a step and a loss."""

    name = "json_logger"
    source = Source.TRAINING
    begins = (b'{"step"', b'{"iteration"', b'{"loss"', b'{"_step"')
    in_object = True

    def claims(self, payload: bytes) -> bool:
        """An object at the start, or after a short prefix and up to the end."""
        return payload[:2] == b'{"' or (payload.find(b'{"', 0, PREFIX_CHARACTERS_MAX) > 0 and payload.rstrip().endswith(b"}"))

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """The iteration.  Raises UnknownFormat for an object of another kind, and for what is not an object."""
        text = text_of(line.payload)
        if text[:1] != "{":
            text = unlabelled(text).text
        start = text.find('{"', 0, PREFIX_CHARACTERS_MAX)
        if start < 0:
            raise UnknownFormat("no object")
        try:
            value = decoded(text[start:])
        except RejectedRecord as error:
            raise UnknownFormat("no object of a logger") from error
        keys = _Keys(value, reading.json_keys or {})
        step, loss = keys.number("step"), keys.number("loss")
        if step is None or loss is None or not math.isfinite(step) or step != int(step) or not 0 <= step <= WHOLE_MAX:
            raise UnknownFormat("an object without step and loss")
        samples = keys.number("consumed_samples")
        body = Iteration(
            iteration=int(step),
            consumed_samples=int(samples) if samples is not None and 0 <= samples <= WHOLE_MAX else None,
            learning_rate=keys.number("learning_rate"),
            loss=loss,
            grad_norm=keys.number("grad_norm"),
        )
        time = _time(keys.raw("time"), reading)
        if time is None and (prefix := _PREFIX_TIME.match(text, 0, start)):
            time = _time(f"{prefix[1]}T{prefix[2]}", reading)
        return (Parsed(source=Source.TRAINING, body=body, event_time=time, unmapped=unmapped(value, keys.taken())),)


class _Keys:
    """The fields of an object by what they mean."""

    def __init__(self, value: dict[str, Any], named: Mapping[str, Sequence[str]]) -> None:
        self._value, self._named, self._inner, self._found = value, named, _inner(value), set[str]()

    def raw(self, meaning: str) -> object:
        """The first field of that meaning; those that the settings name come first."""
        names = (*self._named.get(meaning, ()), *DEFAULT_KEYS[meaning]) if self._named else DEFAULT_KEYS[meaning]
        value, inner = self._value, self._inner
        for name in names:
            found = value.get(name)
            if found is None and inner:
                found = inner.get(name)
            if found is not None and type(found) in _PLAIN:
                self._found.add(name)
                return found
        return None

    def number(self, meaning: str) -> float | None:
        """The same as a number, also where it is written as text."""
        found = self.raw(meaning)
        if type(found) is float:
            return found
        if type(found) is int:
            return float(found) if abs(found) <= WHOLE_MAX else None
        return float(found) if type(found) is str and _NUMBER.fullmatch(found) else None

    def taken(self) -> frozenset[str]:
        return frozenset(self._found)


_PLAIN = frozenset({str, int, float})


def _inner(value: dict[str, Any]) -> dict[str, Any]:
    """The fields of inner objects, by their name and by `outer.inner`."""
    nested: dict[str, Any] = {}
    for outer, inner in value.items():
        if type(inner) is dict and len(nested) < 2 * NESTED_MAX:
            for name, field in list(inner.items())[:NESTED_MAX]:
                nested[f"{outer}.{name}"] = field
                nested.setdefault(name, field)
    return nested


def _time(value: object, reading: Reading) -> int | None:
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            try:
                return iso_time(value, reading)
            except RejectedRecord:
                return None
        value = float(value)
    if not isinstance(value, int | float) or not 0 < value < 1e20:
        return None
    scale = next(factor for bound, factor in _SCALES if value < bound)
    time = int(value * scale)
    return time if EVENT_TIME_MIN <= time < EVENT_TIME_MAX else None


FORMAT = JsonLogger()
