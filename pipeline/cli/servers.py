"""`trainwatch up | down`: the servers of this machine, or checks of those that settings name."""

import click

from pipeline.cli import Options, examples, say


@click.command(epilog=examples("up", "up --install                 # first fetches Java, Kafka and ClickHouse where they are missing"))
@click.option("--install", "wanted", is_flag=True, help="First fetch what is missing: Java, Kafka, ClickHouse.")
@click.option("--install-only", is_flag=True, help="Fetch what is missing and start nothing.")
@click.pass_obj
def up(options: Options, wanted: bool, install_only: bool) -> None:
    """Start Kafka and ClickHouse on this machine, or check the ones that settings name.

    A second `up` changes nothing.  Exit 0: all answer; 1: something failed, and the message says what to do; 2: wrong settings.
    """
    from pipeline.embedded import install, servers  # noqa: PLC0415  keeps --help quick

    if wanted or install_only:
        install.ensure_for(options.settings, say=say)
    if install_only:
        return
    addresses = servers.up(options.settings, say=say)
    click.echo(f"kafka       {addresses.kafka}")
    click.echo(f"clickhouse  {addresses.clickhouse_host}:{addresses.clickhouse_port}")
    click.echo(f"web page    {addresses.web_page}")


@click.command(epilog=examples("down"))
@click.pass_obj
def down(options: Options) -> None:
    """Stop the servers that `up` started, and nothing else.  Data stay."""
    from pipeline.embedded import servers  # noqa: PLC0415

    servers.down(options.settings, say=say)
