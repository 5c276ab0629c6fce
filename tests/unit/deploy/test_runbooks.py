"""Runbooks: whoever follows them at night finds that each command, setting and metric exists."""

import re
from pathlib import Path

import click
import pytest

import pipeline
from deploy.grafana.alerts import RULES
from pipeline import settings
from pipeline.cli import main
from pipeline.runtime.metrics import ALERTS, METRICS, NOTIFIER

FOLDER = Path(__file__).parents[3] / "deploy" / "runbooks"
PLANNED = {"backup-and-restore", "partition-growth", "dead-letter-replay", "upgrade"}
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.md"))}
TOOLS = {
    *("alias", "auditctl", "cd", "clickhouse-client", "cp", "curl", "docker", "export", "install", "journalctl", "kafka-configs.sh"),
    *("kafka-consumer-groups.sh", "kafka-topics.sh", "kubectl", "K", "ls", "set", "systemctl", "tar", "top", "trainwatch"),
}


def commands(text: str) -> list[str]:
    """Lines of code blocks, and commands of ours within sentences."""
    blocks = re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line.partition("  # ")[0].strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    prose = re.sub(r"^```\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    inline = [" ".join(found.split()) for found in re.findall(r"`(trainwatch [^`:]+)`", prose)]
    return [line for line in (*lines, *inline) if line and not line.startswith("#")]


def ours(text: str) -> list[str]:
    return [line for line in commands(text) if line.startswith("trainwatch ")]


def test_there_is_a_page_for_each_alert_and_no_other() -> None:
    """Besides those for planned work."""
    assert set(PAGES) == {alert.name for alert in ALERTS} | PLANNED | {"README"}


@pytest.mark.parametrize("name", [alert.name for alert in ALERTS])
def test_a_page_says_what_one_needs_at_night(name: str) -> None:
    """In the same order on each, with three commands and what to expect of each."""
    text = PAGES[name]
    marks = [f"# {name}\n", "**Means.**", "**Is data at risk?**", "## First\n", "## Mend\n", "## Wake somebody else\n"]
    places = [text.find(mark) for mark in marks]
    assert places == sorted(places)
    assert places[0] == 0
    first = text[places[3] : places[4]]
    assert len(commands(first)) == 3
    assert re.findall(r"^(\d)\. ", first, re.MULTILINE) == ["1", "2", "3"]


@pytest.mark.parametrize("line", sorted({line for text in PAGES.values() for line in ours(text)}))
def test_our_commands_exist(line: str) -> None:
    """With their words, options and number of arguments."""
    words = line.split()[1:]
    command: click.Command = main
    path: list[str] = ["trainwatch"]
    with click.Context(command, info_name="trainwatch") as ctx:
        while isinstance(command, click.Group) and words:
            found = command.get_command(ctx, words[0])
            assert found is not None, line
            path.append(words.pop(0))
            command = found.make_context(path[-1], [], parent=ctx, resilient_parsing=True).command
        given, rest, _ = command.make_parser(click.Context(command, info_name=" ".join(path))).parse_args(words)
    assert not rest, line
    for parameter in command.params:
        values = given.get(parameter.name or "")
        assert values is not None or not parameter.required, line
        if not isinstance(parameter.type, click.Path):  # the files are those of the site
            for value in values if isinstance(values, list | tuple) else [values] if isinstance(values, str) else []:
                parameter.type.convert(value, parameter, None)


@pytest.mark.parametrize("name", PAGES)
def test_other_commands_are_those_of_a_usual_machine(name: str) -> None:
    """So that nobody looks for a tool at night."""
    assert {line.split()[0].partition("=")[0] for line in commands(PAGES[name])} <= TOOLS


@pytest.mark.parametrize("name", PAGES)
def test_settings_metrics_rules_and_pages_that_are_named_exist(name: str) -> None:
    """A name that is misspelt costs an hour at night."""
    text = PAGES[name]
    known = {setting for setting, _, _ in settings.table()}
    branches = {setting.partition(".")[0] for setting in known}
    named = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", text)) | {
        variable.lower().replace("__", ".") for variable in re.findall(r"\bTRAINWATCH_([A-Z_]+__[A-Z_]+)", text)
    }
    assert {each for each in named if each.partition(".")[0] in branches} <= known | {"retention.ms", "retention.bytes"}  # the topic's
    metrics = {f"{metric.name}{suffix}" for metric in METRICS + NOTIFIER for suffix in ("", "_sum", "_count", "_bucket")}
    assert set(re.findall(r"`(trainwatch_[a-z_]+)`", text)) <= metrics
    assert set(re.findall(r"`(trainwatch: [^`]+)`", text)) <= {rule.title for rule in RULES}
    assert {link.removesuffix(".md") for link in re.findall(r"\]\(([^)]+)\)", text)} <= set(PAGES)


SAID = " ".join(" ".join(path.read_text(encoding="utf-8") for path in sorted(Path(pipeline.__file__).parent.rglob("*.py"))).split())


@pytest.mark.parametrize(
    "line", sorted({line for text in PAGES.values() for line in commands(text) if "journalctl" in line or "kafka-configs" in line})
)
def test_what_is_looked_for_would_be_found(line: str) -> None:
    """Words of the log are words that we say, each on one line of it: of a traceback the first line alone says nothing.

    A topic that has no retention of its own shows that of the broker only when it is asked for all.
    """
    for words in re.findall(r"-g '([^']+)'", line):
        assert words in SAID, words
        assert words != "Traceback"
    if "kafka-configs.sh" in line and "--describe" in line:
        assert line.endswith(" --all")


@pytest.mark.parametrize("line", sorted({line for text in PAGES.values() for line in commands(text)}))
def test_a_block_can_be_pasted(line: str) -> None:
    """Whoever was just woken pastes it whole: the broker's address is in it, of metrics some are shown, and nothing deletes.

    A retention that is shorter than the topic's deletes at once, so none stands there.
    """
    if line.startswith("kafka-"):
        assert " --bootstrap-server $K " in line
    if "/metrics" in line:
        (pattern,) = re.findall(r"/metrics \| grep -E '(\S+)'", line)
        assert any(re.search(pattern, f"{metric.name}{suffix}") for metric in METRICS for suffix in ("", "_sum"))
    assert not re.search(r"retention\.\w+=-?\d", line)
