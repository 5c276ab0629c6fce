"""`trainwatch incident`: what a terminal shows, who wrote into the journal, and that log content does not act there."""

import io
import os
import pwd
from pathlib import Path

from click.testing import CliRunner
from rich.console import Console

from pipeline.cli import main
from pipeline.cli.incident import operator, print_report
from pipeline.cli.incident_read import UNTOLD, told_journal
from pipeline.incidents.report import Entry, Report
from pipeline.model.incident import label_of
from pipeline.settings import IdentitySettings, PrivacySettings
from tests import build
from tests.unit.incidents.campaign import CLUSTER, kill
from tests.unit.incidents.reports import hostile, report


def shown(made: Report) -> str:
    page = io.StringIO()
    print_report(Console(file=page, width=220, highlight=False, emoji=False), made)
    return page.getvalue()


def test_a_named_candidate_is_shown_with_the_second_best() -> None:
    """And with what people did."""
    text = shown(report())
    assert "named: u099" in text
    assert "leading: u099; next: u099, account in others' hands" in text
    assert "reply u099 I was on leave." in text
    assert "state open, assigned to -" in text


def test_a_withheld_name_says_why() -> None:
    """Where the name would stand."""
    text = shown(report([kill(0, "1", "u099")], journal=()))
    assert "no name: of who acted: only one independent source" in text
    assert "u099" not in text


def test_findings_have_ids() -> None:
    """With which `finding show` tells the rest; of one about an account there is no job to ask for."""
    made = report()
    page = shown(made)
    assert [each.finding for each in made.incident.members if each.finding[:12] not in page] == []


def test_what_people_cleared_stands_beside_whoever_is_named() -> None:
    """At the top and at the finding: the pipeline names on, and whoever looks next must not accuse anew.  The newest word counts."""
    finding = report().incident.members[0].finding[:12]
    said = ((1, f"{finding} true"), (3, f"{finding} benign because admin_ticket"), (2, f"{finding} false"))
    text = shown(report(journal=tuple(Entry(at=at, operator="op", action="label", value=value, text="") for at, value in said)))
    assert "people labelled 1 of 3 findings false or benign, 1 of the 3 above the gate (last op, 1970-01-01 00:00Z)" in text
    assert "alert; labelled benign" in text
    assert "labelled" not in shown(report())
    own = Entry(at=4, operator="u099@gpu-012", action="label", value=f"{finding} false", text="")
    text = shown(report(journal=(own,)))
    assert "candidates themselves labelled 1 of 3 findings false or benign, which is not counted" in text
    assert "; labelled false" not in text


def test_the_newest_entry_is_the_state() -> None:
    """Older ones stay in the journal."""
    entries = tuple(Entry(at=at, operator="op", action="status", value=value, text="") for at, value in ((1, "contained"), (2, "closed")))
    text = shown(report(journal=entries))
    assert "state closed" in text
    assert "status contained" in text


def test_hostile_text_does_not_act_on_a_terminal() -> None:
    """No control characters reach it."""
    assert not {"\x1b", "\u202e"} & set(shown(hostile()))


def test_the_operator_is_the_system_user() -> None:
    """With what the settings state beside it."""
    user = pwd.getpwuid(os.getuid()).pw_name
    assert operator(build.settings()) == user
    assert operator(build.settings(operator="night shift")) == f"{user} (night shift)"


WORDS = (
    Entry(at=1, operator="op", action="note", value="", text="asked u099; u012 was there"),
    Entry(at=2, operator="op", action="reply", value="counsel of u099", text="u099 was on leave."),
    Entry(at=3, operator="op", action="status", value="contained", text="u099 is locked out"),
    Entry(at=4, operator="op", action="label", value="0123456789ab false", text="u099 only looked"),
)


def test_what_people_write_tells_no_name_that_is_withheld() -> None:
    """Notes, reasons, replies and labels; a name that is given stands."""
    withheld, label = report([kill(0, "1", "u099")]).incident, label_of(CLUSTER, "u099")
    shown = told_journal(build.settings(), withheld, WORDS)
    assert [(each.value, each.text) for each in shown] == [
        ("", f"asked {label}; u012 was there"), (f"counsel of {label}", f"{label} was on leave."), ("contained", f"{label} is locked out"),
        ("0123456789ab false", f"{label} only looked"),
    ]  # fmt: skip
    assert told_journal(build.settings(), report().incident, WORDS) == WORDS


def test_without_the_key_what_people_write_tells_nobody_of_the_map(tmp_path: Path) -> None:
    """Nor who replied."""
    settings = build.settings(privacy=PrivacySettings(pseudonyms=True, key_file=tmp_path / "none"))
    shown = told_journal(settings, report([kill(0, "1", "u099")]).incident, WORDS)
    assert [each.value for each in shown[:2]] == ["", UNTOLD]
    assert [each.text for each in shown[:2]] == [f"asked {UNTOLD}; {UNTOLD} was there", f"{UNTOLD} was on leave."]


def test_every_word_explains_itself() -> None:
    """Without servers or settings."""
    for word in ("list", "show", "report", "rumour", "status", "assign", "note", "reply"):
        result = CliRunner().invoke(main, ["incident", word, "--help"])
        assert result.exit_code == 0, result.output


def test_a_candidate_writes_under_his_label() -> None:
    """Whoever is not named may have the right to label: the journal told his name, and his word counted like another's."""
    made = report([kill(0, "1", "u099", actor="", actor_withheld="only one independent source: kernel audit")])
    settings, finding = build.settings(), made.incident.members[0].finding[:12]
    label = label_of(CLUSTER, "u099", settings.directory().key)
    words = [Entry(at=1, operator=f"{who}@ops-1", action="label", value=f"{finding} false", text="u099 says") for who in ("u099", "op")]
    words += [Entry(at=2, operator="op@ops-1", action="assign", value="u099", text="")]
    told = told_journal(settings, made.incident, words)
    assert [each.operator for each in told] == [f"{label}@ops-1", "op@ops-1", "op@ops-1"]
    assert told[2].value == label
    assert not any("u099" in text for each in told for text in (each.operator, each.value, each.text))
    cleared = report(journal=told[:1], incident=made.incident).dismissed
    assert (cleared.findings, cleared.by_candidates) == (0, 1)


def test_a_candidate_is_known_by_his_login() -> None:
    """Most sites call a person otherwise than the login; of a login that the map does not know the incident has an id of its own."""
    people = (IdentitySettings(id="p-7", uid=2099, login="colleague"), IdentitySettings(id="p-8", uid=2012, login="owner"))
    settings = build.settings(identities=people)
    for actor, login in (("p-7", "colleague"), ("login:guest", "guest")):
        for withheld in ("", "only one independent source: kernel audit"):
            finding = kill(0, "1", actor) if not withheld else kill(0, "1", actor, actor="", actor_withheld=withheld)
            made = report([finding])
            id_ = made.incident.members[0].finding[:12]
            operators = (f"{login}@ops-1", f"{login} through trainwatch.labels.v1", f"root@ops-1 for {login}", "root@ops-1 for owner")
            words = [Entry(at=1, operator=who, action="label", value=f"{id_} false", text="") for who in operators]
            told = told_journal(settings, made.incident, words)
            *own, others = (report(journal=[each], incident=made.incident).dismissed for each in told)
            assert [(each.findings, each.by_candidates) for each in own] == [(0, 1)] * 3, (actor, withheld)
            assert (others.findings, others.by_candidates) == (1, 0), (actor, withheld)
