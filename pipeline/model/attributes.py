"""A typed body as flat text: what stands in ClickHouse's `attrs` and in enriched events."""

from collections.abc import Callable
from typing import Any

import msgspec

from pipeline.model.events import AuditRecord, Body, LinePart


def attributes(body: Body) -> tuple[str, dict[str, str]]:
    """(kind, fields as text) of a body; the fields of an audit record stand beside its own."""
    if isinstance(body, AuditRecord):  # the bulk of all input
        attrs = {"record_type": body.record_type, "serial": str(body.serial)}
        if body.item:
            attrs["item"] = str(body.item)
        if body.keys:
            attrs["keys"] = ",".join(body.keys)
        attrs.update(body.fields)
        return "audit_record", attrs
    if isinstance(body, LinePart):  # its bytes are the line, which stands beside
        return "line_part", {
            "line": body.line,
            "ordinal": "" if body.ordinal is None else str(body.ordinal),
            "part": "last" if body.last else "open",
        }
    fields = msgspec.to_builtins(body)
    kind = fields.pop("type")
    for name, value in fields.items():
        of = value.__class__
        if of is not str:
            fields[name] = str(value) if of is int or of is float else _TEXTS.get(of, str)(value)
    return kind, fields


_TEXTS: dict[type, Callable[[Any], str]] = {
    bool: lambda value: "true" if value else "false",
    list: lambda value: ",".join(map(str, value)),
    tuple: lambda value: ",".join(map(str, value)),
}
