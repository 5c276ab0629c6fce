"""`losses_once` on a real ClickHouse: incidents told one by one, and what they cost together, in which no hour stands twice."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any

import msgspec
import pytest

from pipeline.loss.claims import KINDS, Claim, Span, hang, invalid, lost_progress
from pipeline.loss.ledger import Staff, ledgers
from pipeline.loss.prices import READINGS, Price, Prices
from pipeline.model.incident import LossLine, Range
from pipeline.model.instants import HOUR_MS
from pipeline.model.told import Attempt
from pipeline.settings import Settings
from pipeline.sink import copied
from pipeline.sink.clickhouse import Database
from tests.unit.incidents.campaign import T0

pytestmark = pytest.mark.servers


def row(incident_id: str, place: int, line: LossLine) -> dict[str, Any]:
    """Of `loss_lines`."""
    hours = {f"gpu_hours_{reading}": getattr(line.gpu_hours, reading) for reading in READINGS}
    money = {f"money_{reading}": getattr(line.money, reading) for reading in READINGS}
    no_prices: list[Any] = []
    inputs = [(each.reading, moment(each.start), moment(each.end), each.share, each.elsewhere, no_prices) for each in line.inputs]
    where = {"incident_id": incident_id, "position": place, "attempt": line.attempt.name if line.attempt else "", "_version": 1}
    what = {"ledger": line.ledger, "kind": line.kind, "currency": line.currency, "gpus": line.gpus, "inputs": inputs}
    return where | what | hours | money


def moment(time: int | None) -> datetime | None:
    return None if time is None else datetime.fromtimestamp(time / 1000, UTC)


def store(database: Database, incidents: Mapping[str, Sequence[LossLine]], retracted: Collection[str] = ()) -> None:
    """Incidents of March that cost this; the first one is of the 2nd to the 4th, the next one a day later, and so on."""
    for day, (incident_id, lines) in enumerate(incidents.items(), 2):
        status = "retracted" if incident_id in retracted else "final"
        march = [datetime(2026, 3, each, tzinfo=UTC) for each in (day, day + 2)]
        state = {
            "incident_id": incident_id,
            "status": status,
            "_version": 1,
            "cluster": "main",
            "first_time": march[0],
            "last_time": march[1],
        }
        database.insert("incidents", {name: [value] for name, value in state.items()})
        rows = [row(incident_id, place, line) for place, line in enumerate(lines)]
        database.insert("loss_lines", {name: [each[name] for each in rows] for name in rows[0]})


def cost(database: Database) -> dict[tuple[str, str], tuple[list[str], list[float], list[float], int, int]]:
    """Ledger and attempt -> incidents, hours and money by reading, first and last day, as `losses_once` tells them."""
    hours, money = (", ".join(f"{what}_{reading}" for reading in READINGS) for what in ("gpu_hours", "money"))
    rows = database.query(
        f"SELECT ledger, attempt, arraySort(incidents), [{hours}], [{money}], toDayOfMonth(first_time), toDayOfMonth(last_time)"  # noqa: S608  own names
        f" FROM {database.name}.losses_once ORDER BY ledger, attempt, incidents"
    )
    return {(ledger, attempt or ",".join(incidents)): (incidents, *told) for ledger, attempt, incidents, *told in rows}


def test_hours_that_two_incidents_claim_count_once_in_their_sum(servers: Settings) -> None:
    """At each moment of an attempt the largest claim counts.  What stands by no attempt stands in full, what was taken back nowhere."""
    one, two, old = (Attempt("main", str(number), 0, 0) for number in (1, 2, 3))
    nodes = ("gpu-001",)
    prices = Prices([Price(since=0, currency="CNY", method="rent", gpu_hour=(1.0, 10.0, 100.0))])
    others = LossLine(ledger="direct", kind="others", attempt=None, gpu_hours=Range(3.0, 3.0, 3.0), money=Range(3.0, 30.0, 300.0),
                      currency="CNY", method="rent", formula="", note="", evidence=(), gpus=0, nodes=0, inputs=())  # fmt: skip
    before = msgspec.structs.replace(others, attempt=old, kind="invalid")
    spoilt = invalid(one, nodes, 8, loaded=T0 + 2 * HOUR_MS, end=T0 + 6 * HOUR_MS, diverged=True, evidence=["e"])
    killed = lost_progress(one, nodes, 8, saved=T0 + 5 * HOUR_MS, began=T0, failed=T0 + 7 * HOUR_MS, evidence=["e"])
    hung = hang(two, nodes, 8, last_step=T0, ended=T0 + HOUR_MS, evidence=["e"])
    staff = Staff(what="people", hours=(1.0, 2.0, 3.0), per_hour=(10.0, 10.0, 10.0), evidence=())
    gone = hang(one, nodes, 8, last_step=T0, ended=T0 + 99 * HOUR_MS, evidence=["e"])
    told = {
        "a": [*ledgers([spoilt], prices, 8, [staff]).lines, others, before],
        "b": [*ledgers([killed, hung], prices, 8).lines, others, before],
        "gone": ledgers([gone], prices, 8).lines,
    }
    with Database(servers.clickhouse) as database:
        copied.make(database)
        store(database, told, retracted={"gone"})
        found = cost(database)
    assert found == {
        ("direct", "a"): (["a"], [3, 3, 3], [3, 30, 300], 2, 4),
        ("direct", "b"): (["b"], [3, 3, 3], [3, 30, 300], 3, 5),
        ("direct", one.name): (["a", "b"], [40, 40, 40], [40, 400, 4000], 2, 5),  # 4 h and 2 h, one of which is the same: 5 h of 8 GPUs
        ("direct", two.name): (["b"], [8, 8, 8], [8, 80, 800], 3, 5),
        ("direct", old.name): (["a", "b"], [3, 3, 3], [3, 30, 300], 2, 5),  # a release before told no times
        ("indirect", "a"): (["a"], [0, 0, 0], [10, 20, 30], 2, 4),
    }


def test_incidents_cost_together_what_they_would_cost_as_one(servers: Settings) -> None:
    """Whatever they claim of an attempt: the view over both says what one ledger of all claims says."""
    dice, prices = Random(35), Prices([Price(since=0, currency="CNY", method="rent", gpu_hour=(12.0, 20.0, 50.0))])
    claimed: dict[str, list[Claim]] = {"a": [], "b": [], "c": []}
    for number in range(80):
        attempt, gpus = Attempt("main", str(number), 0, 0), dice.randrange(1, 9)
        for _ in range(dice.randrange(1, 6)):
            start, lengths, share = dice.randrange(20), sorted(dice.randrange(8) for _ in range(3)), dice.choice([0.25, 0.5, 1.0])
            low, middle, high = (Span(T0 + start * HOUR_MS, T0 + (start + each) * HOUR_MS, share) if each else None for each in lengths)
            node, kind = f"gpu-{number:03}", dice.choice(KINDS)
            claim = Claim(kind=kind, attempt=attempt, nodes=(node,), gpus=gpus, low=low, middle=middle, high=high, evidence=("e",))
            claimed[dice.choice("abc")].append(claim)
    together: dict[str, list[list[float]]] = {}
    for line in ledgers([claim for claims in claimed.values() for claim in claims], prices, 8).lines:
        assert line.attempt is not None
        so_far = together.setdefault(line.attempt.name, [[0.0] * 3, [0.0] * 3])
        for sums, told in zip(so_far, (line.gpu_hours, line.money), strict=True):
            sums[:] = [known + getattr(told, reading) for known, reading in zip(sums, READINGS, strict=True)]
    with Database(servers.clickhouse) as database:
        copied.make(database)
        store(database, {incident_id: ledgers(claims, prices, 8).lines for incident_id, claims in claimed.items()})
        found = {attempt: (hours, money) for (_, attempt), (_, hours, money, *_) in cost(database).items()}
    assert found.keys() == together.keys()
    for attempt_name, (hours, money) in found.items():
        assert [hours, money] == [pytest.approx(each, abs=0.01) for each in together[attempt_name]], attempt_name
