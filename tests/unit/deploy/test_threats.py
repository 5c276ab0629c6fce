"""deploy/threat-model.md and deploy/privacy.md: every threat has an answer, and what is said to show it is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
THREATS = (ROOT / "deploy" / "threat-model.md").read_text(encoding="utf-8")
PRIVACY = (ROOT / "deploy" / "privacy.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
ROWS = [line for line in THREATS.splitlines() if line.startswith("| ") and not line.startswith(("| threat", "| asset"))]
ATTACKERS = (
    "The author of log lines",
    "The producer of forged records",
    "The reader of rules",
    "The insider",
    "The operator of trainwatch",
)


@cache
def functions_of(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize(("file", "test"), sorted({*NAMED.findall(THREATS), *NAMED.findall(PRIVACY)}))
def test_what_is_named_is_there(file: str, test: str) -> None:
    """A test that was renamed or dropped leaves a promise without a proof."""
    assert test.startswith("test_")
    assert test in functions_of(file)


def test_each_threat_has_an_answer() -> None:
    """Of all attackers; what has no answer is said beneath, in the open."""
    sections = THREATS.split("\n## ")
    for attacker in ATTACKERS:
        (section,) = [each for each in sections if each.startswith(attacker)]
        rows = [line for line in ROWS if line in section]
        assert rows
        assert [row for row in rows if not NAMED.search(row)] == []
        assert "*Remains*:" in section


def test_settings_and_commands_that_are_named_exist() -> None:
    """Of both pages."""
    from pipeline.cli import COMMANDS  # noqa: PLC0415  the pages alone need nothing of it
    from pipeline.settings import table  # noqa: PLC0415

    names = {name for name, _, _ in table()}
    for text in (THREATS, PRIVACY):
        for section, name in re.findall(r"`(kafka|clickhouse|ingest|privacy|evidence|retention|detect|worker)\.([a-z_]+)", text):
            assert f"{section}.{name}" in names
        assert set(re.findall(r"`trainwatch ([a-z]+)", text)) <= COMMANDS.keys()
