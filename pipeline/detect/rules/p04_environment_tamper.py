"""P04: a job imported a module whose bytes are not those that others imported before, and somebody else wrote the file in between.

In: all facts on one attempt, among them each import worth telling with what came before it.  Out: one finding per module.

    import(a) by job 6 @10    write by u099 @40    import(b) by job 7 @90     a != b, u099 neither maintains the environment nor owns job 7

What the maintainer writes after that makes the bytes the maintainer's, and nobody is accused.  A first import has nothing to be compared
with, unless a watcher hashed the file before and after the write.  Where a job says that it imported still other bytes after the write
the hit stays, below the gate: it may be so, and it may be what u099 printed.

Where the file had been altered before u099 wrote, and no record says by whom, the hit stays above the gate and names nobody: u099 may have
looked for what another had done.
"""

from collections.abc import Iterator

from pipeline.detect import benign, benign_artefacts
from pipeline.detect.case import Case, Loaded, evidence
from pipeline.detect.detector import Meta, raised
from pipeline.detect.writers import Accusation, accusation, writes_of
from pipeline.model.events import FileTouched, ModuleImported
from pipeline.model.finding import Checked, Evidence, Finding, Severity
from pipeline.model.source import Source
from pipeline.stream.watermark import Watermarks

META = Meta(
    id="p04_environment_tamper",
    version=4,
    title="Module of a shared environment changed by somebody who does not maintain it",
    subject="job",
    severity=Severity.CRITICAL,
    attack=("T1554", "T1565.001", "T1195.001", "T1080", "AML.T0010.001"),
    needs=(Source.PROBE, Source.AUDITD),
    window_seconds="detect.import_window_seconds",
    benign=(
        benign.owner_or_service,
        benign.system_daemon,
        benign.allowed_writer,
        benign.admin_ticket,
        benign.own_file,
        benign_artefacts.generated_file,
        benign_artefacts.known_bytes,
        benign_artefacts.loaded_since,
        benign_artefacts.altered_before,
    ),
    required=("owner_or_service", "allowed_writer", "admin_ticket", "own_file", "generated_file", "known_bytes", "loaded_since"),
    blind_spots=(
        "Modules in images and outside the artefact roots: there a path means another file in every image.",
        "A compiled file that was changed while its source was not: interpreters write those themselves.",
        "A module that nobody imported under the probe in the three months before the write.",
        "Jobs that do not use the probe: that their tracebacks name the file is told to nobody here.",
        "A folder that was renamed or mounted over: the files in it were never written.",
        "A write through a link that lies elsewhere: audit records tell the name by which a file was opened, not where it lies.",
        "Who prints, in a job of his own, that he imported still other bytes, hides a module that nobody had imported before the write.",
        "Who prints so before the write, of the very bytes that he will write: only a watcher's hashes keep that hit, below the gate.",
        "Who writes unseen first, or prints in a job of his own that it was so: the hit stays, and he is not named by it for a month.",
        "Who alters what an unseen hand had altered more than a month before, or where others loaded the former bytes since: he is named.",
    ),
    runbook="Compare the module with its package, and list every job that imported it since; a clean rerun of a small job proves nothing.",
    harms=frozenset({"imported_tampered_module"}),
)
HOOKS = frozenset({"sitecustomize", "usercustomize"})  # P05's


def judge(case: Case, now: Watermarks) -> Iterator[Finding]:
    """One finding per module, on its first import with other bytes."""
    done: set[str] = set()
    for loaded in case.loaded(ModuleImported):
        if loaded.path not in done and (finding := _tampered(case, loaded, now)) is not None:
            done.add(loaded.path)
            yield finding


def _tampered(case: Case, loaded: Loaded, now: Watermarks) -> Finding | None:
    if not isinstance(loaded.event.body, ModuleImported) or loaded.event.body.module in HOOKS:
        return None
    start = loaded.event.event_time - case.site.windows.import_window_seconds * 1000
    for since, before in _before(loaded):
        held = accusation(META.benign, case, writes_of(loaded, max(since, start)), loaded.event.event_time, now)
        if held is not None:
            return _raised(case, loaded, before, held)
    return None


def _before(loaded: Loaded) -> Iterator[tuple[int, list[Evidence]]]:
    """(since when a write may have changed the bytes, what shows how they were): another import, else a watcher that hashed the file."""
    for other in (loaded.other, loaded.untouched):
        if other is not None and isinstance(other.body, ModuleImported) and other.body.sha256 != loaded.sha256:
            yield other.event_time, [*evidence("before", other, f"job {other.job} imported sha256 {other.body.sha256[:16]}…")]
    for write in loaded.writes:
        body = write.body
        if isinstance(body, FileTouched) and body.sha256 == loaded.sha256 and body.sha256_before not in ("", loaded.sha256):
            yield write.event_time - 1, [*evidence("before", write, f"was sha256 {body.sha256_before[:16]}… before the write")]


def _raised(case: Case, loaded: Loaded, before: list[Evidence], held: Accusation) -> Finding:
    doubted = {item.name for item in held.checklist if item.answer is Checked.NOT_CHECKED}
    again, doubt = "known_bytes" in doubted, bool(doubted & {"known_bytes", "loaded_since"})
    unseen, withheld = benign_artefacts.cited_altered(case, held.suspicion)
    cited = [*before, *unseen, *held.cited(), *evidence("imported", loaded.event, f"imported sha256 {loaded.sha256[:16]}…")]
    return raised(
        META,
        case,
        held.suspicion,
        held.checklist,
        effect="imported_restored_module" if again else "imported_tampered_module",
        anchor=loaded.path,
        summary=f"job {case.attempt.job} imported {loaded.path} with other bytes than others before; it was written in between"
        + (", and its bytes are older ones that came again" if again else ""),
        cited=cited,
        parts=(("bytes differ", 0.5 if doubt else 0.98), ("a foreign write lies between", held.strength)),
        closes_at=loaded.event.event_time + case.site.grace_ms,
        severity=Severity.MEDIUM if doubt else None,
        several_actors=held.several,
        withheld=withheld,
    )
