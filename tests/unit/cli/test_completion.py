"""What a shell offers where somebody presses the tabulator key."""

import pytest
from click.shell_completion import ShellComplete

from pipeline.cli import main


@pytest.mark.parametrize(
    ("words", "begun", "offered"),
    [
        ([], "fin", {"finding"}),
        (["finding"], "", {"list", "show"}),
        (["finding", "list"], "--s", {"--since"}),
        (["finding", "list", "--detector"], "p03", {"p03_foreign_cancel"}),
        (["label", "a378b78a07ce"], "", {"true", "false", "benign"}),
        (["label", "a378b78a07ce", "benign", "--because"], "admin", {"admin_ticket"}),
        (["dashboard"], "o", {"overview"}),
        (["rules"], "p17", {"p17_borrowed_account"}),
        (["backtest", "--rule"], "p17", {"p17_borrowed_account"}),
        (["notify"], "", {"ack", "list", "retry", "snooze", "test"}),
    ],
)
def test_words_are_completed(words: list[str], begun: str, offered: set[str]) -> None:
    """Commands, options, and names that nobody knows by heart."""
    found = ShellComplete(main, {}, "trainwatch", "_TRAINWATCH_COMPLETE").get_completions(words, begun)
    assert {each.value for each in found} == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_names_our_variable(shell: str) -> None:
    """As README says: eval "$(_TRAINWATCH_COMPLETE=bash_source trainwatch)"."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    made = get_completion_class(shell)
    assert made is not None
    template = made(main, {}, "trainwatch", "_TRAINWATCH_COMPLETE")
    assert f"_TRAINWATCH_COMPLETE={shell}_complete" in template.source_template % template.source_vars()
