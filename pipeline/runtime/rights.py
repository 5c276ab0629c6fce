"""Settings and the topology in; the rights that each account needs on Kafka out: the least with which everything works.

    shipper        writes the input topics
    worker         reads inputs, writes what follows, keeps its state; makes no topic and changes none
    notifier       reads findings and incidents under its own group
    reader         a consumer of others: reads what is published, under a group named after the topic: trainwatch.findings.v1.<name>
    investigator   tools that look: originals, dead letters, offsets; writes nothing
    reviewer       tools that say what findings were: writes labels
    labeller       `trainwatch label --from-topic`: reads labels under its own group
    operator       makes topics and sends dead letters, logs and job lists into the inputs again

Kafka adds Describe to whoever may read or write.  A worker that may not ask how long records are kept cannot warn before they are deleted
unread, so it may.  Nobody may delete topics, alter their settings, or write what workers alone say: a forged fact would accuse somebody.
"""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

import msgspec

from pipeline.runtime.admin import DEAD_LETTER, LABELS, plan
from pipeline.runtime.labelling import GROUP_SUFFIX as LABELLING
from pipeline.runtime.notices import FINDINGS, INCIDENTS
from pipeline.runtime.notify import GROUP_SUFFIX
from pipeline.settings import Settings
from pipeline.topology import PUBLIC, Topology

ROLES = ("shipper", "worker", "notifier", "reader", "investigator", "reviewer", "labeller", "operator")
EVIDENCE = "evidence"
READ, WRITE, DESCRIBE, CREATE, DESCRIBE_CONFIGS = "Read", "Write", "Describe", "Create", "DescribeConfigs"


class Right(msgspec.Struct, frozen=True, kw_only=True):
    """An operation that an account is allowed; in the words of kafka-acls.sh."""

    principal: str
    operation: str
    resource: str  # topic | group | cluster
    name: str
    pattern: str = "literal"  # literal | prefixed


def principals(given: Mapping[str, str]) -> dict[str, str]:
    """The principal of each role, where none is given `User:trainwatch-<role>`."""
    return {role: given.get(role, f"User:trainwatch-{role}") for role in ROLES}


def rights(settings: Settings, topology: Topology, who: Mapping[str, str]) -> list[Right]:
    """All rights, by role; `who` names the principals of those roles that are wanted."""
    return [right for role, principal in who.items() for right in _of(role, principal, settings, topology)]


def _of(role: str, principal: str, settings: Settings, topology: Topology) -> Iterator[Right]:
    by_role: dict[str, list[str]] = {}
    for topic in plan(settings.kafka, topology, {}):
        by_role.setdefault(topic.role, []).append(topic.name)
    inputs, facts, state = by_role["input"], by_role["facts"], by_role["state"]
    public, group = [topology.public_topic(content) for content in PUBLIC], settings.kafka.group
    labels = [topology.public_topic(LABELS)]
    letters, sealed = topology.public_topic(DEAD_LETTER), topology.public_topic(EVIDENCE)

    def on(names: Iterable[str], *operations: str, resource: str = "topic", pattern: str = "literal") -> Iterator[Right]:
        for name in names:
            for operation in operations:
                yield Right(principal=principal, operation=operation, resource=resource, name=name, pattern=pattern)

    if role == "shipper":
        yield from on(inputs, WRITE)
    elif role == "worker":
        yield from on(inputs, READ, DESCRIBE_CONFIGS)
        yield from on([*facts, *public], READ, WRITE, DESCRIBE_CONFIGS)
        yield from on(state, READ, WRITE)
        yield from on([letters], WRITE)
        yield from on([sealed], WRITE if settings.evidence.key_file else DESCRIBE)
        yield from on([group], READ, resource="group")
    elif role == "notifier":
        yield from on([topology.public_topic(content) for content in (FINDINGS, INCIDENTS)], READ)
        yield from on([group + GROUP_SUFFIX], READ, resource="group")
    elif role == "reader":
        yield from on(public, READ)
        yield from on([f"{topic}." for topic in public], READ, resource="group", pattern="prefixed")
    elif role == "investigator":
        yield from on([*inputs, *public, letters, sealed, *labels], READ, DESCRIBE_CONFIGS)
        yield from on([*facts, *state], DESCRIBE, DESCRIBE_CONFIGS)
        yield from on([group], DESCRIBE, resource="group")
    elif role == "reviewer":
        yield from on(labels, WRITE)
    elif role == "labeller":
        yield from on(labels, READ)
        yield from on([group + LABELLING], READ, resource="group")
    else:
        yield from on([*inputs, *facts, *public, letters, sealed, *labels, *state], CREATE, DESCRIBE, DESCRIBE_CONFIGS)
        yield from on([*inputs, letters], WRITE)
        yield from on([letters], READ)
        yield from on([group], DESCRIBE, resource="group")
        yield from on(["kafka-cluster"], DESCRIBE, resource="cluster")


def commands(found: Sequence[Right], servers: str) -> Iterator[str]:
    """kafka-acls.sh lines that grant them: one for the resources of an account that are used alike."""
    start = f"kafka-acls.sh --bootstrap-server {servers} --command-config admin.properties --add"
    operations: dict[tuple[str, str, str, str], list[str]] = {}
    for right in found:
        operations.setdefault((right.principal, right.resource, right.pattern, right.name), []).append(right.operation)
    for (principal, resource, pattern, allowed), alike in groupby(operations, lambda key: (*key[:3], operations[key])):
        words = [start, "--allow-principal", shlex.quote(principal), *(f"--operation {operation}" for operation in allowed)]
        words += ["--cluster"] if resource == "cluster" else [f"--{resource} {shlex.quote(name)}" for *_, name in alike]
        yield " ".join(words + ([] if pattern == "literal" else [f"--resource-pattern-type {pattern}"]))
