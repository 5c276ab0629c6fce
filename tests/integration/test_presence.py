"""`trainwatch incident presence` on a real ClickHouse: a design on record before anybody is looked at, everybody under labels."""

from datetime import UTC, datetime

import orjson
import pytest

from pipeline.model.incident import label_of
from pipeline.settings import IdentitySettings, PrivacySettings, Settings
from pipeline.sink.clickhouse import Database
from pipeline.sink.evidence import custody
from tests.integration.test_incident import Site
from tests.unit.incidents.campaign import CLUSTER, T0

pytestmark = pytest.mark.servers
HOUR = 3_600_000


def test_presence_of_everybody_is_held_against_all_ends(servers: Settings) -> None:
    """One was about at the bad ends alone, one at all; what is said of them is a chance, and no name is."""
    site = Site(servers)
    times = [T0 + hour * HOUR for hour in range(1, 200)]
    with Database(servers.clickhouse) as database:
        database.insert(
            "verdicts",
            {
                "end_time": [_moment(time) for time in times],
                "verdict_id": [f"v{time}" for time in times],
                "attempt": [f"a{time}" for time in times],
                "cluster": [CLUSTER] * len(times),
                "owner": ["u012"] * len(times),
                "verdict": ["benign" if number % 4 else "unexplained" for number in range(len(times))],
                "status": ["final"] * len(times),
                "_version": [1] * len(times),
            },
        )
        about = [(time, who) for number, time in enumerate(times) for who in ("u060", *(() if number % 4 else ("u050",)))]
        database.insert(
            "events",
            {
                "ts": [_moment(time + 60_000) for time, _ in about],
                "cluster": [CLUSTER] * len(about),
                "source": ["sshd"] * len(about),
                "actor": [who for _, who in about],
                "event_id": [f"e{time}{who}" for time, who in about],
            },
        )
        result = site.run("presence", site.ids[-1], "--json")
        found = orjson.loads(result.output.strip().splitlines()[-1])
        log = custody(database, found["incident"])
    labels = {who: label_of(CLUSTER, who) for who in ("u050", "u060")}
    first, second = found["people"]
    assert (found["attempts"], found["bad"]) == (199, 50)
    assert (first["who"], first["ended"], first["bad"]) == (labels["u050"], 50, 50)
    assert first["chance"] < 1e-9
    assert (second["who"], second["ended"], second["chance"]) == (labels["u060"], 199, pytest.approx(1.0))
    assert "u050" not in result.output
    assert any(found["design"] in entry.detail for entry in log)
    assert "Presence proves nothing" in site.run("presence", site.ids[-1]).output


def _moment(time: int) -> datetime:
    return datetime.fromtimestamp(time / 1000, UTC)


def test_teams_are_compared_under_pseudonyms_too(servers: Settings) -> None:
    """The design is the same whatever owners are called: who shares a team is what matters."""
    people = tuple(IdentitySettings(id=who, login=who, team="red") for who in ("u012", "u013"))
    plain = servers.model_copy(update={"identities": people})
    privacy = PrivacySettings.model_validate({"pseudonyms": True, "key": "a key for tests alone"})
    hidden = plain.model_copy(update={"privacy": privacy})
    site, designs = Site(plain), []
    for each in (plain, hidden):
        pseudonyms, times = each.veil().pseudonyms, [T0 + hour * HOUR for hour in range(1, 20)]
        owners = [people[number % 2].id for number in range(len(times))]
        with Database(servers.clickhouse) as database:
            database.command(f"TRUNCATE TABLE {database.name}.verdicts")
            database.insert(
                "verdicts",
                {
                    "end_time": [_moment(time) for time in times],
                    "verdict_id": [f"v{time}" for time in times],
                    "attempt": [f"a{time}" for time in times],
                    "cluster": [CLUSTER] * len(times),
                    "owner": [pseudonyms.name(owner) if pseudonyms else owner for owner in owners],
                    "verdict": ["benign"] * len(times),
                    "status": ["final"] * len(times),
                    "_version": [1] * len(times),
                },
            )
        site.options.__dict__["settings"] = each
        designs.append(orjson.loads(site.run("presence", site.ids[-1], "--json").output.strip().splitlines()[-1])["design"])
    assert designs[0] == designs[1]
