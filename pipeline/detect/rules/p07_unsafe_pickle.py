"""P07: a file that a job unpickled named what no checkpoint needs, and the job then started a shell, or let somebody in.

In: all facts on one attempt.  Out: one finding per file.  The probe tells a global before it is called; what follows carries the uid of
the job's owner.  Who is behind it is who wrote the file, and is named on a record of that write alone:

    write by u099 @40    load @90, names posix.system    sh -c "curl ... >> authorized_keys" @95

Loaders that start ffmpeg, and compilers that start nvcc, name nothing odd in a pickle, and start what the settings list.
"""

import posixpath
from collections.abc import Collection, Iterator

import msgspec

from pipeline.detect import benign, benign_artefacts
from pipeline.detect.benign import Suspicion
from pipeline.detect.case import Case, Loaded, evidence
from pipeline.detect.detector import Meta, explained, raised
from pipeline.detect.writers import Accusation, accusation, saved_itself, writes_of, writes_since_saved
from pipeline.model import watched
from pipeline.model.events import CheckpointLoaded, CheckpointSaved, Event, FileTouched, GlobalUnpickled, ProcessSpawned, SocketUsed
from pipeline.model.finding import Evidence, Finding, Severity
from pipeline.model.source import Source
from pipeline.settings import allowed
from pipeline.stream.watermark import Watermarks

META = Meta(
    id="p07_unsafe_pickle",
    version=5,
    title="A loaded file opened a shell or a door in a training job",
    subject="job",
    severity=Severity.CRITICAL,
    attack=("T1204.002", "T1059.004", "T1059.006", "T1098.004", "T1021.004", "AML.T0011.000", "AML.T0018.002", "AML.T0072"),
    needs=(Source.PROBE, Source.AUDITD),
    window_seconds="detect.unpickle_window_seconds",
    benign=(
        benign.owner_or_service,
        benign.system_daemon,
        benign.allowed_writer,
        benign.admin_ticket,
        benign.own_file,
        benign.saved_again,
        benign_artefacts.known_bytes,
        benign_artefacts.loaded_since,
        benign_artefacts.ordinary_library,
    ),
    required=(
        "owner_or_service", "allowed_writer", "admin_ticket", "own_file", "saved_again", "known_bytes", "loaded_since", "ordinary_library",
    ),
    blind_spots=(
        "A back door that names only what is allowed, or that runs without a child process, a port or a key.",
        "A file that was loaded outside the probe, and a program that was started by code in C.",
        "A key that is added after the job has ended, on another host, or by a job that was started from a login: P17 sees who comes in.",
        "A write through a link that lies elsewhere: audit records tell the name by which a file was opened, not where it lies.",
        "Saves and loads are told by jobs' output: who prints one behind his write stays the suspect, and lowers the hit below the gate.",
    ),
    runbook="Do not load the file: disassemble it (pickletools, fickling).  Then the keys and logins of the job's owner since the load.",
    harms=frozenset({"shell_from_pickle"}),
)  # fmt: skip
_JOINED = frozenset(";|&`$<>\n")  # characters by which a shell does more than start one program


class Odd(msgspec.Struct, frozen=True):
    """A global that the settings do not allow."""

    event: Event
    what: str
    path: str
    dangerous: bool


def judge(case: Case, now: Watermarks) -> Iterator[Finding]:
    """One finding per file; what names no file is one, too."""
    done: set[str] = set()
    for odd in _odd(case):
        if odd.path in done or not (doors := _doors(case, odd)):
            continue
        done.add(odd.path)
        loaded = _load_of(case, odd)
        held = _writer(case, loaded, doors[-1][0].event_time, now) if loaded is not None else None
        if held is None and loaded is not None and writes_of(loaded, -1):
            continue  # the last write of the file is known, and explained
        yield from _raised(case, odd, doors, loaded, held, now)


def _odd(case: Case) -> Iterator[Odd]:
    harmless = case.site.windows.pickle_globals_allowed
    for event, body in case.of(GlobalUnpickled):
        what = f"{body.module}.{body.name}"
        if not any(what == each or what.startswith(f"{each}.") for each in allowed(harmless, event.event_time)):
            yield Odd(event, what, body.path, body.module.partition(".")[0] in benign_artefacts.DANGEROUS)


def _doors(case: Case, odd: Odd) -> list[tuple[Event, str]]:
    """What the job did after it that opens something, by time."""
    windows, start = case.site.windows, odd.event.event_time
    soon, later = start + windows.unpickle_window_seconds * 1000, start + windows.door_window_seconds * 1000
    found = [
        (event, f"started {said}")
        for event, body in case.of(ProcessSpawned)
        if start <= event.event_time <= soon and (said := _opens(body, set(allowed(windows.child_programs_allowed, event.event_time))))
    ]
    for event, body, _ in case.befell(FileTouched):
        by_job = body.uid == case.owner_uid and body.auid is None  # from a login it is the owner himself
        if by_job and start <= event.event_time <= later and watched.path(body.path) == "key":
            found.append((event, f"{body.path} was {body.action}"))
    if odd.dangerous:  # ordinary jobs bind ports, too
        found += [
            (event, f"listens on port {body.port}")
            for event, body in case.of(SocketUsed)
            if body.action == "bind" and body.port and start <= event.event_time <= soon
        ]
    return sorted(found, key=lambda each: (each[0].event_time, each[0].id))


def _opens(body: ProcessSpawned, ordinary: Collection[str]) -> str:
    """The program, when it can open a door; empty for one that the settings allow, in a shell's command line of its own, too."""
    program = posixpath.basename(body.executable or (body.arguments[0] if body.arguments else ""))
    if program in watched.SHELLS and body.arguments and (body.means == "os.system" or "-c" in body.arguments):
        line = body.arguments[-1]
        words = line.split()
        inner = posixpath.basename(words[0]) if words else ""
        return "" if inner in ordinary and _JOINED.isdisjoint(line) else f"{program}, with {inner}"
    return program if program in watched.OPENERS and program not in ordinary else ""


def _load_of(case: Case, odd: Odd) -> Loaded | None:
    """The load of the file that named it, which the probe may tell a moment later: it hashes it first."""
    loads = [each for each in case.loaded(CheckpointLoaded) if odd.path and each.path == odd.path]
    return min(loads, key=lambda each: (abs(each.event.event_time - odd.event.event_time), each.event.id), default=None)


def _writer(case: Case, loaded: Loaded, effect_time: int, now: Watermarks) -> Accusation | None:
    """The last writer of the file, unless its bytes are what the job itself saved.

    That another job says that it saved them is a doubt (`saved_again`): whoever laid the trap can say so in a job of his own.
    """
    saves = [(each, each.body.sha256) for each in loaded.saves if isinstance(each.body, CheckpointSaved)]
    others = [each for each, sha256 in saves if sha256 != loaded.sha256]
    own = saved_itself(loaded, case.attempt.job)
    if own is not None and own not in others:
        return None
    return accusation(META.benign, case, writes_since_saved(loaded, others, own), effect_time, now)


def _raised(
    case: Case, odd: Odd, doors: list[tuple[Event, str]], loaded: Loaded | None, held: Accusation | None, now: Watermarks
) -> Iterator[Finding]:
    last, said = doors[-1][0], doors[0][1]
    cited: list[Evidence] = [*evidence("unpickled", odd.event, f"named {odd.what}")]
    for event, what in doors:
        cited += evidence("effect", event, what)
    if loaded is not None:
        cited += evidence("loaded", loaded.event, f"loaded {loaded.path}")
    if held is not None:
        suspicion, checklist = held.suspicion, held.checklist
        cited += held.cited()
    else:
        suspicion = Suspicion(None, odd.event, last.event_time, host=odd.event.host)
        checklist, harmless = explained(META, case, suspicion, now)
        if harmless:
            return
    quick = doors[0][0].event_time - odd.event.event_time <= 60_000
    yield raised(
        META,
        case,
        suspicion,
        checklist,
        effect="shell_from_pickle",
        anchor=odd.path,
        summary=f"job {case.attempt.job} unpickled {odd.what} from {odd.path or 'an unknown file'} and then: {said}",
        cited=cited,
        parts=(
            ("what was unpickled", 0.98 if odd.dangerous else 0.8),
            ("what followed, within a minute" if quick else "what followed", 0.97 if quick else 0.9),
            ("the file's last writer", held.strength if held is not None else 0.5),
        ),
        closes_at=last.event_time + case.site.grace_ms,
        severity=None if held is not None else Severity.MEDIUM,
        several_actors=held.several if held is not None else False,
    )
