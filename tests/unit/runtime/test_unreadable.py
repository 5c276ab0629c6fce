"""Sources that cannot be read any more, through all stages: what findings say of them, what people are told, and when a worker ends."""

import logging
from collections.abc import Iterable, Iterator

import orjson
import pytest

from pipeline.errors import SourcesFailing
from pipeline.ingest.feeds import LEARNT
from pipeline.model.outcome import Record
from pipeline.runtime.local import LocalRuntime
from pipeline.runtime.metrics import BY_NAME
from pipeline.runtime.sources import SourceWatch, require_read
from pipeline.runtime.standings import unreadable
from pipeline.sink.rows import UNREADABLE, refused
from tests import build
from tests.build import HOST, ms
from tests.scenario.lines import Line, Site, ship

LOG = logging.getLogger("test.unreadable")
HEARD = ("slurmctld", "auditd", "kernel")


def kill(unread: Iterable[float]) -> list[Record]:
    """A kill by somebody else at 97, with lines of the kernel that nobody can read at these seconds."""
    site = Site()
    lines = [*site.start(0), *site.rank(1), *site.kill(97), *site.rank_failed(98), *site.end(100, state="FAILED", signal=9)]
    lines += [line for at in range(-4_200, 7_200, 20) for line in site.hum(at, HEARD, (HOST,))]
    (file,) = {line.file for line in lines if line.source == "kernel"}
    lines += [Line(at, "access", HOST, "rsyslog", file, "v2|kernel|whatever comes next|") for at in unread]
    return list(ship(lines))


def judged(records: list[Record]) -> LocalRuntime:
    runtime = LocalRuntime(build.settings())
    for at in range(0, len(records), 50):
        runtime.feed(records[at : at + 50])
        runtime.checkpoint()
    return runtime


def told_of(records: list[Record]) -> tuple[dict[str, str], set[str], bool]:
    """Of the one finding: what was checked, what was not heard, whether anybody is alarmed."""
    (body,) = (orjson.loads(each) for each in judged(records).finish().canonical_findings().values())
    missing = {each for item in body["checklist"] for each in item["missing"]}
    return {item["name"]: item["answer"] for item in body["checklist"]}, missing, body["alert"]


def test_a_finding_says_that_a_source_was_not_heard_while_most_of_it_could_not_be_read() -> None:
    """Memory is not ruled out by a kernel log of which only a line now and then was read."""
    checklist, missing, alert = told_of(kill(at / 2 for at in range(400)))
    assert (checklist["out_of_memory"], missing, alert) == ("not_checked", {f"kernel on {HOST}"}, False)


def test_nor_is_anything_missing_where_a_few_lines_cannot_be_read() -> None:
    """As in any log; the finding is the same as without them."""
    assert told_of(kill(range(0, 200, 20))) == told_of(kill(()))
    checklist, missing, alert = told_of(kill(()))
    assert (checklist["out_of_memory"], missing, alert) == ("excluded", set(), True)


def test_it_is_a_gap_only_while_it_lasts() -> None:
    """What could not be read an hour before the kill makes no doubt of it."""
    assert told_of(kill(-4_000 + at / 2 for at in range(400))) == told_of(kill(()))


def test_people_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """By a gauge, by a line of the log when it begins and when it is over, at the end of `analyse`, and by rows of coverage."""
    records = kill(at / 2 for at in range(400))
    runtime = judged([record for record in records if record.timestamp < ms(210)])
    watch = SourceWatch(LOG)
    with caplog.at_level(logging.INFO, LOG.name):
        gauges = watch.look(runtime._parts.values(), (), 1_000.0)
        rows = unreadable(runtime._parts)
        runtime.feed(record for record in records if record.timestamp >= ms(210))
        runtime.checkpoint()
        after = watch.look(runtime._parts.values(), (), 2_000.0)
    assert gauges["trainwatch_source_hosts_unreadable"] == {("kernel",): 1}
    assert len(BY_NAME["trainwatch_source_hosts_unreadable"].labels) == 1
    assert "trainwatch_source_hosts_unreadable" not in after
    begun, over = (record.getMessage() for record in caplog.records)
    assert "kernel on gpu-001" in begun
    assert "read again" in over
    (row,) = rows
    assert (row.cluster, row.source, row.host, row.hour, row.unread) == ("main", "kernel", HOST, ms(0), 400)
    assert refused(UNREADABLE, rows) == []
    assert unreadable(runtime._parts) == []


# --- many at one time ---------------------------------------------------------------------------------------------------------------


def days_of(hosts: Iterable[str], broken: Iterable[str]) -> Iterator[Record]:
    """Audit logs of these hosts, some of which are written otherwise after a while."""
    for number, host in enumerate(hosts):
        for at in range(LEARNT + 30):
            known = at < LEARNT or host not in broken
            text = f"type=DAEMON_ROTATE msg=audit({ms(at) / 1000:.3f}:{at}): op=rotate-logs res=success" if known else "v2|audit|62"
            headers = [("host", host.encode()), ("file", b"/var/log/audit/audit.log"), ("collected", b"%d" % ms(at))]
            yield build.record(text, topic="logs.access", at=at, headers=headers, partition=number)


def fold(broken: int, healthy: int, partitions: int, hosts_min: int = 3) -> None:
    """As a worker does: asked after each batch."""
    hosts = [f"gpu-{number:03}" for number in range(broken + healthy)]
    runtime = LocalRuntime(build.settings(), partitions)
    for record in sorted(days_of(hosts, hosts[:broken]), key=lambda each: each.timestamp):
        runtime.feed([record])
        for part in runtime._parts.values():
            require_read(part, runtime._parts.values(), hosts_min)


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_worker_that_can_read_nothing_any_more_ends(partitions: int) -> None:
    """Whatever partitions the hosts are on; it says which hosts, and what to do."""
    with pytest.raises(SourcesFailing) as error:
        fold(3, 1, partitions)
    assert "3 hosts" in str(error.value)
    assert "gpu-000, gpu-001, gpu-002" in str(error.value)
    assert "ingest.failing_hosts: 0" in error.value.advice


@pytest.mark.parametrize(("broken", "healthy", "hosts_min"), [(2, 0, 3), (3, 4, 3), (4, 0, 0)])
def test_it_goes_on_where_that_may_be_one_authors_doing_or_is_wanted(broken: int, healthy: int, hosts_min: int) -> None:
    """Two hosts, a minority of hosts, or by its settings."""
    fold(broken, healthy, 1, hosts_min)
