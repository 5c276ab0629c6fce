"""Settings in; what detectors need of them out."""

from pipeline.detect.case import Root, Site
from pipeline.settings import Settings


def site_of(settings: Settings) -> Site:
    """Fixed per worker generation.  The owner of a folder is one of its writers."""
    roots = (
        Root(root.path.rstrip("/") + "/", root.kind, frozenset({*root.writers, root.owner} - {""})) for root in settings.artefact_roots
    )
    grace_ms, bucket_ms = settings.time.grace_seconds * 1000, settings.time.coverage_bucket_seconds * 1000
    innermost_first = tuple(sorted(roots, key=lambda root: (-len(root.path), root.path)))
    return Site(settings.directory(), settings.detect, grace_ms, bucket_ms, innermost_first)
