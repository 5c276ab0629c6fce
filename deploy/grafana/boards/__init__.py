"""The dashboards, in the order in which a reader meets them.  Each module holds one `BOARD`."""

from deploy.grafana.boards import clickhouse, detectors, entity, incident, job, overview, pipeline_health
from deploy.grafana.panels import Board

BOARDS: tuple[Board, ...] = (
    overview.BOARD, incident.BOARD, job.BOARD, entity.BOARD, detectors.BOARD, pipeline_health.BOARD, clickhouse.BOARD,
)  # fmt: skip
