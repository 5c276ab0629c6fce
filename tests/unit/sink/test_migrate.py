"""Migration files and the comparison with what a database says of them."""

import re
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, MigrationMissing
from pipeline.settings import ClickHouseSettings
from pipeline.sink import migrate
from pipeline.sink.migrate import Applied, Migration, State, compare, placeholders, read_migrations, statements

ONE, TWO, THREE = (Migration(number, f"create_{number}", f"up {number}", f"down {number}") for number in (1, 2, 3))


def said(migration: Migration, state: State = State.APPLIED, checksum: str = "") -> Applied:
    """What the database says of a migration."""
    return Applied(migration.number, migration.name, state, checksum or migration.checksum, "0.1.0")


def done(*entries: Applied) -> dict[int, Applied]:
    """By number."""
    return {entry.number: entry for entry in entries}


def test_released_files_are_numbered_and_filled_in() -> None:
    """Every file of schemas/clickhouse has both directions, statements, and no placeholder that is left over."""
    migrations = read_migrations()
    assert [migration.number for migration in migrations] == list(range(1, len(migrations) + 1))
    for migration in migrations:
        for text in (migration.up, migration.down):
            found = statements(text, placeholders(ClickHouseSettings(database="site")))
            assert found
            assert not any(mark in statement for statement in found for mark in "{}")


# Replacing a view, commenting a column, setting a setting and filling in what is derived change nothing the second time.
AGAIN = re.compile(r"CREATE OR REPLACE VIEW |ALTER TABLE \S+\s+(MODIFY COMMENT|COMMENT COLUMN|MODIFY SETTING|MATERIALIZE) ")


def test_statements_run_again_without_harm() -> None:
    """A migration that was killed half-way is run again from its start."""
    for migration in read_migrations():
        for statement in statements(migration.up, placeholders(ClickHouseSettings())):
            assert " IF NOT EXISTS " in statement or AGAIN.match(statement), statement
        for statement in statements(migration.down, placeholders(ClickHouseSettings())):
            assert " IF EXISTS " in statement or AGAIN.match(statement), statement


def test_settings_reach_the_statements() -> None:
    """Database and retention are the site's."""
    values = placeholders(ClickHouseSettings(database="site", retention_days=30))
    text = " ".join(statement for migration in read_migrations() for statement in statements(migration.up, values))
    assert "site.events" in text
    assert "toIntervalDay(30)" in text
    assert "trainwatch." not in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1;", ["SELECT 1"]),
        ("SELECT 1;\n\nSELECT 2;\n", ["SELECT 1", "SELECT 2"]),
        ("-- why; not what\nSELECT 1\n  -- {nonsense} in a comment\n;\n", ["SELECT 1"]),
        ("SELECT ';', '{database}';\n", ["SELECT ';', 'trainwatch'"]),
        ("-- nothing\n", []),
    ],
)
def test_files_are_split_at_semicolons_that_end_a_line(text: str, expected: list[str]) -> None:
    """Comments are left out, whatever stands in them."""
    assert statements(text, placeholders(ClickHouseSettings())) == expected


def test_an_unknown_placeholder_is_refused() -> None:
    """A typo is not sent to the server."""
    with pytest.raises(ConfigError, match="databse"):
        statements("DROP TABLE {databse}.events;", placeholders(ClickHouseSettings()))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["0001_a_b.up.sql"], "needs both"),
        (["0001_a_b.up.sql", "0001_a_b.down.sql", "0003_c_d.up.sql", "0003_c_d.down.sql"], "0002 is expected"),
        (["0001_a_b.up.sql", "0001_a_b.down.sql", "0001_c_d.up.sql", "0001_c_d.down.sql"], "0002 is expected"),
        (["0002_a_b.up.sql", "0002_a_b.down.sql"], "0001 is expected"),
        (["1_a.sql"], "not the name of a migration"),
    ],
)
def test_a_folder_with_a_gap_is_refused(tmp_path: Path, names: list[str], message: str) -> None:
    """Gaps, doubles, strays and missing directions, before anything is sent."""
    for name in names:
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(ConfigError, match=message):
        read_migrations(tmp_path)


STATES = [
    ("fresh", done(), [State.PENDING] * 3),
    ("all there", done(said(ONE), said(TWO), said(THREE)), [State.APPLIED] * 3),
    ("behind", done(said(ONE)), [State.APPLIED, State.PENDING, State.PENDING]),
    ("killed half-way", done(said(ONE), said(TWO, State.STARTED)), [State.APPLIED, State.STARTED, State.PENDING]),
    ("reverted", done(said(ONE), said(TWO, State.REVERTED)), [State.APPLIED, State.REVERTED, State.PENDING]),
    ("reverted and edited since", done(said(ONE), said(TWO, State.REVERTED, "older")), [State.APPLIED, State.REVERTED, State.PENDING]),
]


@pytest.mark.parametrize(("name", "entries", "expected"), STATES, ids=[row[0] for row in STATES])
def test_states_of_a_database(name: str, entries: dict[int, Applied], expected: list[State]) -> None:
    """Every migration has one."""
    assert [line.state for line in compare([ONE, TWO, THREE], entries)] == expected


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (done(said(ONE, checksum="other"), said(TWO)), "0001_create_1 was edited"),
        (done(said(ONE), said(THREE)), "0003_create_3 is applied, but 0002_create_2"),
        (done(said(ONE, State.REVERTED), said(TWO)), "0002_create_2 is applied, but 0001_create_1"),
    ],
)
def test_a_database_that_was_built_from_other_files_is_refused(entries: dict[int, Applied], message: str) -> None:
    """Edits and gaps, with advice."""
    with pytest.raises(MigrationMissing, match=message) as refusal:
        compare([ONE, TWO, THREE], entries)
    assert refusal.value.advice != MigrationMissing.advice


def test_a_database_ahead_of_this_release_is_shown_as_such() -> None:
    """A newer release's migration is listed, not refused."""
    lines = compare([ONE, TWO], done(said(ONE), said(TWO), said(THREE)))
    assert [(line.number, line.known) for line in lines] == [(1, True), (2, True), (3, False)]


def test_the_checksum_is_of_the_text_before_substitution() -> None:
    """Another database name is no edit; another comment is."""
    assert Migration(1, "a_b", "x {database}", "y").checksum == Migration(1, "a_b", "x {database}", "y").checksum
    assert Migration(1, "a_b", "x", "y").checksum != Migration(1, "a_b", "x -- why", "y").checksum
    assert Migration(1, "a_b", "x", "y").checksum != Migration(1, "a_b", "xy", "").checksum
    assert migrate.placeholders(ClickHouseSettings()).keys() >= {"database", "on_cluster", "replicated"}
