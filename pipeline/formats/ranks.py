"""A line of a job's output in; the line without its launcher's labels, and the rank that they name.

| launcher | label | names |
| --- | --- | --- |
| `srun -l`, `mpiexec -l` | `3: ` | the task |
| PyTorch 2.3 and later | `[rank3]: ` | the global rank |
| torchrun `--tee` | `[default3]:`, `[trainer3]:` | role and *local* rank |
| Open MPI `--tag-output` | `[1,3]<stdout>:`, `[prterun-gpu-001-7@1,3]<stderr>: ` | MPI job and rank |
| horovodrun; SageMaker | `[3]<stdout>:`; `[1,mpirank:3,algo-1]<stderr>:` | the rank |
| Ray | `(RayTrainWorker pid=4711, ip=10.0.0.7) `, often coloured | a process |
| `kubectl logs --prefix` | `[pod/u017-train-0/main] ` | a pod |
| pdsh, as DeepSpeed starts nodes by it | `gpu-001: ` | a host; only before what a framework logs, since any word may precede a colon |

Two of them may follow one another: `3: [rank3]: text`.  The global rank that PyTorch names wins over the launcher's number.
`mpiexec`'s `[3] text` is left alone: programs print that too.
"""

import re
from typing import NamedTuple

LABELS_MAX = 2
_SHAPES = (
    r"({n}[0-9]{1,6}):(?: |$)",
    r"\[rank({n}[0-9]{1,6})\]: ?",
    r"\[(?:default|trainer|worker|role)({n}[0-9]{1,6})\]: ?",
    r"\[(?:(?:[A-Za-z0-9._-]{1,120}@)?[0-9]{1,6},|[0-9]{1,6},mpirank:)?({n}[0-9]{1,6})(?:,[A-Za-z0-9-]{1,60})?\]<std(?:out|err|diag)>: ?",
    r"(?:\x1b\[[0-9;]{0,8}m)?\((?:[A-Za-z_][A-Za-z0-9_.:]{0,80} )?pid=[0-9]{1,10}(?:, ip=[0-9a-fA-F.:]{2,45})?\)(?:\x1b\[[0-9;]{0,8}m)? ",
    r"\[pod/[a-z0-9.-]{1,253}/[a-z0-9.-]{1,253}\] ",
    r"[A-Za-z][A-Za-z0-9.-]{0,100}: (?=\[20[0-9]{2}-| {1,2}iteration +[0-9]|\[rank[0-9]|\[?[WEIF][0-9]{4} |:::MLLOG)",
)
_LABEL = re.compile(" {0,8}(?:" + "|".join(shape.replace("{n}", "") for shape in _SHAPES) + ")")
# The same without groups, for formats that claim lines by their start.
LABEL_PATTERN = " {0,8}(?:" + "|".join(shape.replace("({n}", "(?:") for shape in _SHAPES) + ")"


class Labelled(NamedTuple):
    """What stood before the text."""

    text: str
    rank: int | None
    local_rank: int | None


def unlabelled(text: str) -> Labelled:
    """The text after at most two labels."""
    label = _LABEL.match(text)
    if label is None:
        return Labelled(text, None, None)
    task: str | None = None
    rank: str | None = None
    local: str | None = None
    start = 0
    for _ in range(LABELS_MAX):
        if label is None:
            break
        named_task, named_rank, named_local, named_process = label.groups()
        task, rank, local = named_task or named_process or task, named_rank or rank, named_local or local
        start = label.end()
        label = _LABEL.match(text, start)
    named = rank or task
    return Labelled(text[start:], int(named) if named else None, int(local) if local else None)
