"""P05: what runs before a job's own code was written by somebody else.

# 30 days before the job found it
#
#   training                          hook_found @90
#   access     write by u099 @40
"""

from collections.abc import Sequence
from itertools import permutations
from typing import NamedTuple

import pytest

from pipeline.model.events import Event
from pipeline.model.finding import Checked, Finding, Severity, canonical
from tests import build
from tests.build import (
    ADMIN,
    COLLEAGUE,
    DAY,
    HOOK,
    OTHER,
    OWNER,
    SERVICE,
    WRITER,
    answer,
    answers,
    environment,
    hook,
    job_end,
    ticket,
    write,
)

ID = "p05_startup_hook"
PTH, SHIM = "/ckpt/env/distutils-compat.pth", "/ckpt/env/lib/libgpustat.so"


def judge(*events: Event) -> list[Finding]:
    return build.judge(ID, *events)


def planted(at: float = 40, uid: int | None = COLLEAGUE, path: str = HOOK, **fields: object) -> Event:
    """Who makes a file owns it."""
    return write(at, uid, path=path, **{"file_uid": uid, **fields})  # type: ignore[arg-type]


class Row(NamedTuple):
    """A story, and how many findings it gives."""

    name: str
    events: Sequence[Event]
    findings: int


FIRING = [
    Row("sitecustomize", [planted(), hook(90)], 1),
    Row("usercustomize", [planted(), hook(90, kind="usercustomize")], 1),
    Row("a .pth file with code", [planted(path=PTH), hook(90, path=PTH, kind="pth", executes=True)], 1),
    Row("a .pth file of which nobody says what it holds", [planted(path=PTH), hook(90, path=PTH, kind="pth")], 1),
    Row("LD_PRELOAD", [planted(path=SHIM), environment(90, "LD_PRELOAD", SHIM)], 1),
    Row("LD_PRELOAD behind another", [planted(path=SHIM), environment(90, "LD_PRELOAD", f"/usr/lib/libx.so:{SHIM}")], 1),
    Row("PYTHONSTARTUP", [planted(path=SHIM), environment(90, "PYTHONSTARTUP", SHIM)], 1),
    Row("renamed into place", [planted(action="renamed"), hook(90)], 1),
    Row("by su, as the owner", [planted(uid=OWNER, auid=COLLEAGUE), hook(90)], 1),
    Row("found by every rank", [planted(), hook(90), hook(91), hook(92)], 1),
    Row("two hooks", [planted(), hook(90), planted(path=PTH), hook(90, path=PTH, kind="pth", executes=True)], 2),
    Row("written days ago", [planted(-20 * DAY), hook(90)], 1),
]
SILENT = [
    Row("nobody wrote it in the window", [hook(90)], 0),
    Row("written and not run", [planted()], 0),
    Row("the job's owner wrote it", [planted(uid=OWNER), hook(90)], 0),
    Row("the maintainer wrote it last", [planted(), planted(50, WRITER), hook(90)], 0),
    Row("written behind the start", [hook(90), planted(95)], 0),
    Row("the write failed", [planted(success=False), hook(90)], 0),
    Row("a profiler outside the roots", [environment(90, "LD_PRELOAD", "/opt/profiler/libprof.so")], 0),
    Row("a variable that runs nothing", [planted(path=SHIM), environment(90, "CUDA_VISIBLE_DEVICES", SHIM)], 0),
    Row("another job's variable", [planted(path=SHIM), environment(90, "LD_PRELOAD", SHIM, job="6")], 0),
]
BOUNDARY = [
    Row("thirty days before", [planted(90 - 30 * DAY), hook(90)], 1),
    Row("a moment more", [planted(89.999 - 30 * DAY), hook(90)], 0),
    Row("the moment itself", [planted(90), hook(90)], 1),
]
HARMLESS = [
    Row("owner_or_service", [planted(uid=SERVICE), hook(90)], 0),
    Row("system_daemon: a configuration run", [planted(uid=0, auid=None), hook(90)], 0),
    Row("allowed_writer: the maintainer", [planted(uid=WRITER), hook(90)], 0),
    Row(
        "allowed_writer: the maintainer's editable install",
        [planted(uid=WRITER, path=PTH), hook(90, path=PTH, kind="pth", executes=False)],
        0,
    ),
]


@pytest.mark.parametrize("row", FIRING, ids=lambda row: row.name)
def test_fires(row: Row) -> None:
    """A foreign hand wrote what the job ran first: one finding per file."""
    found = judge(*row.events)
    assert len(found) == row.findings
    for finding in found:
        assert (finding.effect, finding.severity, finding.actor) == ("started_with_foreign_hook", Severity.CRITICAL, "u099")
        assert {item.role for item in finding.evidence} - {"variable"} == {"written", "hook"}


@pytest.mark.parametrize("row", [*SILENT, *BOUNDARY, *HARMLESS], ids=lambda row: row.name)
def test_counts(row: Row) -> None:
    """Silent, at the edges of the window, and cleared by a record."""
    assert len(judge(*row.events)) == row.findings


def test_with_all_sources_every_explanation_is_excluded() -> None:
    """Each with its record or a note."""
    (finding,) = judge(planted(), hook(90))
    assert set(answers(finding).values()) == {Checked.EXCLUDED}
    assert all(item.by or item.note for item in finding.checklist)
    assert (finding.alert, finding.anchor) == (True, HOOK)


def test_an_admin_under_a_ticket_is_acquitted() -> None:
    """At another time he is not."""
    story = [planted(uid=ADMIN), hook(90)]
    assert build.judge(ID, *story, at=build.site(tickets=(ticket(0, 60),))) == []
    (finding,) = build.judge(ID, *story, at=build.site(tickets=(ticket(50, 60),)))
    assert answer(finding, "admin_ticket").answer is Checked.EXCLUDED


def test_folders_may_hold_anything() -> None:
    """An editable install, or a way to run what lies elsewhere: below the gate."""
    (finding,) = judge(planted(path=PTH), hook(90, path=PTH, kind="pth", executes=False))
    assert (finding.alert, finding.actor, answer(finding, "known_hook").answer) == (False, "", Checked.NOT_CHECKED)


def test_bytes_that_the_settings_allow_are_harmless_whoever_copied_them() -> None:
    """By known_hook: a shim of a profiler; the same name with other bytes is none."""
    site = build.site(detect={"hooks_allowed": ("b" * 64,)})
    assert build.judge(ID, planted(), hook(90), at=site) == []
    assert len(build.judge(ID, planted(), hook(90, "c"), at=site)) == 1


def test_a_name_alone_lowers_a_hit_and_ends_none() -> None:
    """By known_hook: anybody may call his file so."""
    path = "/ckpt/env/coverage-now.pth"
    (finding,) = judge(planted(path=path), hook(90, path=path, kind="pth", executes=True))
    assert answer(finding, "known_hook").answer is Checked.NOT_CHECKED
    assert (finding.alert, finding.actor) == (False, "")


def test_a_hook_in_an_environment_of_ones_own_accuses_nobody() -> None:
    """By own_place: others chose to use it; nobody says that the folder is somebody else's."""
    nobodys = build.site(artefact_roots=({"path": "/ckpt"},))
    (finding,) = build.judge(ID, planted(), hook(90), at=nobodys)
    assert answer(finding, "own_place").answer is Checked.NOT_CHECKED
    assert (finding.alert, finding.actor) == (False, "")
    (finding,) = build.judge(ID, planted(file_uid=OWNER), hook(90), at=nobodys)
    assert (answer(finding, "own_place").answer, finding.actor) == (Checked.EXCLUDED, "u099")


def test_a_hook_that_was_put_back_accuses_nobody() -> None:
    """By known_bytes: others ran the same before the foreign hand wrote."""
    (finding,) = judge(hook(10, "a", job="6"), planted(40), hook(60, "b", job="8"), planted(70), hook(90, "a"))
    assert answer(finding, "known_bytes").answer is Checked.NOT_CHECKED
    assert finding.alert is False


def test_what_an_unrecorded_hand_had_altered_before_names_nobody() -> None:
    """By altered_before: above the gate as before."""
    before = [hook(-20 * DAY, "a", job="6"), hook(-5 * DAY, "d", job="61")]
    (finding,) = judge(*before, planted(file_uid=WRITER), hook(90))
    assert (finding.alert, finding.actor, answer(finding, "altered_before").answer) == (True, "", Checked.NOT_CHECKED)
    (finding,) = judge(*before, planted(-6 * DAY, WRITER), planted(file_uid=WRITER), hook(90))
    assert (finding.actor, answer(finding, "altered_before").answer) == ("u099", Checked.EXCLUDED)


def test_other_bytes_that_a_job_says_it_found_since_lower_the_hit() -> None:
    """By loaded_since: it may be what the writer printed in a job of his own."""
    for before in ([hook(10, "a", job="6")], []):
        (finding,) = judge(*before, planted(), hook(50, "c", job="66"), hook(90))
        assert (finding.alert, answer(finding, "loaded_since").answer) == (False, Checked.NOT_CHECKED)


def test_without_the_scheduler_the_owner_is_not_known() -> None:
    """Excluded turns into not checked, and the missing sources are named."""
    (finding,) = judge(planted(), hook(90), job_end(100, owner_uid=None, owner=""))
    assert answer(finding, "owner_or_service").missing == ("slurm_jobcomp", "sacct")
    assert (finding.alert, finding.actor) == (False, "")


def test_several_writers_are_not_one() -> None:
    """Nobody is named while others wrote, too."""
    (finding,) = judge(planted(), planted(50, OTHER), hook(90))
    assert (finding.actor, finding.actor_withheld) == ("", "several identities acted; see the evidence")


def test_in_every_order_of_arrival_it_is_the_same() -> None:
    """Late writes and late hooks."""
    events = [hook(10, "a", job="6"), planted(40), planted(50, WRITER), planted(60), hook(90), hook(95)]
    base = [canonical(each) for each in judge(*events)]
    assert len(base) == 1
    for order in list(permutations(events))[::17]:
        assert [canonical(each) for each in judge(*order)] == base
    assert [canonical(each) for each in judge(*events, *events)] == base
