"""Several clusters in one pipeline: jobs, hosts and files of the same names are not mixed up.

logs of cluster a ──┐
                    ├─► one pipeline ──► what is said of a  ==  what a pipeline of its own says of a
logs of cluster b ──┘
"""

from collections.abc import Sequence
from functools import cache
from heapq import merge
from operator import attrgetter
from typing import Any

import msgspec
import orjson
import pytest

from pipeline.model.outcome import Record
from pipeline.runtime.local import LocalRuntime
from pipeline.settings import Settings
from pipeline.simulate import Scale, Week, simulate

PARTITIONS = 2
SMALL = Scale(gpu_hosts=2, members=6, jobs_per_day=12.0, acts_per_kind=(1, 1), broken_values=20)
WEEKS = {"a": simulate(3, 1.0, scale=SMALL), "b": simulate(5, 1.0, scale=SMALL)}
FAMILIES = ("training", "scheduler", "access")


def settings_of(*clusters: str) -> Settings:
    """Topics of these clusters, and their sources; people and tickets are the site's."""
    content: dict[str, Any] = {**WEEKS["a"].settings}
    content["tickets"] = [ticket for week in WEEKS.values() for ticket in week.settings["tickets"]]
    content["sources"] = [
        {**source, "cluster": name, "topic": f"{name}.{source['topic']}"} for name in clusters for source in WEEKS[name].settings["sources"]
    ]
    content["kafka"] = {f"{family}_topics": [f"{name}.logs.{family}" for name in clusters] for family in FAMILIES}
    return Settings.model_validate(content)


def records_of(name: str, week: Week) -> list[Record]:
    """As shipped, on the topics of a cluster."""
    return [
        Record(
            topic=f"{name}.{each.topic}",
            partition=number % PARTITIONS,
            offset=number,
            timestamp=each.timestamp,
            value=each.value,
            key=each.key,
            headers=each.headers,
        )
        for number, each in enumerate(week.records)
    ]


def settings_of_one_topic() -> Settings:
    """Topics that the clusters share: a header says whose a record is."""
    content = settings_of("a", "b").model_dump()
    for source in content["sources"]:
        source["topic"], source["cluster_header"] = source["topic"].split(".", 1)[1], "cluster"
    content["kafka"] |= {f"{family}_topics": [f"logs.{family}"] for family in FAMILIES}
    return Settings.model_validate(content)


def labelled(name: str, records: Sequence[Record]) -> list[Record]:
    """On the shared topics, as the shippers of a cluster send them there."""
    return [
        msgspec.structs.replace(each, topic=each.topic.split(".", 1)[1], headers=(*each.headers, ("cluster", name.encode())))
        for each in records
    ]


def said(records: Sequence[Record], settings: Settings) -> dict[str, bytes]:
    """Findings and verdicts on jobs."""
    runtime = LocalRuntime(settings, PARTITIONS)
    for at in range(0, len(records), 500):
        runtime.feed(records[at : at + 500])
        runtime.checkpoint()
    results = runtime.finish()
    return {**results.canonical_findings(), **results.canonical_verdicts()}


def cluster_of(body: bytes) -> str:
    return str(orjson.loads(body)["attempt"][0])


@cache
def alone(name: str) -> dict[str, bytes]:
    """What a pipeline of its own says of a cluster."""
    return said(records_of(name, WEEKS[name]), settings_of(name))


@pytest.mark.parametrize("shared", [False, True], ids=["topics of their own", "shared topics"])
def test_clusters_with_the_same_hosts_files_and_people_are_judged_apart(shared: bool) -> None:
    """Together they say what each says alone, byte for byte."""
    assert WEEKS["a"].settings["identities"] == WEEKS["b"].settings["identities"]
    apart = {name: records_of(name, week) for name, week in WEEKS.items()}
    if shared:
        apart = {name: labelled(name, records) for name, records in apart.items()}
    together = [
        msgspec.structs.replace(each, offset=number) for number, each in enumerate(merge(*apart.values(), key=attrgetter("timestamp")))
    ]
    found = said(together, settings_of_one_topic() if shared else settings_of(*apart))
    for name in apart:
        assert {key: body for key, body in found.items() if cluster_of(body) == name} == alone(name)
        assert any("alert" in orjson.loads(body) for body in alone(name).values())
