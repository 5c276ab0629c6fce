"""An object that torch elastic wrote in; a failed rank or an agent's note out.

    error file   {"message": {"message": "RuntimeError: ..", "extraInfo": {"py_callstack": "..", "timestamp": "1772480441"}}}
    event        {"name": "torchelastic.worker.status.FAILED", "source": "AGENT", "timestamp": 0, "metadata": {"global_rank": 3, ..}}
    rendezvous   {"name": "..", "run_id": "..", "message": "The node .. has joined ..", "hostname": "..", "node_state": "INIT", ..}

An error file (`TORCHELASTIC_ERROR_FILE`) is one object over a whole file, with seconds; it is not written after a SIGKILL, so that its
absence is a hint and its presence says that the program failed by itself.  Its rank is only in its path.  An event has milliseconds,
or 0 for none; a rendezvous event has no time at all.  The text of an event whose object was taken for a shipper's wrapper (it has a
`message`) is read as well.

Layout: github.com/pytorch/pytorch torch/distributed/elastic agent/server/api.py (_construct_event) and an event log of torch 1.9 quoted in
public; the error file and rendezvous events by knowledge of multiprocessing/errors and rendezvous/dynamic_rendezvous.py.
Not verified on files of a site.
Holds: linear time; unmapped is bounded; the call stack stays in the record, not in the event.
"""

import re
from collections.abc import Sequence
from typing import Any

from pipeline.errors import SchemaMismatch, UnknownFormat
from pipeline.formats.fields import EVENT_TIME_MAX, EVENT_TIME_MIN, unmapped
from pipeline.formats.json_event import text_at
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads.mllog import decoded
from pipeline.formats.ranks import unlabelled
from pipeline.formats.syslog import TEXT_CHARACTERS_MAX, text_of
from pipeline.model.events import AnyBody, Parsed, RankFailed, TrainingLine
from pipeline.model.source import Source

RANK_MAX = 10_000_000
_RANK_OF_FILE = re.compile(r"/(?:attempt_[0-9]{1,6}/)?([0-9]{1,7})/error\.json$")
_NODE = re.compile(r"(?:The node '[^']{1,300}' |Rendezvous '[^']{1,300}' )(?:has|attempts|is|was|left|closed|will|joined|completed)\b")
_EXIT = re.compile(r"exitcode: {0,2}(-?[0-9]{1,5})\b")
_METADATA = frozenset({"global_rank", "hostname", "raw_error", "worker_id", "state"})
_RENDEZVOUS = frozenset({"name", "message", "hostname", "rank", "error_trace"})


class Elastic:
    """Error file and events of torch elastic."""

    name = "elastic"
    source = Source.TRAINING
    begins = (b'{"name": "torchelastic.',)

    def claims(self, payload: bytes) -> bool:
        """An object with one of the names that these cannot be without, or an event's bare text."""
        if payload.find(b'{"') < 0:
            return payload.startswith((b"The node '", b"Rendezvous '"))
        return (
            payload.find(b'"torchelastic.') >= 0
            or payload.find(b'"extraInfo"') >= 0
            or (payload.find(b'"node_state"') >= 0 and payload.find(b'"run_id"') >= 0)
        )

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:  # noqa: ARG002 - its clocks are UTC
        """The event of the object.  Raises UnknownFormat for objects of others, SchemaMismatch and DecodeError for broken ones."""
        text, rank, _ = unlabelled(text_of(line.payload))
        if _NODE.match(text):
            return (_parsed(TrainingLine(what="rendezvous", text=text[:TEXT_CHARACTERS_MAX], rank=rank)),)
        if text[:1] != "{":
            raise UnknownFormat("no object of torch elastic")
        value = decoded(text)
        name, metadata, message = value.get("name"), value.get("metadata"), value.get("message")
        if isinstance(name, str) and name.startswith("torchelastic."):
            if not isinstance(metadata, dict):
                raise SchemaMismatch("a torchelastic event without metadata")
            return (_event(name, value, metadata),)
        if "node_state" in value and "run_id" in value:
            return (_rendezvous(value),)
        if isinstance(message, dict) and "extraInfo" in message:
            return (_error_file(message, line.file),)
        raise UnknownFormat("an object of another program")


def _event(name: str, value: dict[str, Any], metadata: dict[str, Any]) -> Parsed:
    rank, host = _bounded(metadata.get("global_rank"), RANK_MAX), text_at(metadata, "hostname")
    body: AnyBody = TrainingLine(what="agent", text=name[:TEXT_CHARACTERS_MAX], rank=rank)
    if name == "torchelastic.worker.status.FAILED":
        said = text_at(metadata, "raw_error")
        worker = text_at(metadata, "worker_id")
        pid = int(worker) if worker.isascii() and worker.isdigit() and len(worker) <= 7 else None
        exit_code = _EXIT.search(said[:TEXT_CHARACTERS_MAX])
        code = int(exit_code[1]) if exit_code else None
        body = RankFailed(
            rank=rank,
            pid=pid,
            host=host,
            exit_code=code,
            signal=-code if code is not None and -64 <= code < 0 else None,
            text=said[:TEXT_CHARACTERS_MAX],
        )
    return _parsed(body, _time(value.get("timestamp"), 1), unmapped(metadata, _METADATA))


def _rendezvous(value: dict[str, Any]) -> Parsed:
    rank = _bounded(value.get("rank"), RANK_MAX)
    body = TrainingLine(what="rendezvous", text=text_at(value, "message")[:TEXT_CHARACTERS_MAX], rank=rank)
    return _parsed(body, None, unmapped(value, _RENDEZVOUS) | {"host": text_at(value, "hostname")})


def _error_file(message: dict[str, Any], file: str) -> Parsed:
    """The program's own exception.  Whose it is stands in the path that the agent made: `.../attempt_0/3/error.json`."""
    named = _RANK_OF_FILE.search(file[-400:])
    code = _bounded(message.get("errorCode"), 0xFFFF)
    body = RankFailed(exit_code=code, text=text_at(message, "message")[:TEXT_CHARACTERS_MAX], local_rank=int(named[1]) if named else None)
    info = message.get("extraInfo")
    return _parsed(body, _time(info.get("timestamp"), 1000) if isinstance(info, dict) else None)


def _parsed(body: AnyBody, time: int | None = None, rest: dict[str, str] | None = None) -> Parsed:
    return Parsed(source=Source.TRAINING, body=body, event_time=time, unmapped=rest or {})


def _time(value: object, milliseconds: int) -> int | None:
    """A number, also as text; 0 and what no calendar has are not times."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 15:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    time = value * milliseconds
    return time if EVENT_TIME_MIN <= time < EVENT_TIME_MAX else None


def _bounded(value: object, maximum: int) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < maximum else None


FORMAT = Elastic()
