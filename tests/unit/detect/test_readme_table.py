"""README's table of detectors says what the rules say: what each judges, about whom, and which harmless explanations it asks for."""

import re
from pathlib import Path

from pipeline.detect.detector import Meta, registry

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")


def row(meta: Meta) -> str:
    """The line of one detector."""
    explanations = ", ".join(explain.__name__.replace("_", " ") for explain in meta.benign)
    return f"| `{meta.id}` | {meta.title[0].lower()}{meta.title[1:]} | {meta.subject} | {explanations} |"


def test_the_table_of_detectors_is_the_one_of_the_rules() -> None:
    """Word for word, so that a rule that asks for less or more is seen by whoever reads what is asked."""
    assert re.findall(r"^\| `p\d\d_\w+` \|.*$", README, re.MULTILINE) == [row(each.meta) for each in registry()]
