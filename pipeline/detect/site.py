"""Settings in; what detectors need of them out."""

from pipeline.detect.case import Root, Site
from pipeline.detect.detector import registry
from pipeline.errors import ConfigError
from pipeline.settings import Settings


def require_known_detectors(settings: Settings) -> None:
    """Raises ConfigError where a suppression names a detector that there is not: it would hold nothing back, and nobody would notice."""
    if stray := sorted({each.detector for each in settings.detect.suppressions} - {each.meta.id for each in registry()}):
        raise ConfigError(
            f"detect.suppressions: there is no detector {', '.join(stray)}", advice="Write a whole id; `trainwatch rules` lists them."
        )


def site_of(settings: Settings) -> Site:
    """Fixed per worker generation.  The owner of a folder is one of its writers."""
    roots = (
        Root(root.path.rstrip("/") + "/", root.kind, frozenset({*root.writers, root.owner} - {""})) for root in settings.artefact_roots
    )
    grace_ms, bucket_ms = settings.time.grace_seconds * 1000, settings.time.coverage_bucket_seconds * 1000
    innermost_first = tuple(sorted(roots, key=lambda root: (-len(root.path), root.path)))
    return Site(settings.directory(), settings.detect, grace_ms, bucket_ms, innermost_first)
