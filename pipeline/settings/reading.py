"""A YAML file and the environment in, the tree out; what is wrong is named with its line.

Nothing else reads the environment.  An unknown name, in the file or in the environment, is an error, since a typo must not be a silent
default.
"""

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_settings import SettingsError

from pipeline.errors import ConfigError
from pipeline.settings.tree import ENVIRONMENT_PREFIX, Settings

SETTINGS_FILE = "trainwatch.yaml"
# Read by the commands themselves, not part of the tree.
OTHER_VARIABLES = frozenset({"TRAINWATCH_SETTINGS", "TRAINWATCH_PYTHON"})


_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping: YAML forbids it, PyYAML keeps the last, and a section would be lost in silence;
    and "\\0" in a text, which no path, name or address can hold.

    `entries` says in which line each entry of a list at the top begins: `identities.3` -> 41.
    """

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.entries: dict[str, int] = {}

    def get_single_node(self) -> yaml.Node | None:
        root: yaml.Node | None = super().get_single_node()
        for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
            for number, entry in enumerate(value.value if isinstance(value, yaml.SequenceNode) else ()):
                self.entries[f"{key.value}.{number}"] = entry.start_mark.line + 1
        return root

    def compose_scalar_node(self, anchor: dict[Any, yaml.Node]) -> yaml.ScalarNode:
        node: yaml.ScalarNode = super().compose_scalar_node(anchor)
        if "\0" in node.value:
            raise ConfigError(f"{self.name}, line {node.start_mark.line + 1}: a text with \\0 in it", advice="Delete the \\0.")
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            line, name = key.start_mark.line + 1, (key.tag, key.value)
            if name in first:
                message = f"{self.name}, line {line}: the key {key.value} stands in line {first[name]} already"
                raise ConfigError(message, advice="Put both under one key, or delete one.")
            first[name] = line
        return node


def chosen(path: Path | None = None) -> Path | None:
    """The file that is read: `path`, else $TRAINWATCH_SETTINGS, else ./trainwatch.yaml if present."""
    if path is None and (named := os.environ.get("TRAINWATCH_SETTINGS")):  # noqa: TID251  see above
        return Path(named)
    return Path(SETTINGS_FILE) if path is None and Path(SETTINGS_FILE).is_file() else path


def load(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings from `path`, else $TRAINWATCH_SETTINGS, else ./trainwatch.yaml if present; `overrides` win over the file.

    Raises ConfigError with a message that names the field.
    """
    _refuse_unknown_variables()
    path = chosen(path)
    content: dict[str, Any] = {}
    lines_of: dict[str, int] = {}
    if path is not None:
        try:
            with path.open(encoding="utf-8") as stream:
                loader = _Loader(stream)
                content = loader.get_single_data() or {}
                lines_of = loader.entries
        except yaml.MarkedYAMLError as error:
            raise ConfigError(_broken(path, error), advice="Correct it there, or put the file back as it was.") from error
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"cannot read {path}: {error}", advice="Name a readable YAML file with --settings.") from error
        except ValueError as error:  # 2026-02-30
            raise ConfigError(f"{path}: a date or a number that does not exist", advice="Correct it, or quote what is a text.") from error
        if not isinstance(content, dict):
            raise ConfigError(f"{path}: expected a mapping at the top level", advice="See schemas/SETTINGS.md.")
    try:
        return Settings(**_merged(content, overrides or {}))
    except SettingsError as error:  # of a variable that has to be JSON; the reason says where, and not what stands there
        raise ConfigError(
            f"environment: {error}: {error.__cause__}", advice="Write mappings and lists as JSON in variables, or in the file."
        ) from error
    except ValidationError as error:
        lines = [
            _located(f"{'.'.join(map(str, item['loc']))}: {_said(item)}".removeprefix(": "), lines_of) + _variable(item["loc"])
            for item in error.errors()
        ]
        where = path or "settings"
        raise ConfigError(f"{where}: " + "; ".join(lines), advice="See schemas/SETTINGS.md.") from error


def _broken(path: Path, error: yaml.MarkedYAMLError) -> str:
    """Where it is not YAML, the line first; what was opened and never closed began before it.

    It quotes single signs and tokens (`'<stream end>'`), no names: a password that begins with `*`, `&` or `!` is read as one of YAML's.
    """
    line, begun = (mark.line + 1 if mark else 0 for mark in (error.problem_mark, error.context_mark))
    at = f", line {line}" if line else ""
    context = f"{error.context} that begins in line {begun}: " if error.context and begun else ""
    said = _QUOTED.sub(lambda found: found[0] if len(found[0]) == 3 or found[0][1] == "<" else "'..'", f"{context}{error.problem}")
    return f"{path}{at}: {said}"


def _said(item: Any) -> str:
    """What pydantic says of a value; of a name that there is not, the nearest that there is."""
    if item["type"] != "extra_forbidden":
        return str(item["msg"])
    *place, name = item["loc"]
    close = difflib.get_close_matches(str(name), _names_at(place), n=1)
    return f"no such setting, did you mean {close[0]}?" if close else "no such setting"


def _names_at(place: Sequence[int | str]) -> Sequence[str]:
    """What may stand at a place of the tree, such as sources.0, by its schema."""
    whole = Settings.model_json_schema()
    node = whole
    for step in place:
        node = node.get("items", {}) if isinstance(step, int) else node.get("properties", {}).get(step, {})
        if "$ref" in node:
            node = whole["$defs"][node["$ref"].rpartition("/")[2]]
    return list(node.get("properties", ()))


_ENTRY = re.compile(r"\b([a-z_]+\.[0-9]+)(?:\.[a-z_0-9]+)*")


def _located(message: str, lines_of: Mapping[str, int]) -> str:
    """The message, with the line behind each entry of a list that it names."""
    return _ENTRY.sub(lambda found: f"{found[0]} (line {lines_of[found[1]]})" if found[1] in lines_of else found[0], message)


def _variable(place: tuple[int | str, ...]) -> str:
    """By which variable a value came that is wrong, in parentheses: nobody finds it in the file."""
    names = (ENVIRONMENT_PREFIX + "__".join(map(str, place[:length])).upper() for length in range(len(place), 0, -1))
    found = next((name for name in names if name in os.environ), "")  # noqa: TID251  see above
    return f" (by {found} in the environment)" if found else ""


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = _merged(result[key], value) if both else value
    return result


def _refuse_unknown_variables() -> None:
    """pydantic-settings ignores an unknown top-level variable, so a typo would be a silent default."""
    known = {f"{ENVIRONMENT_PREFIX}{name.upper()}" for name in Settings.model_fields}
    for name in sorted(os.environ):  # noqa: TID251  see above
        if not name.startswith(ENVIRONMENT_PREFIX) or name in OTHER_VARIABLES:
            continue
        if name.split("__", maxsplit=1)[0] not in known:
            raise ConfigError(f"unknown environment variable {name}", advice=f"Known: {', '.join(sorted(known))}.")
