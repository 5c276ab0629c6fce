"""A list of Kubernetes' events in; each of them, as it stands in the list, out.

    {"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[{"auditID":"..",..},..]}      the audit webhook's batches
    {"kind":"EventList","apiVersion":"v1","metadata":{},"items":[{"involvedObject":{..},"reason":"..",..},..]}    the API itself

The audit log's and the core's events are told apart by the formats that read them.  Other lists stay whole, that of `kubectl get events`
among them: its format reads it.

Holds: at most ITEMS_MAX items; an item is the bytes that came, unless they had to be mended.
"""

from collections.abc import Sequence

import msgspec

from pipeline.formats.envelopes.json_lines import Unwrap, decoded, each
from pipeline.formats.line import Headers, Line

HEAD_BYTES = 512  # in which the kind or the items begin
_KIND = "EventList"


class _List(msgspec.Struct, gc=False):
    kind: str
    items: list[msgspec.Raw]


_decode = msgspec.json.Decoder(_List).decode


class KubernetesList:
    """The items of a list; `unwrap_object` reads one of them."""

    name = "kubernetes_list"
    begins: Sequence[bytes] = (b"{",)
    keys: Sequence[str] = ("items",)

    def __init__(self, unwrap_object: Unwrap) -> None:
        self._unwrap_object = unwrap_object

    def unwrap(self, value: bytes, headers: Headers) -> list[Line] | None:
        """A line an item."""
        if value[:1] != b"{" or b'"items"' not in value[:HEAD_BYTES]:
            return None
        listed = decoded(_decode, value)
        if listed is None or listed.kind != _KIND:
            return None  # an object whose items are something else
        return each([bytes(item) for item in listed.items], headers, self._unwrap_object)
