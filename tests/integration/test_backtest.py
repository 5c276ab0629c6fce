"""History on the real servers: Kafka, files, and what ClickHouse keeps give the same findings; what a changed setting would change."""

import signal
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from click.testing import CliRunner, Result
from kafka import KafkaAdminClient, TopicPartition

from pipeline.cli import main
from pipeline.cli.analyse import run as analysed
from pipeline.cli.backtest import Runs
from pipeline.cli.simulate import write_run
from pipeline.runtime import replay
from pipeline.runtime.files import FileOptions, read_files
from pipeline.runtime.following import caught_up
from pipeline.runtime.history import ClickHouseHistory, KafkaHistory, Span
from pipeline.runtime.local import Results
from pipeline.settings import Settings
from pipeline.simulate import DEFAULT_START, TOPICS
from pipeline.simulate.cluster import simulate
from tests.cluster import PLAN, RAISED_MIN, period
from tests.integration.test_pipeline import Site, as_records, open_site
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.servers

ALL = Span(0, None)
SERVERS = ("kafka", "clickhouse", "embedded")
Said = tuple[dict[str, bytes], dict[str, bytes], dict[str, bytes]]  # canonical findings, verdicts and incidents


def said(results: Results) -> Said:
    """In memory."""
    return results.canonical_findings(), results.canonical_verdicts(), results.canonical_incidents()


def differing(one: Said, other: Said) -> dict[str, tuple[Any, Any]]:
    """Fields of bodies that are not the same, by id; whole bodies that only one has."""
    found: dict[str, tuple[Any, Any]] = {}
    for mine, theirs in zip(one, other, strict=True):
        for key in mine.keys() | theirs.keys():
            left, right = orjson.loads(mine.get(key, b"{}")), orjson.loads(theirs.get(key, b"{}"))
            found |= {f"{key} {name}": (left.get(name), right.get(name)) for name in {*left, *right} if left.get(name) != right.get(name)}
    return found


class Judged:
    """A simulated period that a worker has judged; its settings as a file, and `plain` those with the topics of the period's files."""

    def __init__(self, site: Site, plain: Settings, files: list[Path], folder: Path) -> None:
        self.site, self.plain, self.files = site, plain, files
        self.file = folder / "backtest.yaml"
        content = site.settings.model_dump(mode="json")
        content["clickhouse"]["password"] = ""
        self.file.write_text(yaml.safe_dump(content))

    def backtest(self, *arguments: str, since: str = "2020-01-01") -> Result:
        """The command, by default over all there is."""
        return CliRunner().invoke(main, ["--settings", str(self.file), "backtest", "--since", since, *arguments])

    def answer(self, *arguments: str, since: str = "2020-01-01") -> dict[str, Any]:
        """Its answer as an object."""
        result = self.backtest("--json", *arguments, since=since)
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = orjson.loads(result.stdout)
        return found

    def again(self, origin: str, span: Span = ALL) -> tuple[Said, list[str]]:
        """What a run over history says, and its gaps."""
        settings, runs = self.site.settings, Runs([self.site.settings])
        if origin == "clickhouse":
            history = ClickHouseHistory(self.site.database, settings.kafka, span)
            for batch in history.batches():
                runs.feed(batch.records)
            gaps = history.gaps
        else:
            with KafkaHistory(settings.kafka, span) as topics:
                for batch in topics.batches():
                    runs.feed(batch.records)
                gaps = topics.gaps
        (results,) = runs.finish()
        assert runs.otherwise == 0
        return said(results), gaps


@pytest.fixture
def judged(servers: Settings, tmp_path: Path) -> Iterator[Judged]:
    """Through a real worker, to the end."""
    with open_site(servers, tmp_path, period().settings) as site:
        folder = tmp_path / "files"
        write_run(simulate(PLAN), folder)
        replay.send(site.settings, as_records(period(), site.settings), final=True)
        worker = site.start()
        site.until(lambda: caught_up(site.settings, site.topology).done, "the end of the input")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE_SECONDS) == 0
        plain = Settings.model_validate({name: part for name, part in period().settings.items() if name not in SERVERS})
        yield Judged(site, plain, [folder / f"{topic}.jsonl" for topic in TOPICS], tmp_path)


def test_history_gives_what_the_worker_gave(judged: Judged) -> None:
    """Byte for byte: streaming, the files in memory, Kafka's history, ClickHouse's.  Then what a changed setting changes."""
    streamed, verdicts, incidents = (judged.site.canonical(f"{kind}_current") for kind in ("findings", "verdicts", "incidents"))
    detectors = Counter(orjson.loads(body)["detector"] for body in streamed.values())
    assert len(detectors) >= RAISED_MIN
    assert len(incidents) > 1
    of_files = analysed(judged.plain, read_files(judged.files, FileOptions(), judged.plain))
    assert differing((streamed, verdicts, incidents), said(of_files)) == {}
    for origin in ("kafka", "clickhouse"):
        again, gaps = judged.again(origin)
        assert (differing((streamed, verdicts, incidents), again), gaps) == ({}, []), origin

    for origin in ("kafka", "clickhouse"):
        found = judged.answer("--from", origin)
        assert (found["changes"], found["left_out"], found["gaps"]) == ([], [], []), origin
        assert {each["detector"]: (each["before"], each["after"]) for each in found["counts"]} == {
            name: (count, count) for name, count in detectors.items()
        }
        assert found["dead_letters"], origin
        assert found["history_begins"] is None

    _a_changed_window_drops_what_it_held(judged, detectors)
    _what_began_before_is_left_out(judged, streamed)
    _nothing_in_the_range(judged)
    _what_an_earlier_release_stored_is_named(judged)
    _what_kafka_has_deleted_is_named(judged)


def _a_changed_window_drops_what_it_held(judged: Judged, detectors: Counter[str]) -> None:
    changed = ("--set", "detect.kill_window_seconds=1", "--rule", "p01")
    found = judged.answer(*changed)
    assert {each["detector"] for each in found["changes"]} == {"p01_foreign_kill"}
    (count,) = found["counts"]
    assert count["before"] == detectors["p01_foreign_kill"]
    assert count["dropped"] + count["changed"] > 0
    result = judged.backtest(*changed, "--fail-on-difference")
    assert result.exit_code == 3
    for part in ("Findings that differ", "p01_foreign_kill", "they were not judged then either"):
        assert part in result.stdout


def _what_began_before_is_left_out(judged: Judged, streamed: dict[str, bytes]) -> None:
    """Read from a second before some effect, without warm-up: the finding on it is named, those behind are the same."""
    bodies = sorted((orjson.loads(body) for body in streamed.values()), key=lambda body: body["effect_time"])
    torn = bodies[len(bodies) // 2]
    since = torn["effect_time"] - 1000
    assert torn["cause_time"] < since
    for origin in ("kafka", "clickhouse"):
        moment = datetime.fromtimestamp(since / 1000, UTC).isoformat()
        found = judged.answer("--from", origin, "--warm-up", "0", since=moment)
        assert found["since"] == found["history_begins"] == since
        assert torn["id"] in {each["id"] for each in found["left_out"]}
        assert all(each["why"].startswith("history begins at 2026-03-0") for each in found["left_out"])
        assert found["changes"] == []
        assert found["counts"]


def _nothing_in_the_range(judged: Judged) -> None:
    for origin in ("kafka", "clickhouse"):
        result = judged.backtest("--from", origin, "--until", "2020-01-02")
        assert result.exit_code == 2
        assert "there are no records" in result.stderr


def _what_an_earlier_release_stored_is_named(judged: Judged) -> None:
    """Rows from before the columns were there."""
    database = judged.site.database
    database.command(f"ALTER TABLE {database.name}.events UPDATE file = '', file_offset = -1 WHERE file != '' SETTINGS mutations_sync = 1")
    (gap,) = judged.answer()["gaps"]
    assert "without their file" in gap


def _what_kafka_has_deleted_is_named(judged: Judged) -> None:
    """As by retention: where the rest begins, history begins."""
    settings = judged.site.settings.kafka
    topic = settings.scheduler_topics[0]
    admin: Any = KafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    try:
        admin.delete_records({TopicPartition(topic, 0): 50})
    finally:
        admin.close()
    found = judged.answer("--from", "kafka")
    (gap,) = found["gaps"]
    assert gap.startswith(f"{topic}/0: records below offset 50 are deleted; the first is of 2026-03-0")
    assert found["history_begins"] > DEFAULT_START.timestamp() * 1000
