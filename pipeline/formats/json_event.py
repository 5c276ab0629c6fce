"""An object that is itself the event in; its fields out, each checked for what its name promises.

What the JSON formats share.  Such an object comes whole as a record, as the text of a wrapper, or after the prefix of a syslog daemon:

    {"uuid":"..","output":".."}        Mar  2 19:40:41 gpu-001 falco[812]: {"uuid":"..","output":".."}        @cee: {"ID":".."}

Any user can send a line to syslog, so after a prefix, or beside a program that an envelope names without naming a file, only the
programs of the format are believed.

Holds: an absent field is None or empty, one of another type than promised raises SchemaMismatch with its name; texts are bounded.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import msgspec

from pipeline.errors import SchemaMismatch, UnknownFormat
from pipeline.formats import syslog
from pipeline.formats.fields import UNMAPPED_TEXT_LENGTH_MAX, json_object, utc_time
from pipeline.formats.line import Line, Reading

TEXT_CHARACTERS_MAX = 4096  # Linux' longest path; the whole line is kept as evidence anyway
LIST_MAX = 64  # of names in a list that becomes a field
NUMBER_MAX = 2**63 - 1
PID_MAX = 4_194_304
UID_MAX = 0xFFFFFFFE
UID_UNSET = 0xFFFFFFFF
_COOKIE = "@cee: "

Usual = TypeVar("Usual", bound=msgspec.Struct)
# Of structs that forbid other keys than theirs: what passes through as it is, and a list as long as a field takes.
Passing = (
    Annotated[str, msgspec.Meta(max_length=UNMAPPED_TEXT_LENGTH_MAX)] | Annotated[int, msgspec.Meta(ge=-NUMBER_MAX, le=NUMBER_MAX)] | None
)
Texts = Annotated[tuple[str, ...], msgspec.Meta(max_length=LIST_MAX)]


def event_object(line: Line, reading: Reading, programs: Sequence[str]) -> tuple[dict[str, Any], str]:
    """The object, and the host that a syslog prefix names.  Raises UnknownFormat for lines of other programs, DecodeError."""
    if line.payload[:1] == b"{":
        if line.program and not line.file:
            _believed(line.program, programs)
        return json_object(line.payload), ""
    found = syslog.split(line, reading)
    if found is None:
        text, host = syslog.text_of(line.payload), ""
    else:
        _believed(found.program, programs)
        text, host = found.text, found.host
    text = text.removeprefix(_COOKIE)
    if text[:1] != "{":
        raise UnknownFormat("no object")
    return json_object(text.encode()), host


def as_usual(value: object, usual: type[Usual]) -> Usual | None:
    """The object as a struct of its usual types, in a third of the time that field by field takes; None: it must be read field by field.

    Texts are not bounded here: only for lines that are no longer than a text may be.
    """
    try:
        return msgspec.convert(value, usual)
    except msgspec.ValidationError:
        return None


def usual_line(line: Line, decode: Callable[[bytes], Usual]) -> Usual | None:
    """A line that is the object as a struct of its usual types, decoded at once; None: it must be read field by field.

    Only lines that are no longer than a text may be; whether other programs wrote the line is asked by who reads it otherwise.
    """
    if line.payload[:1] != b"{" or (line.program and not line.file) or len(line.payload) > TEXT_CHARACTERS_MAX:
        return None
    return usual(line.payload, decode)


def usual(payload: bytes, decode: Callable[[bytes], Usual]) -> Usual | None:
    """The same of any JSON."""
    try:
        return decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def passed(names: Sequence[str], fields: Sequence[Passing]) -> dict[str, str]:
    """Such fields as `unmapped` has them."""
    return {name: field if type(field) is str else repr(field) for name, field in zip(names, fields, strict=False) if field is not None}


def _believed(program: str, programs: Sequence[str]) -> None:
    """Sites add to a program's name (`falco-modern-bpf`), so part of it is enough."""
    if not any(name in program.lower() for name in programs):
        raise UnknownFormat("an object that another program wrote")


def at(value: object, *path: str) -> Any:
    """What stands there; None when a step of the path is missing or no object."""
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def text_at(value: object, name: str, *deeper: str) -> str:
    """A text, or a number as text."""
    # `at`, without the call: this and the next are the bulk of what a format does.
    found: object = value.get(name) if type(value) is dict else None
    for name in deeper:
        found = found.get(name) if type(found) is dict else None
    if type(found) is str:
        return found[:TEXT_CHARACTERS_MAX]
    if found is None:
        return ""
    if type(found) is int:
        return str(found)
    raise SchemaMismatch(f"{name} is not a text")


def texts_of(value: object, *names: str) -> list[str]:
    """`text_at` of several fields of one object, in half the time."""
    if type(value) is not dict:
        return [""] * len(names)
    get = value.get
    return [
        found[:TEXT_CHARACTERS_MAX] if type(found := get(name)) is str else "" if found is None else text_at(value, name) for name in names
    ]


def int_at(value: object, name: str, *deeper: str, maximum: int = NUMBER_MAX) -> int | None:
    """A number of 0 to `maximum`, also written as text."""
    found: object = value.get(name) if type(value) is dict else None
    for name in deeper:
        found = found.get(name) if type(found) is dict else None
    return number_of(found, name, maximum)


def number_of(found: object, name: str, maximum: int = NUMBER_MAX) -> int | None:
    """What stands under the name as such a number."""
    if type(found) is int and 0 <= found <= maximum:
        return found
    if found is None or found == "":
        return None
    if isinstance(found, str) and len(found) <= 20 and found.isascii() and found.isdigit():
        found = int(found)
    if type(found) is not int or not 0 <= found <= maximum:
        raise SchemaMismatch(f"{name} is not a number of its range")
    return found


def pid_at(value: object, *path: str) -> int | None:
    """A process id."""
    return int_at(value, *path, maximum=PID_MAX)


def uid_at(value: object, *path: str) -> int | None:
    """A user id; None when unset, which is written as the largest number or as -1."""
    for name in path:
        value = value.get(name) if type(value) is dict else None
    return uid_of(value, path[-1])


def uid_of(found: object, name: str) -> int | None:
    """What stands under the name as a user id."""
    if found is None:
        return None
    if type(found) is int and 0 <= found <= UID_MAX:
        return found
    if type(found) is str and len(found) < 10 and found.isascii() and found.isdigit():
        return int(found)
    return None if found in (UID_UNSET, -1, "4294967295", "-1") else number_of(found, name, UID_MAX)


def bool_at(value: object, *path: str) -> bool | None:
    """A truth value."""
    found = at(value, *path)
    if found is None or isinstance(found, bool):
        return found
    raise SchemaMismatch(f"{path[-1]} is not a truth value")


def time_at(value: object, name: str, *deeper: str) -> int | None:
    """An ISO time in UTC ms; one without offset is UTC."""
    text = text_at(value, name, *deeper)
    return utc_time(text) if text else None


def list_at(value: object, *path: str) -> list[Any]:
    """A list; empty when it is absent."""
    found = at(value, *path)
    if found is None:
        return []
    if isinstance(found, list):
        return found
    raise SchemaMismatch(f"{path[-1]} is not a list")


def texts_at(value: object, *path: str) -> tuple[str, ...]:
    """The texts of a list, as many as a field takes."""
    found: Any = value
    for name in path:
        found = found.get(name) if type(found) is dict else None
    if found is None:
        return ()
    if type(found) is list:
        found = found[:LIST_MAX]
        some = tuple([each[:TEXT_CHARACTERS_MAX] for each in found if type(each) is str])
        if len(some) == len(found):
            return some
    raise SchemaMismatch(f"{path[-1]} is not a list of texts")
