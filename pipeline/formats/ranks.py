"""A line of a job's output in; the line without its launcher's labels, and the rank that they name.

`srun -l` writes `3: ` (task number), newer PyTorch `[rank3]: ` (global rank), torchrun `[default3]:` (role and *local* rank).  Two of
them may stand behind one another: `3: [rank3]: text`.  The global rank that PyTorch names wins over the task number.
"""

import re
from typing import NamedTuple

LABELS_MAX = 2
_LABEL = re.compile(r" {0,8}(?:([0-9]{1,6}):(?: |$)|\[rank([0-9]{1,6})\]: ?|\[default([0-9]{1,6})\]: ?)")


class Labelled(NamedTuple):
    """What stood before the text."""

    text: str
    rank: int | None
    local_rank: int | None


def unlabelled(text: str) -> Labelled:
    """The text behind at most two labels."""
    task: str | None = None
    rank: str | None = None
    local: str | None = None
    start = 0
    for _ in range(LABELS_MAX):
        label = _LABEL.match(text, start)
        if label is None:
            break
        task, rank, local = label[1] or task, label[2] or rank, label[3] or local
        start = label.end()
    named = rank or task
    return Labelled(text[start:] if start else text, int(named) if named else None, int(local) if local else None)
