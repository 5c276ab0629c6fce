"""A typed body as flat text: what stands in ClickHouse's `attrs` and in enriched events."""

import msgspec

from pipeline.model.events import AuditRecord, Body


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
    fields = msgspec.to_builtins(body)
    kind = fields.pop("type")
    return kind, {name: value if isinstance(value, str) else _text(value) for name, value in fields.items()}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
