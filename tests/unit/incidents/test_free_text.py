"""What people write of an incident: candidates who are not named stand in it under their labels, others as they were called."""

import pytest

from pipeline.incidents.free_text import FreeText, untold
from pipeline.model.identity import Directory, Identity
from pipeline.model.incident import label_of
from pipeline.model.privacy import Pseudonyms, Veil
from tests.unit.incidents.campaign import CLUSTER, kill
from tests.unit.incidents.reports import report

KEY = b"of the site"
PEOPLE = (
    Identity(id="u099", uid=5017, login="zhsan", names=(("git", "zh.san"),)),
    Identity(id="u012", uid=5012, login="u012"),
    Identity(id="u0991", login="u0991"),
)
OPEN = Veil(None)
WITHHELD, NAMED = report([kill(0, "1", "u099")]).incident, report().incident
LABEL = label_of(CLUSTER, "u099")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("we asked u099 about it", f"we asked {LABEL} about it"),
        ("Zhsan says: not me", f"{LABEL} says: not me"),
        ("mail to zh.san@example.org, files in /home/zhsan/run", f"mail to {LABEL}@example.org, files in /home/{LABEL}/run"),
        ("it was uid 5017, or user=5017; job 5017 is another", f"it was uid {LABEL}, or user={LABEL}; job 5017 is another"),
        ("u0991 and u012 saw nothing of u099.", f"u0991 and u012 saw nothing of {LABEL}."),
        ("", ""),
    ],
)
def test_who_is_not_named_stands_under_a_label(text: str, shown: str) -> None:
    """Whatever he is called, and nobody else; numbers that are no uid stay."""
    assert FreeText(WITHHELD, Directory(PEOPLE), OPEN)(text) == shown


def test_an_account_that_no_map_knows_is_found_by_its_label() -> None:
    """The map is empty: every word is held against the labels."""
    assert FreeText(WITHHELD, Directory(), OPEN)("ask u099, u012.") == f"ask {LABEL}, u012."


@pytest.mark.parametrize(
    ("who", "text"),
    [
        ("login:zhsan", "ask zhsan, who is zhsan@gpu-012."),
        ("login:zhsan", "that is login:zhsan"),
        ("login:zhsan", "Zhsan did it"),
        ("kubernetes:zhsan@example.org", "said zhsan@example.org: no"),
        ("u099", "user:u099, from=u099, u099:x"),
    ],
)
def test_an_account_that_no_map_knows_is_found_by_what_logs_call_it(who: str, text: str) -> None:
    """Its id begins with the kind of its name, which nobody writes in a note."""
    incident = report([kill(0, "1", who)]).incident
    said, label = FreeText(incident, Directory(), OPEN)(text), label_of(CLUSTER, who)
    assert (label in said, who.rpartition(":")[2] in said.lower()) == (True, False)


def test_who_is_named_is_called_so() -> None:
    """Nothing of him is withheld."""
    assert FreeText(NAMED, Directory(PEOPLE), OPEN)("u099 and zhsan are one") == "u099 and zhsan are one"


def test_names_that_people_type_are_told_as_pseudonyms() -> None:
    """A note would tell everybody who is behind one; a candidate has his label, too."""
    pseudonyms = Pseudonyms(KEY, ["u012", "u099", "zhsan"], [])
    incident = report([kill(0, "1", pseudonyms.name("u099"))]).incident
    said = FreeText(incident, Directory(PEOPLE), Veil(pseudonyms))
    label = label_of(CLUSTER, pseudonyms.name("u099"))
    assert said("u099 (zhsan) worked with u012; also " + pseudonyms.name("u099")) == (
        f"{label} ({label}) worked with {pseudonyms.name('u012')}; also {label}"
    )


def test_an_account_that_no_map_knows_is_found_under_its_pseudonym() -> None:
    """Ingest tells `login:p-...` of it; people type the login."""
    pseudonyms = Pseudonyms(KEY, ["u012"], [])
    who = f"login:{pseudonyms.name('zhsan')}"
    said = FreeText(report([kill(0, "1", who)]).incident, Directory(), Veil(pseudonyms))
    assert said(f"ask zhsan, who is {pseudonyms.name('zhsan')}") == "ask {0}, who is {0}".format(label_of(CLUSTER, who))


def test_without_the_key_nobody_of_the_map_is_told() -> None:
    """Whether a name is withheld only the key tells; what was said stands."""
    assert untold("u099 was on leave, says u012.", PEOPLE, "not told") == "not told was on leave, says not told."
    assert untold("uid 5017 did it, in job 5017", PEOPLE, "not told") == "uid not told did it, in job 5017"
