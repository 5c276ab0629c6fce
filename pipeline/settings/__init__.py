"""One frozen tree of settings, read once: `trainwatch.yaml`, then `TRAINWATCH_*` from the environment, which wins.

    file, environment -> reading -> tree, which is made of sections: kafka, clickhouse, process, inputs, times, people, evidence,
                                    detect, notify, loss; a new one is a class of one of these files and a line of the tree

A field carries its unit in its name, a default, bounds and a description; schemas/SETTINGS.md is rendered from them by `listing`.
"""

from pipeline.settings.clickhouse import ClickHouseSettings
from pipeline.settings.detect import DetectSettings
from pipeline.settings.evidence import EvidenceSettings
from pipeline.settings.excused import AllowedSettings, SuppressionSettings, allowed
from pipeline.settings.folders import cache_folder, schemas_folder
from pipeline.settings.inputs import ArtefactRootSettings, IngestSettings, SourceSettings
from pipeline.settings.kafka import KafkaSettings
from pipeline.settings.listing import table
from pipeline.settings.loss import LossSettings, PriceSettings, StaffSettings
from pipeline.settings.notify import NotifySettings, TargetSettings
from pipeline.settings.part import Part, others_may, readable, secret_of
from pipeline.settings.people import IdentitySettings, PrivacySettings, Role, TicketSettings
from pipeline.settings.process import AUTO, CheckpointSettings, DeadLetterSettings, EmbeddedSettings, WorkerSettings
from pipeline.settings.reading import OTHER_VARIABLES, SETTINGS_FILE, chosen, load
from pipeline.settings.times import RetentionSettings, TimeSettings
from pipeline.settings.tree import ENVIRONMENT_PREFIX, Settings

__all__ = (
    "AUTO", "ENVIRONMENT_PREFIX", "OTHER_VARIABLES", "SETTINGS_FILE", "AllowedSettings", "ArtefactRootSettings", "CheckpointSettings",
    "ClickHouseSettings", "DeadLetterSettings", "DetectSettings", "EmbeddedSettings", "EvidenceSettings", "IdentitySettings",
    "IngestSettings", "KafkaSettings", "LossSettings", "NotifySettings", "Part", "PriceSettings", "PrivacySettings", "RetentionSettings",
    "Role", "Settings", "SourceSettings", "StaffSettings", "SuppressionSettings", "TargetSettings", "TicketSettings", "TimeSettings",
    "WorkerSettings", "allowed", "cache_folder", "chosen", "load", "others_may", "readable", "schemas_folder", "secret_of", "table",
)  # fmt: skip
