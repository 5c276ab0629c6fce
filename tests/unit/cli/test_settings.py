"""`trainwatch settings --schema`: what an editor says of a settings file is what `load` says of it."""

from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
import yaml
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.errors import ConfigError
from pipeline.settings import load

GOOD = """
kafka: {bootstrap_servers: "k1:9092", access_topics: [audit, auth]}
sources: [{name: audit, program: auditd, expected_per_hour: 60}]
artefact_roots: [{path: /lustre/ckpt, kind: checkpoint, writers: [ckpt-reshard]}]
detect: {suppressions: [{detector: p04_environment_tamper, path: /env, because: "by hand", until: "2026-06-01T00:00:00Z"}]}
"""


@pytest.fixture(scope="module")
def schema() -> Any:
    done = CliRunner().invoke(main, ["settings", "--schema"])
    assert done.exit_code == 0
    return orjson.loads(done.output)


@pytest.mark.parametrize(
    ("old", "new"),
    [("", ""), ("access_topics", "acess_topics"), ("name: audit, ", ""), ("60", "many"), ("kind: checkpoint", "kind: chekpoint")],
    ids=["as it should be", "a typo", "a name is missing", "no number", "no such kind"],
)
def test_an_editor_says_what_load_says(schema: Any, tmp_path: Path, old: str, new: str) -> None:
    """Both take the file, or both refuse it; of names the schema knows those of the file, `until` and not `until_ms`."""
    text = GOOD.replace(old, new) if old else GOOD
    validator = jsonschema.Draft202012Validator({**schema, "$defs": _without_patterns(schema["$defs"])})
    (tmp_path / "trainwatch.yaml").write_text(text)
    if old:
        with pytest.raises(ConfigError):
            load(tmp_path / "trainwatch.yaml")
    else:
        load(tmp_path / "trainwatch.yaml")
    assert validator.is_valid(yaml.safe_load(text)) == (not old)


def _without_patterns(part: Any) -> Any:
    """Editors know `\\\\P{C}`, which Python's `re` does not."""
    if isinstance(part, dict):
        return {key: _without_patterns(value) for key, value in part.items() if key != "pattern"}
    return [_without_patterns(each) for each in part] if isinstance(part, list) else part
