"""P04: a module of a shared environment changed by somebody who does not maintain it.

# 30 days; between what others imported and what this job imports
#
#   training   import(a) by job 6 @10                       import(b) by job 7 @90
#   access                            write by u099 @40
"""

from collections.abc import Sequence
from itertools import permutations
from typing import NamedTuple

import msgspec
import pytest

from pipeline.model.events import Event
from pipeline.model.finding import Checked, Finding, Severity, canonical
from tests import build
from tests.build import (
    ADMIN,
    COLLEAGUE,
    DAY,
    MODULE,
    OTHER,
    OWNER,
    SERVICE,
    WRITER,
    answer,
    answers,
    imported,
    job_end,
    ticket,
    write,
)

ID = "p04_environment_tamper"


def judge(*events: Event) -> list[Finding]:
    return build.judge(ID, *events)


def changed(at: float, uid: int | None = COLLEAGUE, path: str = MODULE, **fields: object) -> Event:
    return write(at, uid, path=path, **fields)  # type: ignore[arg-type]


BEFORE = imported(10, "a", job="6")
STORY = [BEFORE, changed(40), imported(90)]
OTHER_MODULE = "/ckpt/env/torch/optim.py"


class Row(NamedTuple):
    """A story, and how many findings it gives."""

    name: str
    events: Sequence[Event]
    findings: int


FIRING = [
    Row("a colleague wrote", STORY, 1),
    Row("renamed over it", [BEFORE, changed(40, action="renamed"), imported(90)], 1),
    Row("deleted and made anew", [BEFORE, changed(40, action="deleted"), changed(41, file_uid=COLLEAGUE), imported(90)], 1),
    Row("as the owner, by su", [BEFORE, changed(40, OWNER, auid=COLLEAGUE), imported(90)], 1),
    Row("as root, by sudo", [BEFORE, changed(40, 0, auid=COLLEAGUE), imported(90)], 1),
    Row("an admin without a ticket", [BEFORE, changed(40, ADMIN), imported(90)], 1),
    Row("the maintainer had written before", [BEFORE, changed(30, WRITER), changed(40), imported(90)], 1),
    Row("the job itself had imported it well on another host", [imported(10, "a"), changed(40), imported(90)], 1),
    Row("imported by all ranks", [*STORY, imported(91), imported(92)], 1),
    Row("a second victim, behind the first", [BEFORE, changed(40), imported(60, job="8"), imported(90)], 1),
    Row("compiled meanwhile", [BEFORE, changed(40), imported(60, job="8"), imported(90, cached="c")], 1),
    Row("two modules", [*STORY, *(each for each in (
        imported(10, "a", job="6", path=OTHER_MODULE, module="torch.optim"), changed(40, path=OTHER_MODULE),
        imported(90, path=OTHER_MODULE, module="torch.optim")))], 2),
    Row("a watcher hashed it, and nobody had imported it", [changed(40, sha256="b" * 64, sha256_before="a" * 64), imported(90)], 1),
]  # fmt: skip
SILENT = [
    Row("nobody wrote", [BEFORE, imported(90)], 0),
    Row("the same bytes", [BEFORE, changed(40), imported(90, "a")], 0),
    Row("the job's owner wrote: own code", [BEFORE, changed(40, OWNER), imported(90)], 0),
    Row("the maintainer wrote last: a release", [BEFORE, changed(40), changed(50, WRITER), imported(90)], 0),
    Row("written before the bytes that others imported", [changed(5), BEFORE, imported(90)], 0),
    Row("written behind the import", [BEFORE, imported(90), changed(95)], 0),
    Row("nobody had imported it before", [changed(40), imported(90)], 0),
    Row("a write that failed", [BEFORE, changed(40, success=False), imported(90)], 0),
    Row("rights changed, not bytes", [BEFORE, changed(40, action="attributes"), imported(90)], 0),
    Row("another file", [BEFORE, changed(40, path=OTHER_MODULE), imported(90)], 0),
    Row("compiled anew, the source is the same", [imported(10, "a", job="6", cached="1"), changed(40), imported(90, "a", cached="2")], 0),
    Row("a start-up hook is P05's", [
        imported(10, "a", job="6", module="sitecustomize"), changed(40), imported(90, module="sitecustomize")], 0),
]  # fmt: skip
BOUNDARY = [
    Row("a moment behind the other import", [BEFORE, changed(10.001), imported(90)], 1),
    Row("at its very moment the bytes were already there", [BEFORE, changed(10), imported(90)], 0),
    Row("the moment of the import is still before it", [BEFORE, changed(90), imported(90)], 1),
    Row("three months behind the other import", [imported(90 - 90 * DAY, "a", job="6"), changed(40), imported(90)], 1),
    Row("longer ago nobody knows what was there", [imported(89.999 - 90 * DAY, "a", job="6"), changed(40), imported(90)], 0),
]
JIT = "/ckpt/env/.triton/cache/kernel.py"
HARMLESS = [
    Row("owner_or_service", [BEFORE, changed(40, SERVICE), imported(90)], 0),
    Row("system_daemon: a configuration run", [BEFORE, changed(40, 0, auid=None), imported(90)], 0),
    Row("allowed_writer: pip by the maintainer", [BEFORE, changed(40, WRITER), imported(90)], 0),
    Row("generated_file: a compiler, from a job", [
        imported(10, "a", job="6", path=JIT), changed(40, path=JIT, auid=None), imported(90, path=JIT)], 0),
]  # fmt: skip
NOT_HARMLESS = [
    Row("system_daemon: root behind a login is no daemon", [BEFORE, changed(40, 0, auid=COLLEAGUE), imported(90)], 1),
    Row("allowed_writer: of another root", [BEFORE, changed(40, OTHER), imported(90)], 1),
    Row("allowed_writer: wrote before the colleague", [BEFORE, changed(30, WRITER), changed(40), imported(90)], 1),
    Row("generated_file: from a login", [imported(10, "a", job="6", path=JIT), changed(40, path=JIT), imported(90, path=JIT)], 1),
    Row("generated_file: from a job, but no compiler's folder", [BEFORE, changed(40, auid=None), imported(90)], 1),
]


def test_who_prints_the_bytes_before_he_writes_them_is_seen_where_a_watcher_hashes_the_file() -> None:
    """By known_bytes below the gate; without a watcher they seem to have been there."""
    hashed = write(40, path=MODULE, sha256="b" * 64, sha256_before="a" * 64)
    for written, gates in ((hashed, ["not checked: known_bytes"]), (write(40, path=MODULE), [])):
        assert [each.gate for each in judge(imported(10, "a", job="6"), imported(35, job="66"), written, imported(90))] == gates


@pytest.mark.parametrize("row", FIRING, ids=lambda row: row.name)
def test_fires(row: Row) -> None:
    """Other bytes than others imported, and a foreign write last: one finding per module."""
    found = judge(*row.events)
    assert len(found) == row.findings
    for finding in found:
        assert (finding.effect, finding.severity) == ("imported_tampered_module", Severity.CRITICAL)
        assert {item.role for item in finding.evidence} == {"before", "written", "imported"}


@pytest.mark.parametrize("row", [*SILENT, *BOUNDARY, *HARMLESS, *NOT_HARMLESS], ids=lambda row: row.name)
def test_counts(row: Row) -> None:
    """Silent, at the edges of what counts, cleared by a record, and by what only looks like one."""
    assert len(judge(*row.events)) == row.findings


def test_probe_and_kernel_audit_name_the_writer() -> None:
    """All explanations are excluded, each with its record or a note."""
    (finding,) = judge(*STORY)
    assert (finding.actor, finding.alert, finding.anchor) == ("u099", True, MODULE)
    assert set(answers(finding).values()) == {Checked.EXCLUDED}
    assert all(item.by or item.note for item in finding.checklist)


UNSEEN = [imported(-20 * DAY, "a", job="6"), imported(-5 * DAY, "d", job="61")]
LEFT_AS_NAMED = {
    "a record of a write, whoever's": [*UNSEEN, changed(-6 * DAY, OTHER)],
    "by the maintainer since": [*UNSEEN, changed(30, WRITER)],
    "a load of the former bytes since, as of another copy": [*UNSEEN, imported(-4 * DAY, "a", job="62"), imported(-DAY, "d", job="63")],
    "longer ago than a write is held against anybody": [imported(-60 * DAY, "a", job="6"), imported(-31 * DAY, "d", job="61")],
    "compiled anew only": [imported(-20 * DAY, "a", job="6", cached="1"), imported(-5 * DAY, "a", job="61", cached="2")],
    "a write a moment before a load of what was there till then": [*UNSEEN, changed(-20 * DAY - 100, WRITER)],
}  # fmt: skip


@pytest.mark.parametrize("first", [[changed(40)], [changed(30), imported(35, "c", job="70"), changed(40)]], ids=["one write", "two"])
def test_what_an_unrecorded_hand_had_altered_before_names_nobody(first: list[Event]) -> None:
    """By altered_before: above the gate as before, in every order, and both loads are shown."""
    for events in permutations([*UNSEEN, *first, imported(90)]) if len(first) == 1 else [[*UNSEEN, *first, imported(90)]]:
        (finding,) = judge(*events)
        assert (finding.alert, finding.actor, finding.suspect) == (True, "", "u099")
        assert finding.actor_withheld == "the file had been altered before, and no record says by whom"
        assert answer(finding, "altered_before").answer is Checked.NOT_CHECKED
        assert {"former", "altered"} < {item.role for item in finding.evidence}


@pytest.mark.parametrize("before", LEFT_AS_NAMED.values(), ids=LEFT_AS_NAMED)
def test_what_a_record_accounts_for_names_him(before: list[Event]) -> None:
    """Nothing unseen lies before his write."""
    (finding,) = judge(*before, changed(40), imported(90))
    assert (finding.actor, answer(finding, "altered_before").answer) == ("u099", Checked.EXCLUDED)


def test_what_anybody_may_have_sent_shows_no_unrecorded_hand() -> None:
    """Else whoever writes there would send it first."""
    sent = msgspec.structs.replace(UNSEEN[1], unproven=True)
    (finding,) = judge(UNSEEN[0], sent, changed(40), imported(90))
    assert answer(finding, "altered_before").answer is Checked.EXCLUDED


def test_a_ticket_clears_only_whom_it_names() -> None:
    """By admin_ticket: the site admin's work is announced; at another time it is not."""
    story = [BEFORE, changed(40, ADMIN), imported(90)]
    assert build.judge(ID, *story, at=build.site(tickets=(ticket(0, 60),))) == []
    assert len(build.judge(ID, *story, at=build.site(tickets=(ticket(50, 60),)))) == 1
    assert len(build.judge(ID, *STORY, at=build.site(tickets=(ticket(0, 60),)))) == 1


def test_a_repair_stands_whatever_is_touched_later() -> None:
    """What the maintainer put in the place of the altered bytes is what jobs load, whoever sets its times or fails to open it."""
    root = {"path": "/ckpt/env", "kind": "environment", "owner": "u098"}
    for touch in (changed(60, action="attributes"), changed(60, success=False)):
        story = [BEFORE, changed(40), changed(50, OTHER), touch, imported(90)]
        assert build.judge(ID, *story, at=build.site(artefact_roots=(root,))) == []


def test_touches_hide_no_write() -> None:
    """Any number of them, behind it: they changed no byte."""
    (finding,) = judge(BEFORE, changed(40), *(changed(41 + at, OTHER, action="attributes") for at in range(20)), imported(90))
    assert finding.suspect == "u099"


def test_the_owner_of_the_environment_may_write_there() -> None:
    """As the settings say; whoever owns another root may not."""
    mine, inner = {"path": "/ckpt", "owner": "u099"}, {"path": "/ckpt/env", "kind": "environment", "owner": "u070"}
    assert build.judge(ID, *STORY, at=build.site(artefact_roots=(mine,))) == []
    (finding,) = build.judge(ID, *STORY, at=build.site(artefact_roots=({**mine, "path": "/ckpt/u099"}, inner)))
    assert finding.actor == "u099"


def test_the_owner_of_an_outer_folder_is_a_foreign_hand_in_an_inner_one() -> None:
    """The innermost root decides: nobody's leave reaches into somebody else's environment."""
    roots = ({"path": "/ckpt", "writers": ("u099",)}, {"path": "/ckpt/env", "owner": "u070"})
    (finding,) = build.judge(ID, *STORY, at=build.site(artefact_roots=roots))
    assert (finding.suspect, finding.alert) == ("u099", True)


def test_an_editable_install_of_the_writers_own_accuses_nobody() -> None:
    """By own_file: who edits the own source tree, from which others import, wrote what is theirs."""
    (finding,) = judge(BEFORE, changed(40, file_uid=COLLEAGUE), imported(90))
    assert answer(finding, "own_file").answer is Checked.NOT_CHECKED
    assert (finding.alert, finding.actor) == (False, "")


def test_bytes_that_come_again_accuse_nobody() -> None:
    """By known_bytes: who tampered puts the old ones back; the jobs behind that are not harmed."""
    (finding,) = judge(BEFORE, changed(40), imported(60, job="8"), changed(70), imported(90, "a"))
    assert (finding.effect, finding.severity, finding.alert, finding.actor) == ("imported_restored_module", Severity.MEDIUM, False, "")
    assert answer(finding, "known_bytes").answer is Checked.NOT_CHECKED


def test_bytes_that_a_foreign_hand_had_written_before_are_not_known() -> None:
    """By known_bytes: the same tamper a second time is one."""
    (finding,) = judge(BEFORE, changed(40), imported(50, job="8"), changed(60), imported(70, "a", job="9"), changed(80), imported(90))
    assert answer(finding, "known_bytes").answer is Checked.EXCLUDED
    assert (finding.effect, finding.actor) == ("imported_tampered_module", "u099")


@pytest.mark.parametrize("who", [OWNER, SERVICE])
def test_bytes_that_the_owner_had_written_are_known(who: int) -> None:
    """By known_bytes, though the settings do not let him write there: a colleague put back the release before."""
    releases = write(5, who, path=MODULE), imported(10, "a", job="6"), write(20, who, path=MODULE), imported(30, job="6")
    (finding,) = judge(*releases, changed(40), imported(90, "a"))
    assert answer(finding, "known_bytes").answer is Checked.NOT_CHECKED
    assert (finding.alert, finding.actor) == (False, "")


PRINTED = imported(50, "c", job="66")
PRINTS: dict[str, tuple[list[Event], int]] = {
    "still other bytes, behind the write": ([*STORY, PRINTED], 1),
    "of several writes behind the last": ([*STORY, changed(45), PRINTED], 1),
    "and others have the altered ones before": ([BEFORE, changed(40), imported(45, job="8"), PRINTED, imported(90)], 1),
    "by several jobs, over and over": ([*STORY, *(imported(50 + at, "cd"[at % 2], job=f"{60 + at % 3}") for at in range(12))], 1),
    "but the maintainer wrote last": ([*STORY, PRINTED, changed(60, WRITER)], 0),
    "but these bytes were there before the write": ([BEFORE, imported(20, job="8"), changed(40), PRINTED, imported(90)], 0),
    "of what nobody had imported before": ([changed(40), PRINTED, imported(90)], 0),
}


@pytest.mark.parametrize(("events", "findings"), PRINTS.values(), ids=PRINTS)
def test_other_bytes_that_a_job_says_it_imported_since_lower_the_hit(events: list[Event], findings: int) -> None:
    """By loaded_since: it may be what the writer printed in a job of his own.  In every order of arrival."""
    found = judge(*events)
    assert len(found) == findings
    for finding in found:
        assert (finding.effect, finding.severity, finding.alert, finding.actor) == (
            "imported_tampered_module", Severity.MEDIUM, False, "",
        )  # fmt: skip
        assert answer(finding, "loaded_since").answer is Checked.NOT_CHECKED
    for order in list(permutations(events[:6]))[::23]:
        assert [canonical(each) for each in judge(*order, *events[6:])] == [canonical(each) for each in found]


def test_without_the_scheduler_the_owner_is_not_known() -> None:
    """Excluded turns into not checked, and the missing sources are named."""
    (finding,) = judge(*STORY, job_end(100, owner_uid=None, owner=""))
    said = answer(finding, "owner_or_service")
    assert (said.answer, said.missing, finding.alert, finding.actor) == (Checked.NOT_CHECKED, ("slurm_jobcomp", "sacct"), False, "")


def test_without_the_record_of_who_wrote_nobody_is_named() -> None:
    """A watcher saw the change alone."""
    (finding,) = judge(BEFORE, changed(40, None, auid=None), imported(90))
    assert (finding.alert, finding.actor) == (False, "")


def test_several_writers_are_not_one() -> None:
    """Nobody is named while others wrote, too."""
    (finding,) = judge(BEFORE, changed(40), changed(50, OTHER), imported(90))
    assert (finding.actor, finding.actor_withheld) == ("", "several identities acted; see the evidence")


def test_in_every_order_of_arrival_it_is_the_same() -> None:
    """Late writes, late imports, and the restoring write."""
    events = [BEFORE, changed(40), imported(60, job="8"), changed(70, WRITER), imported(80, "c", job="9"), changed(85), imported(90)]
    base = [canonical(each) for each in judge(*events)]
    assert len(base) == 1
    for order in list(permutations(events))[::41]:
        assert [canonical(each) for each in judge(*order)] == base
    assert [canonical(each) for each in judge(*events, *events)] == base
