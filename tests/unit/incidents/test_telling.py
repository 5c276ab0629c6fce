"""Whom people are told of a finding."""

from typing import Any

import msgspec
import pytest

from pipeline.incidents.telling import NOBODY_YET, SOMEBODY_ELSE, told, told_bodies
from pipeline.model.incident import Other


@pytest.mark.parametrize(
    ("actor", "withheld", "incidents", "expected"),
    [
        ("u017", "", [], ("", NOBODY_YET)),
        ("u017", "", [("u017", "")], ("u017", "")),
        ("u017", "", [("", "one source"), ("u017", "")], ("u017", "")),
        ("u017", "", [("", "one source")], ("", "one source")),
        ("u017", "", [("u099", "")], ("", SOMEBODY_ELSE)),
        ("", "account may be borrowed", [("u099", "")], ("", "account may be borrowed")),
        ("", "account may be borrowed", [("", "nobody did it")], ("", "account may be borrowed")),
    ],
)
def test_a_name_is_told_where_an_incident_names_that_very_person(
    actor: str, withheld: str, incidents: list[tuple[str, str]], expected: tuple[str, str]
) -> None:
    """Otherwise why not: what the finding lacks, else what its incidents say."""
    assert told(actor, withheld, incidents) == expected


@pytest.mark.parametrize(("status", "actor"), [("final", "u017"), ("provisional", "u017"), ("retracted", "")])
def test_a_finding_of_a_large_incident_stands_among_others(status: str, actor: str) -> None:
    """By its id alone; an incident that was taken back names nobody."""
    (other,) = msgspec.to_builtins((Other("f1", 0, 1_773_187_201_000, alert=True),))  # as a canonical body holds it: an array
    incident = {"status": status, "members": [], "others": [other], "attribution": {"named": "u017", "withheld": ""}}
    body: dict[str, Any] = {"id": "f1", "actor": "u017", "actor_withheld": "", "summary": "harmed"}
    (found,) = told_bodies([body], [incident])
    assert found["actor"] == actor
    assert (found["summary"], body["actor"]) == ("harmed", "u017")
