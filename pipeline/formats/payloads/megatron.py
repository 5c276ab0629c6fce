"""A line of a Megatron-LM job's output in; an iteration, a checkpoint note, the launcher's cascade or a typed line out.

     iteration       40/    1000 | consumed samples:  160 | elapsed time per iteration (ms): 1625.2 | .. | lm loss: 1.377455E+01 | ..

Fields are read by name, for their set varies: `lm loss` is missing while iterations are skipped, `consumed samples` in old versions.
Newer versions put a local time in front; older lines have no clock at all, and then the time stays empty.

`Killing subprocess N` and `Main process received SIGTERM` are the launcher ending its own ranks after a cancel or a failure, before and
after Slurm's own words in the file: they are never a kill by somebody.

Everything else in such a file (start-up, dataset, build, shell trace, argument dump) is typed by its shape in `_KINDS`, one pattern a
kind and no catch-all, so that an unfamiliar line becomes a dead letter and is seen.  Patterns are anchored at the line's start and take
linear time.
"""

import re
from collections.abc import Sequence

from pipeline.errors import DecodeError, UnknownFormat
from pipeline.formats.choosing import DIGITS
from pipeline.formats.fields import iso_time
from pipeline.formats.line import Line, Reading
from pipeline.formats.ranks import LABEL_PATTERN, Labelled, unlabelled
from pipeline.formats.syslog import TEXT_CHARACTERS_MAX, number, text_of
from pipeline.model.events import AnyBody, CheckpointNote, Iteration, Parsed, RankFailed, RanksClosed, TrainingLine
from pipeline.model.source import Source

SIGNAL_MAX = 64
UNMAPPED_FIELDS_MAX = 16

# ` [2026-03-02 19:40:41.318] ` of newer Megatron, `[2026-03-02 19:40:41,765] [INFO] [launch.py:319:sigkill_handler] ` of DeepSpeed.
_CLOCK = re.compile(r" ?\[([0-9]{4}-[0-9]{2}-[0-9]{2}) ([0-9:]{8}(?:[.,][0-9]{1,9})?)\] (\[[A-Z]{1,10}\] \[[^\] ]{1,120}\] )?")
_ITERATION = re.compile(r" *iteration +([0-9]{1,18})/ *([0-9]{1,18}) *(?:\||$)")
# The whole line of today's versions, read in a third of the time that a look at each field takes.
_COUNT, _NUMBER = " {0,30}([0-9]{1,18})", " {0,30}([0-9.E+-]{1,40})"
_USUAL = re.compile(
    rf" {{0,8}}iteration{_COUNT}/{_COUNT} \| consumed samples:{_COUNT} \| elapsed time per iteration \(ms\):{_NUMBER} \| learning rate:"
    rf"{_NUMBER} \| global batch size:{_COUNT} \| (?:lm loss:{_NUMBER} \| )?loss scale:{_NUMBER} \| grad norm:{_NUMBER} \| "
    rf"(?:params norm:{_NUMBER} \| )?number of skipped iterations:{_COUNT} \| number of nan iterations:{_COUNT} \|\r?"
)
_CHECKPOINT = re.compile(
    r" {0,4}(saving|successfully saved|loading(?: release)?|successfully loaded) checkpoint "
    r"(?:(?:at|from) iteration +([0-9]{1,18}) to|from) (.+)",
    re.DOTALL,
)
_SHARDS = re.compile(r" {0,2}\[ t +[0-9]{1,6}/[0-9]{1,6}, p +[0-9]{1,6}/[0-9]{1,6} \]")
_SUBPROCESS = re.compile(r"Killing subprocess ([0-9]{1,10})")
_RETURN_CODE = re.compile(r"exits with return code = (-?[0-9]{1,3})")
_VALIDATION = re.compile(r"[ -]{0,4}validation loss at ")
_DATETIME = re.compile(r"\[[a-z, ]{1,120}\] datetime: ([0-9-]{10})[ T]([0-9:]{8})")
_MEMORY = re.compile(r"\[Rank ([0-9]{1,7})\] \(after [0-9]{1,18} iterations\) memory \(MB\) \|")
_LAST_NUMBER = re.compile(r": (-?[0-9.]{1,30})[ \r]*$")
_LOSS_VALUE = re.compile(r"lm loss value: (\S{1,40})")

_FLOATS = {
    "elapsed time per iteration (ms)": "elapsed_ms",
    "learning rate": "learning_rate",
    "lm loss": "loss",
    "lm-loss": "loss",
    "loss scale": "loss_scale",
    "grad norm": "grad_norm",
    "params norm": "params_norm",
}
_INTEGERS = {
    "consumed samples": "consumed_samples",
    "global batch size": "global_batch_size",
    "number of skipped iterations": "skipped",
    "number of nan iterations": "nan",
}

_WRONG_COMPILER = (
    r"Your compiler \(c\+\+\) is not compatible|built with for this platform, which|use g\+\+ to to compile|compile PyTorch from source"
    r"|c\+\+ to compile your extension|See https://github\.com/pytorch/pytorch/|with compiling PyTorch from source"
)
_STARTUP = (
    r"using world size: |using torch\.[a-z0-9]+ for parameters|setting number of micro-batches|setting training (?:iterations|data)"
    r"|building [A-Z][A-Za-z0-9]* model|done with setup|training \.\.\.|Model size: |\[(?:before|after) [a-z, ]{1,120}\] datetime:"
)

# What a line is, by the shape of its start.  The first that matches holds.
_KINDS: tuple[tuple[str, str], ...] = (
    ("timing", r" ?time \(ms\) \||time to initialize megatron|\(min, max\) time across ranks|    [a-z/-]{1,80} ?\.{2,}: \("),
    ("memory", r"\[Rank [0-9]{1,7}\] \(after [0-9]{1,18} iterations\) memory"),
    ("launcher", r"Main process received SIG[A-Z]{2,8}, exiting"),
    ("checkpoint_missing", r"WARNING: could not find the metadata file |    will not load any checkpoints"),
    ("warning", r"WARNING: | {20,}!! WARNING !!"),
    ("warning", _WRONG_COMPILER),
    ("startup", r" ?>{1,3} (?:[a-z]|number of )"),
    ("startup", _STARTUP),
    ("dataset", r" {4}(?:train|validation|test):|    (?:reading|creating) [a-z ]{1,60}\.\.\.|    number of documents: [0-9]"),
    ("dataset", r" {5}document indices in \[|    loaded indexed file in [0-9]|    total number of (?:samples|epochs): [0-9]"),
    ("build", r"make(?:\[[0-9]{1,3}\])?: |ninja: |Detected CUDA files|Emitting ninja build file |Allowing ninja to set "),
    ("build", r"(?:Building|Loading) extension module [A-Za-z0-9_]{1,120}\.\.\."),
    (
        "config",
        r" {1,4}[A-Za-z_][A-Za-z0-9_]{0,100} \.{2,}(?: |$)|-{5,60} (?:end of )?arguments -{5,60}| {2,8}--[a-z][a-z0-9-]{1,80}(?: |$)",
    ),
    ("device_table", r"\+[-=]{3}|\|[-= ].{0,400}[|+][ \r]*$"),
    ("shell_trace", r"\+{1,8} "),
    # What a traced `eval` prints over several lines: the shell's own words, assignments, functions and case patterns.
    ("shell_trace", r" {0,40}\\?(?:export|unset|local) '?[A-Za-z_][A-Za-z0-9_]{0,80}(?:[=;']|$)"),
    ("shell_trace", r" {0,40}\\?(?:eval \"|rehash$|hash -|return(?: \$|$)|shift$|source [/.~$])"),
    ("shell_trace", r" {0,40}(?:if \[|elif \[|else'?$|fi'?$|esac'?$|then'?$|do'?$|done'?$|;;|\}'?$|'$|# |:  #|case \"?\$|\"\$)"),
    ("shell_trace", r" {0,40}(?:[A-Z_][A-Za-z0-9_]{0,80}=|[a-z_][a-z0-9_]{0,80}=\"?\$|\. [\"/]|__[a-z_]{1,80}$)"),
    ("shell_trace", r" {0,40}(?:[A-Za-z_][A-Za-z0-9_]{0,80}\(\) \{|[a-z|*]{1,80}\)$|[a-z.]{1,40}' ['a-z])"),
    ("rule", r"-{20,}[ \r]*$|!{20,}[ \r]*$"),
)
_KIND = re.compile("|".join(f"(?P<k{index}>{pattern})" for index, (_, pattern) in enumerate(_KINDS)))
_CLAIM = re.compile(
    (
        r"(?: {0,8}[0-9]{1,6}: ?|\[(?:rank|default)[0-9]{1,6}\]: ?){0,2}(?: ?\[[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:.,]{8,18}\] )?"
        r"(?: *iteration +[0-9]| {0,4}(?:saving|successfully|loading) |[ -]{0,4}validation loss at |\[[A-Z]{1,10}\] \[|"
        + "|".join(pattern for _, pattern in _KINDS)
        + ")"
    ).encode()
)

_OTHER_LABEL = re.compile(LABEL_PATTERN.encode())  # of launchers that the claim above has no words for


class Megatron:
    """Megatron-LM, its launcher, and what surrounds both in a job's output."""

    name = "megatron"
    source = Source.TRAINING
    begins = (b" iteration ", b"] iteration ")
    shape = DIGITS, rb"[0-9]{1,6}: ? iteration +[0-9]"

    def claims(self, payload: bytes) -> bool:
        """One of the shapes that a line can start with."""
        if payload.startswith(b" iteration "):
            return True
        if _CLAIM.match(payload.removesuffix(b"\r")) is not None or payload.find(b"Killing subprocess ") >= 0:
            return True
        label = _OTHER_LABEL.match(payload)
        return label is not None and _CLAIM.match(payload, label.end()) is not None

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """The events of the line.  Raises UnknownFormat for a shape that is not known, DecodeError for a broken iteration."""
        labelled = unlabelled(text_of(line.payload))
        time, logger = None, ""
        if clock := _CLOCK.match(labelled.text):
            time = iso_time(f"{clock[1]}T{clock[2]}", reading)
            logger = clock[3] or ""
            labelled = labelled._replace(text=labelled.text[clock.end() :])
        text = labelled.text
        if "Killing subprocess " in text:
            # Ranks write at once: several may share a line.
            bodies: list[AnyBody] = [RanksClosed(pid=int(found[1])) for found in _SUBPROCESS.finditer(text)]
            if bodies:
                return [Parsed(source=Source.TRAINING, body=body, event_time=time) for body in bodies]
        unmapped: dict[str, str] = {}
        body = _iteration(text, unmapped) or _checkpoint(text) or _validation(labelled) or _returned(labelled)
        if body is None and (dated := _DATETIME.match(text)):
            time = iso_time(f"{dated[1]}T{dated[2]}", reading)
        body = body or _kind(labelled, logger)
        if body is None:
            raise UnknownFormat("no line of a Megatron job")
        return (Parsed(source=Source.TRAINING, body=body, event_time=time, unmapped=unmapped),)


def _iteration(text: str, unmapped: dict[str, str]) -> Iteration | None:
    if usual := _USUAL.fullmatch(text):
        return _usual_iteration(*usual.groups())
    if not text.lstrip(" ").startswith("iteration "):
        return None
    head = _ITERATION.match(text)
    if head is None:
        if "|" in text:
            raise DecodeError("an iteration line without its numbers")
        return None
    floats: dict[str, float | None] = {}
    integers: dict[str, int | None] = {}
    for field in text[head.end() :].split("|"):
        name, colon, value = field.rpartition(":")
        name, value = name.strip(), value.strip()
        if not colon:
            continue
        if name in _FLOATS:
            floats[_FLOATS[name]] = _float(value)
        elif name in _INTEGERS:
            integers[_INTEGERS[name]] = number(value)
        elif len(unmapped) < UNMAPPED_FIELDS_MAX:
            unmapped[name[:80]] = value[:80]
    return Iteration(
        iteration=int(head[1]),
        iterations_total=int(head[2]),
        consumed_samples=integers.get("consumed_samples"),
        elapsed_ms=floats.get("elapsed_ms"),
        learning_rate=floats.get("learning_rate"),
        global_batch_size=integers.get("global_batch_size"),
        loss=floats.get("loss"),
        loss_scale=floats.get("loss_scale"),
        grad_norm=floats.get("grad_norm"),
        params_norm=floats.get("params_norm"),
        skipped=integers.get("skipped"),
        nan=integers.get("nan"),
    )


def _usual_iteration(
    iteration: str, total: str, samples: str, elapsed: str, rate: str, batch: str, loss: str | None, scale: str, norm: str,
    params: str | None, skipped: str, nan: str,
) -> Iteration:  # fmt: skip
    return Iteration(
        iteration=int(iteration),
        iterations_total=int(total),
        consumed_samples=int(samples),
        elapsed_ms=_float(elapsed),
        learning_rate=_float(rate),
        global_batch_size=int(batch),
        loss=None if loss is None else _float(loss),
        loss_scale=_float(scale),
        grad_norm=_float(norm),
        params_norm=None if params is None else _float(params),
        skipped=int(skipped),
        nan=int(nan),
    )


def _float(text: str) -> float | None:
    """A number as Python prints it, `nan` and `inf` included: a diverged loss is news."""
    try:
        return float(text) if len(text) <= 40 and "_" not in text else None
    except ValueError:
        return None


def _checkpoint(text: str) -> CheckpointNote | None:
    found = _CHECKPOINT.match(text)
    if found is None:
        return None
    action = {"saving": "saving", "successfully saved": "saved", "successfully loaded": "loaded"}.get(found[1], "loading")
    # The path may hold anything; what the framework adds stands at the end.
    path, iteration = found[3].rstrip(), found[2]
    if iteration is None:
        before, mark, last = path.rpartition(" at iteration ")
        if mark and number(last.strip()) is not None:
            path, iteration = before, last.strip()
    path = path.rpartition(" in ")[0] if path.endswith(" format") and " in " in path else path
    if shards := _SHARDS.search(path, max(0, len(path) - 80)):
        path = path[: shards.start()]
    return CheckpointNote(action=action, path=path.strip()[:TEXT_CHARACTERS_MAX], iteration=number(iteration) if iteration else None)


def _validation(labelled: Labelled) -> TrainingLine | None:
    if not _VALIDATION.match(labelled.text):
        return None
    value = _LOSS_VALUE.search(labelled.text)
    loss = _float(value[1]) if value else None
    return TrainingLine(what="validation", text=labelled.text.strip()[:TEXT_CHARACTERS_MAX], rank=labelled.rank, value=loss)


def _returned(labelled: Labelled) -> RankFailed | None:
    """DeepSpeed's launcher: `exits with return code = -9`."""
    found = _RETURN_CODE.search(labelled.text[-200:])
    if found is None:
        return None
    code = int(found[1])
    signal = -code if -SIGNAL_MAX <= code < 0 else None
    return RankFailed(rank=labelled.rank, exit_code=code, signal=signal, text=labelled.text[:TEXT_CHARACTERS_MAX])


def _kind(labelled: Labelled, logger: str) -> TrainingLine | None:
    text, rank = labelled.text, labelled.rank
    found = _KIND.match(text)
    if found is None:
        return TrainingLine(what="deepspeed", text=(logger + text)[:TEXT_CHARACTERS_MAX], rank=rank) if logger else None
    what = _KINDS[int((found.lastgroup or "k0")[1:])][0]
    value = None
    if what == "memory" and (memory := _MEMORY.match(text)):
        rank = int(memory[1])
    elif what == "timing" and (last := _LAST_NUMBER.search(text[-60:])) and "|" not in text:
        value = _float(last[1])
    return TrainingLine(what=what, text=text.rstrip()[:TEXT_CHARACTERS_MAX], rank=rank, value=value)


FORMAT = Megatron()
