"""An event of Ray's job submission in; what became of the job out.

    {"event_id":"..","timestamp":1772451641,"source_type":"EXPORT_SUBMISSION_JOB","event_data":{"submission_job_id":"raysubmit_x",
     "status":"STOPPED","entrypoint":"python train.py","message":"Job was intentionally stopped.","metadata":{"job_name":".."},..}}

Written to `export_events/event_EXPORT_SUBMISSION_JOB.log` where the site switched it on.  `STOPPED` means that somebody called stop; Ray
has no users, so who it was can only be told from what reached the dashboard's port.  The entry point may hold secrets and is not passed on.

Source: github.com/ray-project/ray src/ray/protobuf/export_api/export_submission_job_event.proto, python/ray/_private/event.
NOT VERIFIED ON REAL LINES.
Holds: linear time.
"""

from collections.abc import Sequence

from pipeline.errors import SchemaMismatch, UnknownFormat
from pipeline.formats.fields import checked_time, json_object
from pipeline.formats.json_event import at, int_at, text_at
from pipeline.formats.line import Line, Reading
from pipeline.model.events import ControllerJob, Parsed
from pipeline.model.source import Source

_CHANGES = {"PENDING": "submitted", "RUNNING": "started", "STOPPED": "cancelled", "SUCCEEDED": "completed", "FAILED": "completed"}


class RayJobs:
    """Ray's export of submitted jobs."""

    name = "ray_jobs"
    source = Source.JOBCOMP
    programs = ("ray",)
    begins = (b'{"event_id"',)
    first_bytes = b"{"

    def claims(self, payload: bytes) -> bool:
        """An object of this type."""
        return payload[:1] == b"{" and b'"EXPORT_SUBMISSION_JOB"' in payload

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:  # noqa: ARG002 - its clock is UTC
        """One change of a job.  Raises UnknownFormat for other objects."""
        value = json_object(line.payload)
        if text_at(value, "source_type") != "EXPORT_SUBMISSION_JOB":
            raise UnknownFormat("no event of a submitted job of Ray")
        job, status = text_at(value, "event_data", "submission_job_id"), text_at(value, "event_data", "status")
        seconds = int_at(value, "timestamp")
        if not job or status not in _CHANGES:
            raise SchemaMismatch("an event of Ray without job or known status")
        said = text_at(value, "event_data", "message")
        name = at(value, "event_data", "metadata", "job_name")
        rest = {"job_name": name[:512]} if isinstance(name, str) else {}
        body = ControllerJob(job=job, change=_CHANGES[status], detail=f"{status}: {said}"[:2000] if said else status)
        time = checked_time(seconds * 1000) if seconds else None
        return (Parsed(source=Source.JOBCOMP, body=body, event_time=time, own_id=text_at(value, "event_id"), unmapped=rest),)


FORMAT = RayJobs()
