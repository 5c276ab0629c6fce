"""A typed body as flat text: what stands in ClickHouse's `attrs` and in enriched events."""

import msgspec

from pipeline.model.events import AuditRecord, Body


def attributes(body: Body) -> tuple[str, dict[str, str]]:
    """(kind, fields as text) of a body; the fields of an audit record stand beside its own."""
    fields = msgspec.to_builtins(body)
    kind = fields.pop("type")
    attrs = {name: _text(value) for name, value in fields.items() if name != "fields"}
    if isinstance(body, AuditRecord):
        attrs.update(body.fields)
    return kind, attrs


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
