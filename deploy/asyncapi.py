"""schemas/topics and schemas/events in, `schemas/asyncapi.yaml` (AsyncAPI 3.0.0) out.

    .venv/bin/python -m deploy.asyncapi

Channels are the topics that others write (inputs) or read (public); facts and state are trainwatch's own and no promise, so they are left
out.  JSON Schemas are referred to, not copied: one place says what a value is.  A test compares the file with what this makes.
"""

import re
from pathlib import Path
from typing import Any

import click
import yaml

from pipeline import __version__
from pipeline.settings import schemas_folder

SEND, RECEIVE = "send", "receive"  # as the application described does: trainwatch
SHOWN_ROLES = {"input": RECEIVE, "public": SEND}
SCHEMA_FORMAT = "application/schema+json;version=draft-2020-12"


def document(folder: Path | None = None) -> dict[str, Any]:
    """The whole description."""
    folder = folder or schemas_folder()
    topics = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((folder / "topics").glob("*.yaml"))]
    shown = [topic for topic in topics if topic["role"] in SHOWN_ROLES]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "trainwatch",
            "version": __version__,
            "description": (
                "Finds interference with training jobs in the logs of a shared cluster. Names of topics that trainwatch creates begin with "
                "kafka.topic_prefix, those of inputs are settings. Within a version fields are only added."
            ),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {name_of(topic): channel(topic) for topic in shown},
        "operations": {f"{SHOWN_ROLES[topic['role']]}_{name_of(topic)}": operation(topic) for topic in shown},
        "components": {"messages": {name_of(topic): message(topic) for topic in shown}},
    }


def name_of(topic: dict[str, Any]) -> str:
    """A key that AsyncAPI allows."""
    return re.sub(r"[^A-Za-z0-9]", "_", str(topic["topic"]))


def channel(topic: dict[str, Any]) -> dict[str, Any]:
    """One topic."""
    told = {key: str(topic[key]) for key in ("delivery", "partitions", "cleanup", "retention", "retention_days") if key in topic}
    lines = [str(topic["description"]).rstrip("."), *(f"{key}: {value}" for key, value in told.items())]
    return {
        "address": topic["topic"],
        "description": "; ".join(lines),
        "messages": {name_of(topic): {"$ref": f"#/components/messages/{name_of(topic)}"}},
        "x-key": topic["key"],
        "x-versions": {str(key): str(value) for key, value in topic["versions"].items()}
        if isinstance(topic["versions"], dict)
        else topic["versions"],
    }


def operation(topic: dict[str, Any]) -> dict[str, Any]:
    """What trainwatch does with it."""
    return {
        "action": SHOWN_ROLES[topic["role"]],
        "channel": {"$ref": f"#/channels/{name_of(topic)}"},
        "summary": str(topic["description"]),
        "messages": [{"$ref": f"#/channels/{name_of(topic)}/messages/{name_of(topic)}"}],
    }


def message(topic: dict[str, Any]) -> dict[str, Any]:
    """Its values, headers and key."""
    found: dict[str, Any] = {"name": str(topic["topic"]), "summary": str(topic["value"])}
    if is_schema(topic["value"]):
        found |= {"summary": str(topic["description"]), "contentType": "application/json", "payload": schema(str(topic["value"]))}
    else:
        found |= {"contentType": "application/octet-stream"}
    headers = topic.get("headers")
    if isinstance(headers, dict):
        found["headers"] = {
            "type": "object",
            "properties": {name: {"type": "string", "description": str(text)} for name, text in headers.items()},
        }
    elif is_schema(headers):
        found["headers"] = schema(str(headers))
    found["bindings"] = {"kafka": {"key": {"type": "string", "description": str(topic["key"])}}}
    return found


def is_schema(value: object) -> bool:
    """Does it name one of our JSON Schemas?"""
    return isinstance(value, str) and value.endswith(".schema.json")


def schema(path: str) -> dict[str, Any]:
    """A reference, relative to the file."""
    return {"schemaFormat": SCHEMA_FORMAT, "schema": {"$ref": f"./{path}"}}


def render() -> str:
    """The file."""
    head = "# Made by deploy/asyncapi.py from topics/ and events/: do not edit.\n"
    return head + yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=120)


@click.command()
def main() -> None:
    """Write schemas/asyncapi.yaml anew."""
    target = schemas_folder() / "asyncapi.yaml"
    target.write_text(render(), encoding="utf-8")
    click.echo(str(target))


if __name__ == "__main__":
    main()
