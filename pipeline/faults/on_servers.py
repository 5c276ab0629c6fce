"""What is done to broker and ClickHouse: killed and brought back, slow, silent, refusing, and answering to nobody; and several at once.

Workers reach ClickHouse through a proxy where the network is the fault; refusals are the server's own, by its own settings.
"""

import signal
from collections.abc import Callable, Mapping

from pipeline.faults import state_v1
from pipeline.faults.on_input import delete_unread
from pipeline.faults.run import Run
from pipeline.faults.servers import CLICKHOUSE, KAFKA

IMPATIENT = {"clickhouse": {"timeout_seconds": 1.5}}  # a worker that gives up before a late answer comes
TABLES = ("events", "sink_ranges", "enriched_events", "verdicts", "findings")


def kill_clickhouse(run: Run) -> None:
    """ClickHouse is killed or stopped under load, and back after a while; the worker stays, or dies meanwhile."""
    worker = run.start()
    for number in (1, 2):
        run.feed.allow(number / 2)
        run.folds(worker)
        run.servers.end(CLICKHOUSE, run.dice.choice((signal.SIGKILL, signal.SIGTERM)))
        run.seen["killed"] += 1
        run.pause(0.5, 3.0)
        if number == 2 and run.dice.random() < 0.5:
            run.kill(worker)
        run.servers.up()


def kill_broker(run: Run) -> None:
    """SIGKILL of the broker under load, back after a while.  Workers may end, and are started again."""
    worker = run.start()
    run.folds(worker)
    run.pause(0.0, 1.0)
    run.servers.end(KAFKA)
    run.seen["killed"] += 1
    run.pause(0.0, 2.0)
    run.servers.up()


def slow_answers(run: Run) -> None:
    """Every answer of ClickHouse waits a while."""
    worker = run.start()
    run.folds(worker)
    run.through.set("slow", run.dice.uniform(0.1, 0.4))
    run.feed.allow(0.9)
    run.pause(3.0, 5.0)
    run.through.set("pass")


def silent_clickhouse(run: Run) -> None:
    """Connections are accepted, and nothing is ever said, until the worker has given up some times."""
    worker = run.start()
    run.folds(worker)
    run.through.set("silent")
    run.feed.allow(0.9)
    run.until(lambda: run.retries() >= run.dice.randint(1, 2), "a retry", of=worker)
    run.through.set("pass")


def refused_connections(run: Run) -> None:
    """Open connections are cut, new ones refused."""
    worker = run.start()
    run.folds(worker)
    run.through.set("refuse")
    run.through.cut()
    run.feed.allow(0.9)
    run.until(lambda: run.retries() >= 1, "a retry", of=worker)
    run.pause(0.0, 2.0)
    run.through.set("pass")


def lost_answers(run: Run) -> None:
    """Inserts land, but their answers are swallowed and the connection is cut; the worker repeats them, or dies and another does."""
    worker = run.start()
    run.folds(worker)
    for number in range(1, 4):
        before = run.through.touched
        run.through.set("lost")
        run.feed.allow(0.2 + number / 4)
        run.until(lambda before=before: run.through.touched > before, "a swallowed answer", of=worker)  # type: ignore[misc]
        if run.dice.random() < 0.4:
            run.kill(worker)
            worker = run.start()
        run.through.set("pass")
        run.feed.allow(0.25 + number / 4)  # or all may be folded by now, and nothing more come
        run.folds(worker)


def late_answers(run: Run) -> None:
    """Inserts land, but their answers come when the worker has given up and tried again."""
    worker = run.start()
    run.folds(worker)
    run.through.set("late", 2.5)
    run.feed.allow(0.9)
    run.until(lambda: run.retries() >= 1, "a retry", of=worker)
    if run.dice.random() < 0.5:
        run.stop(worker)
    run.through.set("pass")


def too_many_parts(run: Run) -> None:
    """ClickHouse refuses inserts since a table has too many parts: its own setting, lowered for a while."""
    worker = run.start()
    run.folds(worker)
    run.until(lambda: bool(run.site.database.query("SELECT 1 FROM {db}.events LIMIT 1")), "the first rows", of=worker)
    table = run.dice.choice(("events", "sink_ranges"))
    _alter(run, table, "MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 0")
    run.feed.allow(0.9)
    run.until(lambda: run.retries() >= run.dice.randint(1, 2), "a retry", of=worker)
    _alter(run, table, "RESET SETTING parts_to_throw_insert, parts_to_delay_insert")


def short_of_memory(run: Run) -> None:
    """ClickHouse refuses inserts since they need more memory than they may have: its own limit, given with the insert."""
    starving = run.site.folder / "starving"
    worker = run.start(starving=str(starving))
    run.folds(worker)
    starving.touch()
    run.feed.allow(0.9)
    run.until(lambda: "MEMORY_LIMIT" in worker.log() or "memory limit" in worker.log().lower(), "a refusal", of=worker)
    run.seen["refused"] += 1
    run.pause(0.0, 2.0)
    starving.unlink()


DEEDS = 6


def mixed(run: Run) -> None:
    """One deed after the other, each while the one before may still have its effect."""
    worker = run.start()
    run.folds(worker)
    for number in range(1, DEEDS + 1):
        run.feed.allow(0.2 + 0.7 * number / DEEDS)
        run.through.set(run.dice.choice(("pass", "lost", "slow", "refuse")), run.dice.uniform(0.1, 0.3))
        if run.dice.random() < 0.3:
            run.through.cut()
        run.pause(0.3, 1.5)
        if run.dice.random() < 0.6:
            run.kill(worker)
            run.through.set(run.dice.choice(("pass", "lost", "slow")), 0.1)
            worker = run.start()
        run.pause(0.3, 1.5)
        run.seen["deeds"] += 1
    run.through.set("pass")


# --- several at once

BESIDE = ("broker", "retention", "older state")
TROUBLES = ("killed", "lost", "slow", "refuse", "parts")
KILLED_SECONDS, TROUBLED_SECONDS = (1.5, 3.0), (0.0, 2.0)
SHOWS: Mapping[str, Callable[[Run], bool]] = {  # that each of those that were drawn has bitten
    "broker": lambda run: "KafkaConnectionError" in run.site.logs(),
    "retention": lambda run: bool(run.gone),
    "older state": lambda run: run.seen["facts"] > 0,
    "killed": lambda run: run.retries() > 0,
    "lost": lambda run: run.through.touched > 0 and run.retries() > 0,
    "slow": lambda run: run.through.touched > 5,
    "refuse": lambda run: run.retries() > 0,
    "parts": lambda run: run.retries() > 0,
}


def several(run: Run) -> None:
    """One or two of BESIDE together with a trouble of ClickHouse, as drawn; the trouble has bitten when the broker ends, and outlasts it.

    A broker that is killed forgets what was deleted on request in the last minute: it notes the start of its log so often.  So where
    something was deleted it is stopped in order.
    """
    beside, trouble = run.dice.sample(BESIDE, run.dice.choice((1, 2))), run.dice.choice(TROUBLES)
    run.seen.update([*beside, trouble])
    worker = run.start()
    run.folds(worker, 4)
    run.pause(0.3, 1.0)
    if {"retention", "older state"} & set(beside):
        run.stop(worker)
        run.feed.allow(0.7)
        run.until(lambda: run.feed.sent >= 0.69 * len(run.fed), "the input")
        if "retention" in beside:
            delete_unread(run)
        if "older state" in beside:
            run.seen["facts"] = state_v1.rewrite(run.site.settings, run.site.topology)
        worker = run.start()
        run.takes_over(worker)
    _begin(run, trouble)
    run.feed.allow(0.95)
    run.until(lambda: SHOWS[trouble](run), trouble, of=worker)
    if "broker" in beside:
        run.servers.end(KAFKA, signal.SIGKILL if len(beside) == 1 else signal.SIGTERM)
        run.pause(*KILLED_SECONDS)
    run.pause(*TROUBLED_SECONDS)
    if worker.alive and run.dice.random() < 0.5:
        run.kill(worker)
    run.servers.up()  # all that is dead
    _end(run, trouble)


def bitten(run: Run) -> bool:
    """Every one that was drawn."""
    return all(shows(run) for name, shows in SHOWS.items() if run.seen[name])


def _begin(run: Run, trouble: str) -> None:
    if trouble == "killed":
        run.servers.end(CLICKHOUSE)
    elif trouble == "parts":
        run.until(lambda: bool(run.site.database.query("SELECT 1 FROM {db}.events LIMIT 1")), "the first rows")
        _alter(run, "events", "MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 0")
    else:
        run.through.set(trouble, run.dice.uniform(0.1, 0.4))
        if trouble == "refuse":
            run.through.cut()


def _end(run: Run, trouble: str) -> None:
    if trouble == "parts":
        _alter(run, "events", "RESET SETTING parts_to_throw_insert, parts_to_delay_insert")
    run.through.set("pass")


def _alter(run: Run, table: str, what: str) -> None:
    run.site.database.command(f"ALTER TABLE {run.site.settings.clickhouse.database}.{table} {what}")
