"""Released and present topic descriptions and JSON Schemas in; every change that breaks somebody out.

    deploy/check-schemas                 exit 1 and the list when something breaks
    deploy/check-schemas --against v0.1.0       compare with a git tag instead of the kept copy
    deploy/check-schemas --release       keep the present state as released, if nothing breaks

`schemas/released/` holds the state that consumers were promised.  Within a version of a topic fields, files, headers and values of an
enumeration may be added; a consumer passes over what it does not know.  What breaks needs a topic of the next version beside the old one:

    what trainwatch writes   a field, header, file or topic goes; a field is no longer promised; a type, constant, pattern or length
                             changes; a value of an enumeration goes; bounds widen; key or clean-up change; retention shrinks
    what others write        the same, and: a field becomes required, bounds narrow, further fields are refused

Facts and state are trainwatch's own and are not looked at.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click
import yaml

from pipeline.settings import schemas_folder

RELEASED = "released"
EVENTS, TOPICS = "events", "topics"
WRITTEN_BY_OTHERS = ("trainwatch_probe.", "trainwatch.labels.")  # beginnings of file names
PROMISED_ROLES = ("input", "public")
SAME = ("const", "pattern", "format", "minItems", "maxItems", "minLength", "maxLength", "uniqueItems")
LOWER, UPPER = ("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")
TOPIC_SAME = ("topic", "role", "key", "value", "cleanup", "timestamps")
MISSING = object()

Node = Mapping[str, Any]
Files = Mapping[str, Any]  # name -> content


class Breach(NamedTuple):
    """One change that breaks somebody."""

    file: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {self.where}: {self.what}"


# --- schemas ----------------------------------------------------------------------------------------------------------------------


class Comparison:
    """Two versions of one schema file."""

    def __init__(self, file: str, before: Node, after: Node) -> None:
        self.file, self.before, self.after = file, before, after
        self.others_write = file.startswith(WRITTEN_BY_OTHERS)

    def breaches(self) -> Iterator[Breach]:
        """All of them, from the root."""
        yield from self._compare(self.before, self.after, "$", frozenset())

    def _breach(self, where: str, what: str) -> Breach:
        return Breach(self.file, where, what)

    def _compare(self, before: Any, after: Any, where: str, open_refs: frozenset[str]) -> Iterator[Breach]:
        if isinstance(before, dict) and "$ref" in before:
            if before["$ref"] in open_refs:  # a schema that holds itself
                return
            open_refs |= {before["$ref"]}
        before, after = _resolved(before, self.before), _resolved(after, self.after)
        if not isinstance(before, dict) or not isinstance(after, dict):  # true and false are schemas too
            if before != after and not (before is True and isinstance(after, dict) and not self.others_write):
                yield self._breach(where, f"was {before!r}, is {after!r}" if not isinstance(before, dict) else "is no longer described")
            return
        yield from self._values(before, after, where)
        yield from self._object(before, after, where, open_refs)
        yield from self._parts(before, after, where, open_refs)

    def _values(self, before: Node, after: Node, where: str) -> Iterator[Breach]:
        if _types(before) != _types(after) and _types(before) is not None:
            yield self._breach(where, f"type was {before.get('type')}, is {after.get('type')}")
        gone = [value for value in before.get("enum", ()) if value not in after.get("enum", (after.get("const", MISSING),))]
        if gone and ("enum" in after or "const" in after):
            yield self._breach(where, f"values {gone} are gone")
        if gone and "enum" not in after and "const" not in after and not self.others_write:
            yield self._breach(where, "any value is possible now")
        for name in SAME:
            if (
                name in before
                and before[name] != after.get(name, MISSING)
                and not (name == "const" and before["const"] in after.get("enum", ()))
            ):
                yield self._breach(where, f"{name} was {before[name]!r}, is {after.get(name, 'gone')!r}")
            if name not in before and name in after and self.others_write:
                yield self._breach(where, f"{name} {after[name]!r} is new")
        for names, sign in ((LOWER, 1), (UPPER, -1)):
            for name in names:
                old, new = before.get(name), after.get(name)
                narrower = new is not None and (old is None or sign * new > sign * old)
                wider = old is not None and (new is None or sign * new < sign * old)
                if narrower if self.others_write else wider:
                    yield self._breach(where, f"{name} was {old}, is {new}")

    def _object(self, before: Node, after: Node, where: str, open_refs: frozenset[str]) -> Iterator[Breach]:
        required, now = set(before.get("required", ())), set(after.get("required", ()))
        if self.others_write:
            yield from (self._breach(f"{where}.{name}", "is required now") for name in sorted(now - required))
        else:
            yield from (self._breach(f"{where}.{name}", "is no longer promised") for name in sorted(required - now))
        properties = after.get("properties", {})
        for name, part in before.get("properties", {}).items():
            if name not in properties:
                yield self._breach(f"{where}.{name}", "is gone")
            else:
                yield from self._compare(part, properties[name], f"{where}.{name}", open_refs)
        old, new = before.get("additionalProperties", True), after.get("additionalProperties", True)
        if isinstance(old, dict) or isinstance(new, dict):
            yield from self._compare(old, new, f"{where}.*", open_refs)
        elif old and not new and self.others_write:
            yield self._breach(where, "further fields are refused now")

    def _parts(self, before: Node, after: Node, where: str, open_refs: frozenset[str]) -> Iterator[Breach]:
        if "items" in before:
            yield from self._compare(before["items"], after.get("items", True), f"{where}[]", open_refs)
        for name in ("prefixItems", "anyOf", "oneOf", "allOf"):
            old, new = before.get(name, ()), after.get(name, ())
            if old and len(old) != len(new):
                yield self._breach(where, f"{name} had {len(old)} parts, has {len(new)}")
                continue
            for number, (one, other) in enumerate(zip(old, new, strict=False)):
                yield from self._compare(one, other, f"{where}[{number}]" if name == "prefixItems" else where, open_refs)


def _types(node: Node) -> frozenset[str] | None:
    """What a value may be; None: nothing is said."""
    if "const" in node or "enum" in node:  # says more than a type
        return None
    said = node.get("type")
    return None if said is None else frozenset([said] if isinstance(said, str) else said)


def _resolved(node: Any, root: Node) -> Any:
    """Without the reference, which is to a place in the same file; what stands beside it is kept."""
    if not isinstance(node, dict) or "$ref" not in node:
        return node
    found: Any = root
    for step in str(node["$ref"]).removeprefix("#/").split("/"):
        found = found[step]
    return {**_resolved(found, root), **{key: value for key, value in node.items() if key != "$ref"}}


# --- topics -----------------------------------------------------------------------------------------------------------------------


def topic_breaches(file: str, before: Node, after: Node) -> Iterator[Breach]:
    """Changes of one description that a consumer or producer feels."""
    for name in TOPIC_SAME:
        if name in before and before[name] != after.get(name, MISSING):
            yield Breach(file, name, f"was {before[name]!r}, is {after.get(name, 'gone')!r}")
    old, new = before.get("headers"), after.get("headers")
    if isinstance(old, dict) and isinstance(new, dict):
        yield from (Breach(file, f"headers.{name}", "is gone") for name in old if name not in new)
    elif old is not None and old != new:
        yield Breach(file, "headers", f"were {old!r}, are {new!r}")
    if int(after.get("retention_days", 0)) < int(before.get("retention_days", 0)):
        yield Breach(file, "retention_days", f"was {before['retention_days']}, is {after.get('retention_days', 'gone')}")
    versions, now = before.get("versions"), after.get("versions")
    if isinstance(versions, dict) and isinstance(now, dict):
        yield from (Breach(file, f"versions.{name}", "is gone") for name in versions if name not in now)


# --- both -------------------------------------------------------------------------------------------------------------------------


def compare(before: Files, after: Files) -> list[Breach]:
    """Everything that broke.  Names are `events/<file>` and `topics/<file>`."""
    found: list[Breach] = []
    for name, old in sorted(before.items()):
        file = name.partition("/")[2]
        if name.startswith(TOPICS) and old.get("role") not in PROMISED_ROLES:
            continue
        if name not in after:
            found.append(Breach(file, "file", "is gone"))
        elif name.startswith(TOPICS):
            found += topic_breaches(file, old, after[name])
        else:
            found += Comparison(file, old, after[name]).breaches()
    return found


def read(folder: Path) -> dict[str, Any]:
    """The descriptions and schemas in a folder."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob(f"{EVENTS}/*.schema.json")):
        found[f"{EVENTS}/{path.name}"] = json.loads(path.read_text(encoding="utf-8"))
    for path in sorted(folder.glob(f"{TOPICS}/*.yaml")):
        found[f"{TOPICS}/{path.name}"] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def read_tag(tag: str, root: Path) -> dict[str, Any]:
    """The same as they stood in a commit."""

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True).stdout  # noqa: S607

    found: dict[str, Any] = {}
    for path in git("ls-tree", "-r", "--name-only", tag, f"schemas/{EVENTS}", f"schemas/{TOPICS}").split():
        loaded = json.loads if path.endswith(".json") else yaml.safe_load
        found[path.removeprefix("schemas/")] = loaded(git("show", f"{tag}:{path}"))
    return found


def release(folder: Path) -> None:
    """Keep the present state as what consumers are promised."""
    kept = folder / RELEASED
    shutil.rmtree(kept, ignore_errors=True)
    for name in read(folder):
        (kept / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, kept / name)


@click.command()
@click.option("--against", default="", help="A git tag or commit; default the copy in schemas/released.")
@click.option("--folder", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Default schemas/ of this checkout.")
@click.option("--release", "keep", is_flag=True, help="Keep the present state as released, if nothing breaks.")
def main(against: str, folder: Path | None, *, keep: bool) -> None:
    """Fail when the schemas or topics break somebody who reads or writes them as they were released."""
    folder = folder or schemas_folder()
    try:
        before = read_tag(against, folder.parent) if against else read(folder / RELEASED)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        raise click.UsageError(f"git does not know {against}: {error}") from error
    breaches = compare(before, read(folder))
    for breach in breaches:
        click.echo(str(breach))
    if breaches:
        click.echo(
            "what to do: leave the old field or topic as it is and add a new one; or describe the topic of the next version", err=True
        )
        raise SystemExit(1)
    if keep:
        release(folder)
    click.echo(f"{len(before)} released files: nothing breaks" + (f"; {len(read(folder))} kept as released" if keep else ""))


if __name__ == "__main__":
    main()
