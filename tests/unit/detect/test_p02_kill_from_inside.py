"""P02: a job ended by its own code, after it had loaded what somebody else wrote.

# the kill carries the owner's uid; 35 minutes to its effect
#
#   training   save(a)@10                      load(b)@90   signal_requested@97  rank_failed@98
#   access                 write by u099 @40                kill by the rank itself @97
"""

from collections.abc import Sequence
from itertools import permutations
from typing import NamedTuple

import msgspec
import pytest

from pipeline.model.events import Event, SignalSent
from pipeline.model.finding import Checked, Finding, Severity, canonical
from pipeline.model.source import Source
from pipeline.model.told import Told
from tests import build
from tests.build import (
    ADMIN,
    COLLEAGUE,
    HOOK,
    MODULE,
    OTHER,
    OWNER,
    PATH,
    PID,
    SERVICE,
    WRITER,
    answer,
    answers,
    closing,
    collective_timeout,
    error_line,
    hook,
    imported,
    job_end,
    kill,
    load,
    oom,
    process_started,
    rank_failed,
    requested,
    save,
    ticket,
    touch,
    unpickled,
    write,
    xid,
)
from tests.build_subjects import command

ID = "p02_kill_from_inside"


def judge(*events: Told, silent: Sequence[Source] = ()) -> list[Finding]:
    return build.judge(ID, *events, silent=silent)


def by_itself(at: float, signal: int = 9, *, target: int = PID, sender: int = PID, auid: int | None = None) -> Event:
    """The kernel saw a process of the job send a signal."""
    sent = kill(at, signal=signal, uid=OWNER, auid=auid, target=target)
    assert isinstance(sent.body, SignalSent)
    return msgspec.structs.replace(sent, body=msgspec.structs.replace(sent.body, pid=sender))


class Row(NamedTuple):
    """A story, and how many findings it gives."""

    name: str
    events: Sequence[Told]
    findings: int


TRAP = [save(10), write(40), load(90), unpickled(90.1)]
ENDED = [rank_failed(98), job_end(100)]
CLOSED = [*TRAP, process_started(1), error_line(94), rank_failed(95, pid=4712, signal=None, exit_code=1), closing(96), requested(97, 15)]
CLOSED_END = [rank_failed(98, signal=15), job_end(100)]
STORY = [*TRAP, requested(97), *ENDED]
OF_MODULE, OF_HOOK = requested(97, through=("<string>", MODULE)), requested(97, through=(HOOK,))
MODULES = [imported(10, "a", job="6"), write(40, path=MODULE), imported(90)]
FIRING = [
    Row("a checkpoint, told by the probe", STORY, 1),
    Row("a checkpoint, told by the kernel", [*TRAP, by_itself(97), *ENDED], 1),
    Row("told by both", [*TRAP, requested(97), by_itself(97), *ENDED], 1),
    Row("a module", [*MODULES, OF_MODULE, *ENDED], 1),
    Row("a module that nobody had imported before", [*MODULES[1:], OF_MODULE, *ENDED], 1),
    Row("a hook", [write(40, path=HOOK, file_uid=OWNER), hook(90), OF_HOOK, *ENDED], 1),
    Row("a checkpoint that nobody saved under the probe", [write(40), load(90), requested(97), *ENDED], 1),
    Row("the whole process group", [*TRAP, requested(97, target=-PID), *ENDED], 1),
    Row("a sibling", [*TRAP, process_started(1, pid=4712), requested(97, target=4712), rank_failed(98, pid=4712), job_end(100)], 1),
    Row("the job survived by an elastic restart", [*TRAP, requested(97), rank_failed(98), job_end(9_000, "COMPLETED")], 1),
    Row("no launcher's line: the job ended by the signal", [*TRAP, process_started(1), requested(97), job_end(100)], 1),
    Row("at a random later time", [save(10), write(40), load(90), requested(9_000), rank_failed(9_001), job_end(9_002)], 1),
]
SILENT = [
    Row("nobody else wrote what it loaded", [save(10), load(90, "a"), requested(97), *ENDED], 0),
    Row("nothing was loaded", [requested(97), *ENDED], 0),
    Row("a loader ends its worker", [*TRAP, requested(97, 15, target=9999), job_end(100, "COMPLETED")], 0),
    Row("a loader ends its worker, and the job fails by itself", [
        *TRAP, requested(97, 15, target=9999), error_line(98), rank_failed(98, signal=None, exit_code=1),
        job_end(100, derived_signal=None)], 0),
    Row("loaded behind the act", [save(10), write(40), requested(80), rank_failed(81), load(90), job_end(100)], 0),
    Row("the bytes are those that were saved", [save(10), write(40), load(90, "a"), requested(97), *ENDED], 0),
    Row("the job saved them itself since", [save(10, job="6"), write(40), save(50, "b"), load(90), requested(97), *ENDED], 0),
    Row("the owner's shell, with a login", [*TRAP, by_itself(97, sender=900, auid=OWNER), *ENDED], 0),
    Row("`timeout`, which is no process of the job", [*TRAP, by_itself(97, 15, sender=900), rank_failed(98, signal=15), job_end(100)], 0),
    Row("somebody else killed it: P01", [*TRAP, kill(97), *ENDED], 0),
    Row("a signal that ends nobody", [*TRAP, requested(97, 10), *ENDED], 0),
    Row("another signal ended it", [*TRAP, requested(97, 15), rank_failed(98, signal=11), job_end(100, derived_signal=11)], 0),
    Row("it failed with an error of its own", [*TRAP, error_line(97), rank_failed(98, signal=None, exit_code=1), job_end(100)], 0),
]  # fmt: skip
PRINTED = [save(10, "b", job="666"), write(40), load(90), requested(97), *ENDED]  # by the writer, in a job of his own
BOUNDARY = [
    Row("35 minutes before the end", [*TRAP, requested(97), rank_failed(97 + 2_100), job_end(97 + 2_101)], 1),
    Row("a moment more", [*TRAP, requested(97), rank_failed(97 + 2_100.001), job_end(97 + 2_101)], 0),
    Row("the launcher's line may be 5 seconds ahead", [*TRAP, requested(97), rank_failed(92)], 1),
    Row("not more", [*TRAP, requested(97), rank_failed(91.999)], 0),
]
HARMLESS = [
    Row("owner_or_service", [save(10), write(40, SERVICE), load(90), requested(97), *ENDED], 0),
    Row("owner_or_service: the owner wrote last", [save(10), write(40), write(50, OWNER), load(90), requested(97), *ENDED], 0),
    Row("system_daemon", [save(10), write(40, 0, auid=None), load(90), requested(97), *ENDED], 0),
    Row("allowed_writer", [save(10), write(40, WRITER), load(90), requested(97), *ENDED], 0),
    Row("sibling_first: the launcher says so, and the kernel", [*CLOSED, by_itself(97, 15, sender=800), *CLOSED_END], 0),
    Row("sibling_first: another rank had failed, and the kernel saw the launcher", [
        *TRAP, process_started(1), rank_failed(95, pid=4712, signal=11), requested(97, 15), by_itself(97, 15, sender=800), *CLOSED_END], 0),
    Row("sibling_first: told last, by a launcher that sent the signal", [
        *TRAP, process_started(1), requested(97, 15, sender=800), by_itself(97, 15, sender=800), rank_failed(98, signal=15),
        rank_failed(98, pid=4712, signal=11), job_end(100)], 0),
    Row("out_of_memory", [*TRAP, requested(97), oom(97), *ENDED], 0),
    Row("hardware_fault", [*TRAP, xid(90, 79), requested(97), *ENDED], 0),
]  # fmt: skip
LIMIT = command(95, "tee", "/sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/memory.max")
NOT_HARMLESS = [
    Row(
        "sibling_first: it failed behind the act",
        [*TRAP, requested(97), rank_failed(98), rank_failed(99, pid=4712, signal=6), job_end(100)],
        1,
    ),
    Row(
        "watchdog_abort: it timed out because of the act", [*TRAP, requested(97), rank_failed(98), collective_timeout(700), job_end(800)], 1
    ),
    Row("watchdog_abort: a timeout before, but no abort", [*TRAP, collective_timeout(96), requested(97), *ENDED], 1),
    Row("out_of_memory: of another process", [*TRAP, requested(97), oom(97, pid=99), *ENDED], 1),
    Row("out_of_memory: since somebody had set how much there is", [*TRAP, touch(LIMIT), requested(97), oom(97), *ENDED], 1),
    Row("hardware_fault: an Xid that ends no process", [*TRAP, xid(90, 63), requested(97), *ENDED], 1),
    Row("hardware_fault: an Xid that any death leaves", [*TRAP, xid(97, 43), requested(97), *ENDED], 1),
    Row("allowed_writer: wrote before the colleague", [save(10), write(30, WRITER), write(40), load(90), requested(97), *ENDED], 1),
    Row("system_daemon: root behind a login", [save(10), write(40, 0, auid=COLLEAGUE), load(90), requested(97), *ENDED], 1),
    Row("admin_ticket: an admin without one", [save(10), write(40, ADMIN), load(90), requested(97), *ENDED], 1),
]


@pytest.mark.parametrize(
    ("explanation", "events"),
    [
        ("sibling_first", [*CLOSED, *CLOSED_END]),
        ("sibling_first", [*TRAP, rank_failed(95, pid=4712, signal=11), requested(97, 15), *CLOSED_END]),
        ("sibling_first", [*CLOSED, by_itself(97, 15), *CLOSED_END]),
        ("watchdog_abort", [*TRAP, collective_timeout(96), requested(97, 6), rank_failed(98, signal=6), job_end(100)]),
    ],
)
def test_what_only_the_jobs_output_says_acquits_nobody_and_names_nobody(explanation: str, events: Sequence[Told]) -> None:
    """The code that ended the job writes into its output, too: the hit stays, below the gate."""
    (finding,) = judge(*events)
    assert (finding.alert, finding.actor, build.answer(finding, explanation).answer) == (False, "", Checked.NOT_CHECKED)


def test_who_prints_that_he_saved_it_stays_in_the_case_file() -> None:
    """Nobody saved the file under the probe, and the kernel says that it was the owner's; one of his own he may have saved."""
    (finding,) = judge(*PRINTED)
    assert (finding.alert, finding.actor, answer(finding, "saved_again").answer) == (False, "", Checked.NOT_CHECKED)
    assert judge(PRINTED[0], write(40, file_uid=COLLEAGUE), *PRINTED[2:]) == []


@pytest.mark.parametrize("sha", ["b", "c"])
@pytest.mark.parametrize("before", [[], [save(10)]], ids=["never saved", "saved before"])
def test_who_prints_a_save_behind_his_write_stays_the_suspect(before: list[Event], sha: str) -> None:
    """By saved_again, whatever bytes he says that he saved."""
    (finding,) = judge(*before, write(40), save(50, sha, job="66"), load(90), requested(97), *ENDED)
    assert (finding.alert, finding.suspect, answer(finding, "saved_again").answer) == (False, "u099", Checked.NOT_CHECKED)


LOADED_SINCE = {
    "a checkpoint that nobody saved under the probe": [write(40), load(50, "c", job="66"), load(90)],
    "a module that others had imported before": [*MODULES[:2], imported(50, "c", job="66"), imported(90)],
    "a module that nobody had imported before": [write(40, path=MODULE), imported(50, "c", job="66"), imported(90)],
    "and who wrote before did not write these": [
        write(20, 5098, path=MODULE), imported(30, "a", job="6"), write(40, path=MODULE), imported(50, "c", job="66"), imported(90)],
    "saved before, too": [save(10), write(40), load(50, "c", job="66"), load(90)],
}  # fmt: skip


@pytest.mark.parametrize("events", LOADED_SINCE.values(), ids=LOADED_SINCE)
def test_who_prints_a_load_behind_his_write_stays_the_suspect(events: Sequence[Event]) -> None:
    """By loaded_since: then these bytes may be another's, so nobody is named; and nobody hides by saying so."""
    for order in permutations(events):
        (finding,) = judge(*order, requested(97, through=(PATH, MODULE)), *ENDED)
        assert (finding.gate, finding.actor, finding.suspect) == ("not checked: loaded_since", "", "u099")
        assert answer(finding, "loaded_since").answer is Checked.NOT_CHECKED


def test_bytes_that_differ_as_compiled_only_doubt_nothing() -> None:
    """Interpreters compile a module anew; the source that others imported since is the one that was written."""
    (finding,) = judge(write(40, path=MODULE), imported(50, cached="y", job="8"), imported(90, cached="x"), OF_MODULE, *ENDED)
    assert (finding.alert, answer(finding, "loaded_since").answer) == (True, Checked.EXCLUDED)


OWN_CODE = {
    "the call came out of the job's script": requested(97, 15, through=("/home/u012/train.py",)),
    "of a library that nobody wrote": requested(97, 15, through=("/usr/lib/python3.11/threading.py", "/home/u012/train.py")),
    "the kernel alone saw it, as when compiled code aborts": by_itself(97, 15),
    "an older probe, that does not say": requested(97, 15, through=()),
    "another call, of another signal": requested(97, 15, through=("/home/u012/train.py", "/ckpt/other.py")),
}


@pytest.mark.parametrize("act", OWN_CODE.values(), ids=OWN_CODE)
def test_a_job_that_ends_itself_accuses_nobody_of_what_it_had_loaded(act: Event) -> None:
    """By own_code: a colleague changed a library, and the job stops itself at its deadline."""
    ended = [rank_failed(98, signal=15), job_end(100, derived_signal=15)]
    for loaded in (MODULES, [save(10), write(40), load(90)]):
        (finding,) = judge(*loaded, act, *ended)
        assert (finding.gate, finding.actor, finding.suspect) == ("not checked: own_code", "", "u099")
        assert answer(finding, "own_code").answer is Checked.NOT_CHECKED


def test_the_file_that_the_call_came_out_of_leads_to_its_writer() -> None:
    """Whoever else wrote what the job had loaded, and later."""
    other = [imported(10, "a", path="/ckpt/x.py", job="6"), write(60, OTHER, path="/ckpt/x.py"), imported(91, path="/ckpt/x.py")]
    (finding,) = judge(*MODULES, *other, OF_MODULE, *ENDED)
    assert (finding.alert, finding.actor) == (True, "u099")
    (finding,) = judge(*MODULES, *other, requested(97, through=(MODULE, "/ckpt/x.py")), *ENDED)
    assert (finding.actor, finding.actor_withheld) == ("", "several identities acted; see the evidence")


@pytest.mark.parametrize("told", [[], [save(10, job="6")], [save(80 + each / 100, "c", job=f"{60 + each}") for each in range(100)]])
def test_what_the_job_saved_itself_was_written_by_nobody_else(told: list[Event]) -> None:
    """Whatever others say that they saved: else they would hold it against whoever wrote there before."""
    for loaded in ("b", "d"):  # or what it does not know
        assert judge(write(5), write(15), save(20, "b"), *told, load(90, loaded), requested(97), *ENDED) == []


@pytest.mark.parametrize("row", FIRING, ids=lambda row: row.name)
def test_fires_and_leads_to_the_writer(row: Row) -> None:
    """Never to the uid of the kill, which is the victim's."""
    (finding,) = judge(*row.events)
    assert (finding.effect, finding.severity, finding.actor) == ("killed_from_inside", Severity.CRITICAL, "u099")
    assert {"written", "loaded", "act", "effect"} == {item.role for item in finding.evidence}


@pytest.mark.parametrize("row", [*SILENT, *BOUNDARY, *HARMLESS, *NOT_HARMLESS], ids=lambda row: row.name)
def test_counts(row: Row) -> None:
    """Silent, at the edges of the window, cleared by a record, and by what only looks like one."""
    assert len(judge(*row.events)) == row.findings


def test_with_all_sources_every_explanation_is_excluded() -> None:
    """Each with its record or a note."""
    (finding,) = judge(*STORY)
    assert set(answers(finding).values()) == {Checked.EXCLUDED}
    assert all(item.by or item.note for item in finding.checklist)
    assert finding.alert


def test_an_exit_without_a_word_is_below_the_gate() -> None:
    """By ordinary_exit: programs end themselves all day."""
    (finding,) = judge(*TRAP, rank_failed(98, signal=None, exit_code=0), job_end(100, derived_signal=None))
    assert (finding.effect, finding.severity) == ("exited_from_inside", Severity.MEDIUM)
    assert answer(finding, "ordinary_exit").answer is Checked.NOT_CHECKED
    assert (finding.alert, finding.actor) == (False, "")


def test_an_admin_under_a_ticket_is_acquitted() -> None:
    """Of the write, which is what would be held against him."""
    story = [save(10), write(40, ADMIN), load(90), requested(97), *ENDED]
    assert build.judge(ID, *story, at=build.site(tickets=(ticket(0, 60),))) == []


def test_a_forged_save_neither_acquits_nor_accuses() -> None:
    """By saved_again: whoever wrote the file can print that he saved it."""
    (finding,) = judge(save(10), write(40), save(50, "b", job="66"), load(90), requested(97), *ENDED)
    assert answer(finding, "saved_again").answer is Checked.NOT_CHECKED
    assert (finding.alert, finding.actor) == (False, "")


def test_who_wrote_only_his_own_files_is_not_accused() -> None:
    """By own_place: a base model that its maker repaired, loaded by others."""
    (finding,) = judge(save(10, uid=COLLEAGUE), write(40, file_uid=COLLEAGUE), load(90), requested(97), *ENDED)
    assert answer(finding, "own_place").answer is Checked.NOT_CHECKED
    assert (finding.alert, finding.actor) == (False, "")


def test_a_module_that_was_put_back_accuses_nobody() -> None:
    """By known_bytes."""
    back = [imported(10, "a", job="6"), write(40, path=MODULE), imported(60, job="8"), write(70, path=MODULE), imported(90, "a")]
    (finding,) = judge(*back, requested(97), *ENDED)
    assert answer(finding, "known_bytes").answer is Checked.NOT_CHECKED
    assert finding.alert is False


@pytest.mark.parametrize(
    ("source", "name", "missing"),
    [
        (Source.TRAINING, "sibling_first", ("training",)),
        (Source.TRAINING, "watchdog_abort", ("training",)),
        (Source.KERNEL, "out_of_memory", ("kernel on gpu-001",)),
        (Source.KERNEL, "hardware_fault", ("kernel on gpu-001",)),
    ],
)
def test_without_the_source_an_absence_means_nothing(source: Source, name: str, missing: tuple[str, ...]) -> None:
    """Excluded turns into not checked, and the missing source is named."""
    (finding,) = judge(*TRAP, requested(97, 6), rank_failed(98, signal=6), job_end(100, derived_signal=6), silent=[source])
    said = answer(finding, name)
    assert (said.answer, said.missing) == (Checked.NOT_CHECKED, missing)
    if name in ("sibling_first", "watchdog_abort", "out_of_memory"):
        assert (finding.alert, finding.actor) == (False, "")


def test_of_two_artefacts_by_two_hands_nobody_knows_which_did_it() -> None:
    """The finding is about the last one written, and names neither: whoever wrote the other may have done it."""
    (finding,) = judge(*TRAP, write(60, OTHER, path=MODULE), imported(91), OF_MODULE, *ENDED)
    assert "/nn.py" in finding.summary
    assert (finding.alert, finding.actor, finding.suspect) == (True, "", "")
    assert finding.actor_withheld.startswith("several identities")


def test_a_module_that_was_put_back_does_not_hide_the_trap() -> None:
    """Somebody put back the bytes of a module later than the checkpoint was altered: new bytes accuse more than old ones."""
    back = [imported(10, "a", job="6"), write(40, OTHER, path=MODULE), imported(60, job="8"), write(70, OTHER, path=MODULE)]
    (finding,) = judge(*TRAP, *back, imported(91, "a"), requested(97), *ENDED)
    assert finding.actor == "u099"


def test_in_every_order_of_arrival_it_is_the_same() -> None:
    """Late writes, saves and signals."""
    events: list[Event] = [save(10), write(40), load(90), requested(97), by_itself(97), rank_failed(98), job_end(100)]
    base = [canonical(each) for each in judge(*events)]
    assert len(base) == 1
    for order in list(permutations(events))[::97]:
        assert [canonical(each) for each in judge(*order)] == base
    assert [canonical(each) for each in judge(*events, *events)] == base
