"""Which finding is about which act, and which look-alike a false one fell for."""

from typing import Any, NamedTuple

import pytest

from pipeline.score.match import OTHER, Found, kind_of, match
from pipeline.score.truth import Act, Harmed, LookAlike, Truth

HOUR, DAY = 3_600_000, 86_400_000
T0 = 1_800_000_000_000
MODULE = "/shared/env/train/loss.py"


def harmed(job: str) -> Harmed:
    """An attempt of u012."""
    return Harmed(job, T0, "u012", T0)


def act(pattern: str = "p04", **changes: Any) -> Act:
    """u099 altered a module, which job 7 loaded and failed by, and job 8 loaded without harm."""
    values: dict[str, Any] = {
        "id": f"{pattern}-001", "pattern": pattern, "actor": "u099", "attributable": True, "effective": True, "victims": (harmed("7"),),
        "exposed": (harmed("8"),), "artefacts": (MODULE,), "hosts": ("gpu-003",), "times_ms": (T0,), "windows_ms": (),
        "first_effect_ms": T0,
    }  # fmt: skip
    return Act(**{**values, **changes})


def finding(kind: str = "job", name: str = "7", detector: str = "p04_environment_tamper", **changes: Any) -> Found:
    """What a detector says of a job, or of something else."""
    job = name if kind == "job" else ""
    values: dict[str, Any] = {
        "id": f"{detector}/{name}", "detector": detector, "kind": kind, "name": name, "job": job, "submit_ms": T0 if job else 0,
        "effect_time": T0, "alert": True, "actor": "", "cited": (), "alerted_ms": None,
    }  # fmt: skip
    return Found(**{**values, **changes})


class Row(NamedTuple):
    """A finding, and what becomes of it."""

    name: str
    finding: Found
    is_found: bool  # the act is found by it
    is_false: bool


TABLE = [
    Row("a harmed job", finding(), True, False),
    Row("a job that only loaded it", finding(name="8"), True, False),
    Row("another attempt of the job", finding(submit_ms=T0 + DAY), False, True),
    Row("another job", finding(name="9"), False, True),
    Row("another pattern on a harmed job is true and finds nothing", finding(detector="p06_checkpoint_tamper"), False, False),
    Row("the host at the time", finding("host", "gpu-003", effect_time=T0 + DAY), True, False),
    Row("the host long after", finding("host", "gpu-003", effect_time=T0 + 3 * DAY), False, True),
    Row("another host", finding("host", "gpu-004"), False, True),
    Row("a cohort that cites the file", finding("cohort", "configuration/5f1c", cited=(f"{MODULE} written by u099",)), True, False),
    Row("a cohort that cites another", finding("cohort", "configuration/5f1c", cited=("/shared/env/b.py written by u099",)), False, True),
    Row("the actor", finding("identity", "u099", effect_time=T0 + 9 * DAY), True, False),
    Row("whose job it was", finding("identity", "u012"), True, False),
    Row("a bystander", finding("identity", "u044"), False, True),
    Row("the actor, for another reason, in the course of it", finding("identity", "u099", "p17_borrowed_account"), False, False),
    Row("a team, citing the file", finding("identity", "team:blue", cited=(f"{MODULE}, of others",)), True, False),
    Row("a team, citing another", finding("identity", "team:blue", cited=("/shared/env/b.py",)), False, True),
    Row("a team, for another reason", finding("identity", "team:blue", "p16_reads_diagnoses", cited=(MODULE,)), False, True),
    Row("a queue at the time", finding("cohort", "queue/gpu", effect_time=T0 + DAY), True, False),
    Row("a queue long after", finding("cohort", "queue/gpu", effect_time=T0 + 3 * DAY), False, True),
    Row("the actor, another day", finding("identity", "u099", "p17_borrowed_account", effect_time=T0 + DAY), False, True),
]  # fmt: skip


def truth(*acts: Act, look_alikes: tuple[LookAlike, ...] = ()) -> Truth:
    """A period."""
    return Truth(acts, look_alikes, ())


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_each_finding_is_about_the_act_or_false(row: Row) -> None:
    """By job and submit time, host and time, cited file, or identity."""
    said = match([row.finding], truth(act()))
    assert (row.finding in said.found["p04-001"], bool(said.false)) == (row.is_found, row.is_false)


def test_a_job_that_loaded_what_was_put_back_is_no_false_alert() -> None:
    """The last hand on the file is the actor's."""
    said = match([finding(name="9")], truth(act(after_revert=(harmed("9"),))))
    assert not said.false


def test_traces_that_fit_another_pattern_find_the_act() -> None:
    """A script is a module, too."""
    said = match([finding()], truth(act("p12", also=("p04",))))
    assert len(said.found["p12-001"]) == 1


@pytest.mark.parametrize(("actor", "wrong"), [("", False), ("u099", False), ("u012", True)])
def test_a_name_is_right_when_it_is_the_actors(actor: str, wrong: bool) -> None:
    """Of an act that the finding fits."""
    assert bool(match([finding(actor=actor)], truth(act())).named_wrongly) is wrong


def test_a_name_in_a_false_finding_is_wrong() -> None:
    """Whoever it is."""
    assert match([finding(name="9", actor="u099")], truth(act())).named_wrongly


LOOK_ALIKES = [
    (LookAlike("owner_rewinds", "u012", T0, job="9", submit_ms=T0), finding(name="9"), "owner_rewinds"),
    (LookAlike("capped_by_admin", "u101", T0, host="gpu-004"), finding("host", "gpu-004"), "capped_by_admin"),
    (LookAlike("capped_by_admin", "u101", T0 - 5 * DAY, host="gpu-004"), finding("host", "gpu-004"), OTHER),
    (LookAlike("roaming", "u044", T0), finding("identity", "u044"), "roaming"),
    (LookAlike("release", "u031", T0, artefact="/shared/b.py"), finding(name="9", cited=("/shared/b.py written",)), "release"),
    (LookAlike("release", "u031", T0, artefact="/shared/b.py"), finding(name="9", anchor="/shared/b.py"), "release"),
    (LookAlike("release", "u031", T0, artefact="/shared/b.py"), finding(name="9"), OTHER),
]


@pytest.mark.parametrize(("look_alike", "false", "kind"), LOOK_ALIKES)
def test_a_false_finding_is_told_by_what_it_fell_for(look_alike: LookAlike, false: Found, kind: str) -> None:
    """By job, by host or person at the time, by file."""
    ((found, fell_for),) = match([false], truth(look_alikes=(look_alike,))).false
    assert (found, kind_of(fell_for)) == (false, kind)


def test_of_several_look_alikes_one_of_the_pattern_is_meant() -> None:
    """The owner's own update of the job is not why a file that a colleague edited was taken for altered."""
    update = LookAlike("owner_updates", "u012", T0, job="9", submit_ms=T0, pattern="p12")
    edits = [LookAlike("harmless_edit", "u031", T0 - hours * HOUR, artefact="/shared/b.py", pattern="p04") for hours in (50, 2)]
    harmless = finding(name="9", detector="p04_environment_tamper", cited=("/shared/b.py written",))
    ((_, about),) = match([harmless], truth(look_alikes=(update, *edits))).harmless
    assert about is edits[1]


@pytest.mark.parametrize(("hours", "is_true"), [(1, True), (-1, False)])
def test_what_is_written_after_the_load_was_not_loaded(hours: int, *, is_true: bool) -> None:
    """The maintainer's release an hour after says nothing of it; that of an hour before lay there, and not the colleague's edit."""
    edit = LookAlike("harmless_edit", "u031", T0 - 9 * HOUR, artefact="/shared/b.py", pattern="p04")
    release = LookAlike("release", "u046", T0 + hours * HOUR, artefact="/shared/b.py", pattern="p04")
    of_edit = finding(name="9", actor="u031", cited=("/shared/b.py written",))
    matched = match([of_edit], truth(look_alikes=(edit, release)))
    assert [about for _, about in matched.harmless] == [edit] * is_true
    assert [about for _, about in matched.false] == [release] * (not is_true)
    assert matched.named_wrongly == [of_edit] * (not is_true)


EDIT = LookAlike("harmless_edit", "u031", T0, artefact="/shared/b.py", pattern="p04")
EDITED = ("/shared/b.py written",)
OF_AN_EDIT = [
    (finding(name="9", actor="u031", cited=EDITED), True),
    (finding(name="9", cited=EDITED), True),
    (finding(name="9", actor="u012", cited=EDITED), False),
    (finding(name="9", detector="p09_injected_delay", actor="u031", cited=EDITED), False),
]


@pytest.mark.parametrize(("about", "is_true"), OF_AN_EDIT)
def test_what_was_done_without_leave_and_harm_is_counted_apart(about: Found, *, is_true: bool) -> None:
    """That he edited the file is true; that somebody else did, or that he slowed a job, is false."""
    matched = match([about], truth(look_alikes=(EDIT,)))
    assert [each for each, _ in matched.harmless] == [about] * is_true
    assert [each for each, _ in matched.false] == [about] * (not is_true)
    assert matched.named_wrongly == ([] if is_true else [about])


def test_an_edit_without_harm_on_a_job_that_an_act_harmed_too() -> None:
    """It says what the editor did, and nothing of the act; without a name it may be about either, and counts for the act."""
    of_edit, withheld = (finding(actor=actor, cited=EDITED) for actor in ("u031", ""))
    matched = match([of_edit, withheld], Truth((act(),), (EDIT,), ()))
    assert [each for each, _ in matched.harmless] == [of_edit]
    assert [each for found in matched.found.values() for each in found] == [withheld]
    assert matched.named_wrongly == []


def test_a_job_that_another_act_brought_to_load_an_altered_file() -> None:
    """Whoever altered it is rightly named for that; a load from before is none of his."""
    altered = act("p06", artefacts=("/ckpt/5.pt",), exposed=(), times_ms=(T0 + HOUR,))
    loads = (Harmed("21", T0, "u012", T0 + 2 * HOUR, "/ckpt/5.pt"), Harmed("20", T0, "u012", T0, "/ckpt/5.pt"))
    removed = act("p08", actor="u050", artefacts=("/ckpt/6.pt",), victims=(), exposed=loads)
    named = [finding(name=job, detector="p06_checkpoint_tamper", actor="u099") for job in ("21", "20")]
    matched = match(named, Truth((altered, removed), (), ()))
    assert [each.job for each in matched.named_wrongly] == ["20"]
    assert [each.job for each in matched.found[altered.id]] == ["21"]
