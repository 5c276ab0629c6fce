"""P05: what the interpreter or loader runs before a job's own code was written by somebody else.

In: all facts on one attempt, among them the hooks that the probe found and the files that variables such as LD_PRELOAD name.  Out: one
finding per file.  Nothing is compared here: a hook that was not there before has no former bytes.

    write of sitecustomize.py by u099 @40        job 7 starts, and runs it first @90

Who set a variable nobody records; who wrote the file that it names, the kernel does.
"""

from collections.abc import Iterator

from pipeline.detect import benign, benign_artefacts
from pipeline.detect.case import Case, Loaded, evidence
from pipeline.detect.detector import Meta, raised
from pipeline.detect.writers import accusation, writes_of
from pipeline.model.events import EnvironmentSet, HookFound
from pipeline.model.finding import Evidence, Finding, Severity
from pipeline.model.source import Source
from pipeline.stream.watermark import Watermarks

META = Meta(
    id="p05_startup_hook",
    version=5,
    title="Start-up hook of a job written by somebody else",
    subject="job",
    severity=Severity.CRITICAL,
    attack=("T1546.018", "T1574.006", "T1574.007", "T1546.004", "AML.T0010.001"),
    needs=(Source.PROBE, Source.AUDITD),
    window_seconds="detect.hook_window_seconds",
    benign=(
        benign.owner_or_service,
        benign.system_daemon,
        benign.allowed_writer,
        benign.admin_ticket,
        benign_artefacts.own_place,
        benign_artefacts.known_hook,
        benign_artefacts.known_bytes,
        benign_artefacts.loaded_since,
        benign_artefacts.altered_before,
    ),
    required=("owner_or_service", "allowed_writer", "admin_ticket", "own_place", "known_hook", "known_bytes", "loaded_since"),
    blind_spots=(
        "A hook runs before the probe, and can change what the probe says of it.",
        "Shell profiles and module files, which the probe does not see run: only what they set, when it names a file below a root.",
        "A folder that PYTHONPATH puts before what is installed: its modules are P04's, once somebody imported others from there.",
        "A hook that takes itself away before the probe begins.",
        "A write through a link that lies elsewhere: audit records tell the name by which a file was opened, not where it lies.",
        "Who writes unseen first, or prints in a job of his own that it was so: the hit stays, and he is not named by it for a month.",
        "Who alters what an unseen hand had altered more than a month before, or had put there where nothing was: he is named.",
        "Hooks outside the artefact roots, and those that were written longer ago than the window.",
    ),
    runbook="Read the hook, and list all jobs that found it; then who may write into that folder, and why.",
    harms=frozenset({"started_with_foreign_hook"}),
)


def judge(case: Case, now: Watermarks) -> Iterator[Finding]:
    """One finding per file."""
    done: set[str] = set()
    for loaded in case.loaded(HookFound):
        if loaded.path not in done and (finding := _foreign(case, loaded, now)) is not None:
            done.add(loaded.path)
            yield finding


def _foreign(case: Case, loaded: Loaded, now: Watermarks) -> Finding | None:
    body = loaded.event.body
    if not isinstance(body, HookFound):
        return None
    found = loaded.event.event_time
    since = found - case.site.windows.hook_window_seconds * 1000
    held = accusation(META.benign, case, writes_of(loaded, since - 1), found, now)
    if held is None:
        return None
    seen = f"{body.hook}, sha256 {loaded.sha256[:16]}…" if loaded.sha256 else f"named by {body.hook}"
    unseen, withheld = benign_artefacts.cited_altered(case, held.suspicion)
    cited: list[Evidence] = [*unseen, *held.cited(), *evidence("hook", loaded.event, seen)]
    for event, variable in case.of(EnvironmentSet):
        if variable.name == body.hook and event.id != loaded.event.id:
            cited += evidence("variable", event, f"{variable.name} is set")
    return raised(
        META,
        case,
        held.suspicion,
        held.checklist,
        effect="started_with_foreign_hook",
        anchor=loaded.path,
        summary=f"job {case.attempt.job} ran {loaded.path} ({body.hook}) before its own code; somebody else wrote it",
        cited=cited,
        parts=(
            ("it runs before the job's code", 0.9 if body.executes is None and body.hook == "pth" else 0.98),
            ("foreign write", held.strength),
        ),
        closes_at=found + case.site.grace_ms,
        several_actors=held.several,
        withheld=withheld,
    )
