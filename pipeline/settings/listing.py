"""The tree as a table: schemas/SETTINGS.md and `trainwatch settings` are rendered from it."""

from collections.abc import Iterator

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from pipeline.settings.tree import Settings

Rows = Iterator[tuple[str, str, str]]


def table(model: type[BaseModel] = Settings, prefix: str = "") -> Rows:
    """(name, default, description) of every setting, for schemas/SETTINGS.md and `trainwatch settings`."""
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from table(annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _default(field), field.description or ""


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, SecretStr):
        return "(empty)"
    if isinstance(value, tuple):
        return ", ".join(value) if value else "(none)"
    return "(empty)" if value in ("", None) else str(value)
