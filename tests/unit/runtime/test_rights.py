"""The rights on Kafka by role: enough for each, and no more."""

import shlex

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.runtime.admin import plan
from pipeline.runtime.notify import GROUP_SUFFIX
from pipeline.runtime.rights import ROLES, Right, commands, principals, rights
from pipeline.settings import load
from pipeline.topology import build_topology

SETTINGS = load()
TOPOLOGY = build_topology(SETTINGS)
FOUND = rights(SETTINGS, TOPOLOGY, principals({}))
TOPICS = {topic.name: topic.role for topic in plan(SETTINGS.kafka, TOPOLOGY, {})}


def of(role: str, *operations: str, resource: str = "topic") -> set[str]:
    """What a role may do one of these with."""
    principal = f"User:trainwatch-{role}"
    return {each.name for each in FOUND if each.principal == principal and each.resource == resource and each.operation in operations}


def test_nobody_may_destroy() -> None:
    """No account of ours deletes or alters anything; who wants to asks the administrator."""
    assert {each.operation for each in FOUND} == {"Read", "Write", "Describe", "DescribeConfigs", "Create"}
    assert {each.principal for each in FOUND if each.operation == "Create"} == {"User:trainwatch-operator"}


def test_a_worker_reaches_all_that_its_stages_name() -> None:
    """It reads what stages read, and its state; it writes what follows, and no input."""
    read = {topic for stage in TOPOLOGY.stages for topic in stage.reads}
    state = {name for name, role in TOPICS.items() if role == "state"}
    assert of("worker", "Read") == read | state
    assert of("worker", "Write") == (read - set(SETTINGS.kafka.input_topics)) | state | {TOPOLOGY.public_topic("dead-letter")}
    assert of("worker", "Read", resource="group") == {SETTINGS.kafka.group}
    visible = of("worker", "Read", "Write", "Describe")
    assert {name for name, role in TOPICS.items() if role != "labels"} <= visible


def test_only_workers_say_what_workers_say() -> None:
    """A forged fact or finding would accuse somebody."""
    said = {name for name, role in TOPICS.items() if role in ("facts", "state", "public")} - {TOPOLOGY.public_topic("dead-letter")}
    for role in set(ROLES) - {"worker"}:
        assert not of(role, "Write") & said, role


def test_readers_stay_out_of_the_groups_of_others() -> None:
    """Joining a group takes partitions away from its members."""
    prefixes = of("reader", "Read", resource="group")
    ours = {SETTINGS.kafka.group, SETTINGS.kafka.group + GROUP_SUFFIX}
    assert not [group for group in ours for prefix in prefixes if group.startswith(prefix)]
    assert not of("reader", "Read") & {TOPOLOGY.public_topic("dead-letter"), TOPOLOGY.public_topic("evidence")}


def test_sealing_takes_a_right_more() -> None:
    """The topic of sealed heads is written by who has a key."""
    sealing = load(overrides={"evidence": {"key_file": "/etc/trainwatch/key.pem"}})
    found = rights(sealing, TOPOLOGY, {"worker": "User:w"})
    assert Right(principal="User:w", operation="Write", resource="topic", name=TOPOLOGY.public_topic("evidence")) in found


def test_commands_grant_just_that() -> None:
    """Each line, taken apart as a shell does, and nothing is missing or twice."""
    granted = []
    for line in commands(rights(SETTINGS, TOPOLOGY, principals({"worker": "User:CN=worker, O=site"})), "b:9093"):
        words = shlex.split(line)
        assert words[:6] == ["kafka-acls.sh", "--bootstrap-server", "b:9093", "--command-config", "admin.properties", "--add"]
        given: dict[str, list[str]] = {}
        for name, value in zip(words[6:], [*words[7:], ""], strict=True):
            if name.startswith("--"):
                given.setdefault(name.removeprefix("--"), []).append("kafka-cluster" if name == "--cluster" else value)
        (principal,), (pattern,) = given["allow-principal"], given.get("resource-pattern-type", ["literal"])
        granted += [
            Right(principal=principal, operation=operation, resource=resource, name=name, pattern=pattern)
            for resource in ("topic", "group", "cluster")
            for name in given.get(resource, ())
            for operation in given["operation"]
        ]
    wanted = rights(SETTINGS, TOPOLOGY, principals({"worker": "User:CN=worker, O=site"}))
    assert len(granted) == len(set(granted))
    assert set(granted) == set(wanted)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--role", "notifier"], 0, "--group trainwatch.notify"),
        (["--role", "notifier", "--json"], 0, '"name":"trainwatch.notify"'),
        (["--role", "notifier", "--principal", "notifier=User:CN=n 1"], 0, "'User:CN=n 1'"),
        (["--role", "boss"], 2, "no role 'boss'"),
        (["--principal", "worker=w"], 2, "worker=User:w"),
    ],
    ids=["a role", "as JSON", "a principal", "no role", "no principal"],
)
def test_the_command(words: list[str], code: int, said: str) -> None:
    """Asks no broker."""
    done = CliRunner().invoke(main, ["topics", "acl", *words])
    assert done.exit_code == code
    assert said in done.output
