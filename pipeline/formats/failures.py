"""The lines of one job's output in; what several of them say together out: a failed rank of torchrun's block, a traceback.

A shipper sends lines, from partitions in any order; an envelope that tells a line's offset in its file tells what stood beside it:

    Root Cause (first observed failure):
    [0]:
      time      : 2026-03-02_19:40:41          RankFailed(first, rank 5, local rank 1, host gpu-003, pid 223, signal 9),
      host      : gpu-003                      which cites each of the lines
      rank      : 5 (local_rank: 1)
      exitcode  : -9 (pid: 223)

    Traceback (most recent call last):
      File "/envs/torch/nn.py", line 9, in f   Traceback(frames, error)
    ValueError: bad shape

Holds: the answer does not depend on the order of the lines; a line more fills fields and takes none away; what lacks its neighbours, or an
offset, stays what it was alone.  Ranks write to one file at once, so lines that a label gives to different ranks are kept apart.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from pipeline.model.events import Event, RankFailed, TrainingLine

SPAN_MAX = 4_096  # bytes of one failure in a block: paths and host names are short
GAP_MAX = 16_384  # bytes between two lines of one traceback: other ranks write between
FRAMES_MAX = 200
LINES = ("failure_block", "traceback")
_BLOCK_CODE = re.compile(r"-?[0-9]{1,5} {0,4}\(pid:")
_LOCAL_RANK = re.compile(r"rank: [0-9]{1,7} \(local_rank: ([0-9]{1,6})\)")
_FRAME = re.compile(r'File "([^"]{1,400})", line ([0-9]{1,7})(?:, in (.{1,200}))?')
_BEGINS = "Traceback (most recent call last)"
_ROOT = "Root Cause"


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A call of a traceback."""

    path: str
    line: int
    function: str = ""


class Traceback(msgspec.Struct, frozen=True):
    """What a Python program said when it failed, as far as its lines are known; the last frame is where it failed."""

    frames: tuple[Frame, ...]
    error: str  # empty: that line is not known
    rank: int | None
    events: tuple[Event, ...]  # the lines, in order


def with_neighbours(lines: Iterable[Event]) -> dict[str, tuple[Event, RankFailed]]:
    """Event id of a block's line that names exit code and process -> the same with what the lines before it say."""
    found = {}
    for events in _by_file(lines):
        first = False
        entry: list[Event] = []
        for event in events:
            body = event.body
            if isinstance(body, TrainingLine):
                text = body.text.strip()
                if text.startswith(_ROOT):
                    first = True
                elif text.startswith(("Failures:", "<NO_OTHER", "===")):
                    first = False
                if text.startswith(("[", "time:", "===", _ROOT, "Failures:", "error_file:", "traceback:")):
                    entry = []
                entry.append(event)
            elif isinstance(body, RankFailed):
                near = [each for each in entry if _place(event) - _place(each) <= SPAN_MAX]
                found[event.id] = _together(event, body, near, first=first)
                entry = []
    return found


def _together(event: Event, body: RankFailed, near: Sequence[Event], *, first: bool) -> tuple[Event, RankFailed]:
    said = {each.body.text.partition(":")[0]: each for each in near if isinstance(each.body, TrainingLine)}
    host, rank = _text(said.get("host")).partition(": ")[2], said.get("rank")
    local = _LOCAL_RANK.match(_text(rank))
    whole = msgspec.structs.replace(
        body,
        rank=rank.body.rank if rank is not None and isinstance(rank.body, TrainingLine) else body.rank,
        local_rank=int(local[1]) if local else body.local_rank,
        host=host.partition(".")[0] or body.host,
        first=first or body.first,
    )
    cited = [said[name] for name in ("time", "host", "rank") if name in said]
    # The line that says how it ended comes first: checklists and verdicts name it.
    parts = tuple(part for each in (event, *cited) for part in each.parts or ((each.id, each.sha256),)) if cited else event.parts
    return msgspec.structs.replace(event, body=whole, parts=parts), whole


def tracebacks(lines: Iterable[Event]) -> list[Traceback]:
    """What can be put together, by file and place.  Lines without an offset stand alone, as frames of one traceback each."""
    by_rank: dict[tuple[str, str, int | None, str], list[Event]] = {}
    for event in lines:
        body = event.body
        if isinstance(body, TrainingLine) and body.what in ("traceback", "error"):
            alone = event.id if event.position is None else ""
            by_rank.setdefault((event.host, event.file, body.rank, alone), []).append(event)
    found = [
        traceback
        for key in sorted(by_rank, key=repr)
        for run in _runs(sorted(by_rank[key], key=lambda event: (_place(event), event.event_time, event.id)))
        if (traceback := _traceback(run)).frames
    ]
    return sorted(found, key=lambda each: (each.events[0].event_time, each.events[0].file, _place(each.events[0]), each.events[0].id))


def _runs(events: Sequence[Event]) -> Iterator[list[Event]]:
    """Each from its first line to its error, or to where the next one begins."""
    run: list[Event] = []
    for event in events:
        body = event.body
        begins = isinstance(body, TrainingLine) and _BEGINS in body.text
        if run and (begins or _place(event) - _place(run[-1]) > GAP_MAX or len(run) >= FRAMES_MAX):
            yield run
            run = []
        run.append(event)
        if isinstance(body, TrainingLine) and body.what == "error":
            yield run
            run = []
    if run:
        yield run


def _traceback(run: Sequence[Event]) -> Traceback:
    frames, error = [], ""
    rank = run[0].body.rank if isinstance(run[0].body, TrainingLine) else None
    for event in run:
        text = _text(event)
        if named := list(_FRAME.finditer(text)):
            frames += [Frame(each[1], int(each[2]), (each[3] or "").strip()) for each in named]
            last = text.rstrip().rpartition("\n")[2]
            if "\n" in text and not last[:1].isspace():  # a shipper that puts lines together sent the whole
                error = last
        elif isinstance(event.body, TrainingLine) and event.body.what == "error":
            error = text
    return Traceback(tuple(frames), error, rank, tuple(run))


def _by_file(lines: Iterable[Event]) -> Iterator[list[Event]]:
    """Lines of failure blocks, file by file, by place."""
    files: dict[tuple[str, str], list[Event]] = {}
    for event in lines:
        body = event.body
        block = isinstance(body, TrainingLine) and body.what == "failure_block"
        if event.position is not None and (block or (isinstance(body, RankFailed) and _BLOCK_CODE.match(body.text))):
            files.setdefault((event.host, event.file), []).append(event)
    for key in sorted(files):
        yield sorted(files[key], key=lambda event: (_place(event), event.id))


def _place(event: Event) -> int:
    return event.position if event.position is not None else -1


def _text(event: Event | None) -> str:
    return event.body.text if event is not None and isinstance(event.body, TrainingLine) else ""
