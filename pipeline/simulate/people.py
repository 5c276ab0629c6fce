"""Who uses the cluster: members in teams, admins, a service, root; and how settings name them.

Everybody is invented: members are u001 and up with uid 5001 and up, admins u101 and u102.  Two members hold Slurm's operator
right, which lets them cancel other people's jobs without being admins of the site.
"""

import base64
from random import Random
from typing import Any, NamedTuple

TEAMS = ("language", "vision", "speech", "science")
ADMIN_GROUP = 6100
UNSET = 4294967295


class Person(NamedTuple):
    """An identity of the site."""

    id: str
    uid: int
    gid: int
    team: str
    role: str
    address: str
    fingerprint: str

    @property
    def login(self) -> str:
        return self.id

    def setting(self) -> dict[str, Any]:
        """This identity as settings declare it."""
        return {"id": self.id, "uid": self.uid, "login": self.login, "team": self.team, "role": self.role}


class People(NamedTuple):
    """All identities, by what they are."""

    members: tuple[Person, ...]
    operators: tuple[Person, ...]
    admins: tuple[Person, ...]
    service: Person
    root: Person

    def settings(self) -> list[dict[str, Any]]:
        """All identities as settings declare them."""
        return [person.setting() for person in (*self.members, *self.admins, self.service, self.root)]


def make_people(dice: Random, members: int) -> People:
    """A population of `members` members and the fixed others."""
    made = []
    for number in range(1, members + 1):
        team = (number - 1) % len(TEAMS)
        made.append(_person(dice, f"u{number:03d}", 5000 + number, 6001 + team, TEAMS[team], "member", number))
    admins = tuple(_person(dice, f"u{number}", 5000 + number, ADMIN_GROUP, "operations", "admin", number) for number in (101, 102))
    return People(
        members=tuple(made),
        operators=tuple(dice.sample(made, 2)),
        admins=admins,
        service=Person("ckpt-reshard", 990, 990, "", "service", "10.20.0.9", ""),
        root=Person("root", 0, 0, "", "admin", "10.20.0.10", ""),
    )


def _person(dice: Random, name: str, uid: int, gid: int, team: str, role: str, number: int) -> Person:
    fingerprint = base64.b64encode(dice.randbytes(32)).decode().rstrip("=")
    return Person(name, uid, gid, team, role, f"10.20.{1 + number // 200}.{number % 200 + 10}", fingerprint)
