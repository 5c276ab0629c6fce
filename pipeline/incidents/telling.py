"""A finding's actor and the incidents that list the finding in; whom people are told, and why nobody, out.

A finding's `actor` is the account that its records name; whether its holder acted is weighed by the incident, over all findings of one
cause and with what is known of logins and borrowed accounts.  So people are told a name only where an incident that lists the finding
names that very person.  Bodies on topics, in tables and in bundles stay as they are.

Holds: the same as the view `findings_told` says of what is stored (tests/integration/test_told.py).
"""

from collections.abc import Iterable, Mapping
from typing import Any

SOMEBODY_ELSE = "its incident names somebody else"
NOBODY_YET = "no incident names anybody for it yet"


def told(actor: str, withheld: str, incidents: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """(who, why nobody) of a finding; of incidents that list it whom they name, and why nobody."""
    said = [*incidents]
    if actor and any(named == actor for named, _ in said):
        return actor, ""
    reasons = sorted(why for named, why in said if not named)
    return "", withheld or (reasons[0] if reasons else SOMEBODY_ELSE if said else NOBODY_YET)


def told_bodies(findings: Iterable[Mapping[str, Any]], incidents: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Canonical bodies of findings as people are told them; incidents as canonical bodies, too."""
    listing: dict[str, list[tuple[str, str]]] = {}
    for incident in incidents:
        if incident["status"] != "retracted":
            said = incident["attribution"]
            for name in (*(each["finding"] for each in incident["members"]), *(each[0] for each in incident["others"])):
                listing.setdefault(name, []).append((said["named"], said["withheld"]))
    found = []
    for body in findings:
        actor, withheld = told(body["actor"], body["actor_withheld"], listing.get(body["id"], ()))
        found.append({**body, "actor": actor, "actor_withheld": withheld})
    return found
