"""The report as a browser shows it: nothing on the console, nothing blank, light and dark as whoever reads it likes."""

from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipeline.incidents.report import SECTIONS, Report, page
from tests.browser import CHROMIUM, DARK, NONE_HERE, opened, show
from tests.unit.incidents.reports import hostile, report

LIGHT_PAPER, DARK_PAPER = (255, 255, 255), (0x14, 0x18, 0x1D)


class Sections(HTMLParser):
    """What people read of each section, without its title."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text: dict[str, str] = {}
        self._section, self._title = "", False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "section":
            self._section = str(dict(attrs)["id"])
        self._title = tag == "h2"

    def handle_endtag(self, tag: str) -> None:
        self._section = "" if tag == "section" else self._section

    def handle_data(self, data: str) -> None:
        if self._section and not self._title:
            self.text[self._section] = self.text.get(self._section, "") + data


@pytest.mark.parametrize("made", [report(), hostile()], ids=["usual", "hostile"])
def test_no_section_is_empty(made: Report) -> None:
    """Each says something, also where there is nothing to say."""
    found = Sections(page(made)).text
    assert [name for name, _ in SECTIONS if not found[name].strip()] == []


@pytest.mark.skipif(CHROMIUM is None, reason=NONE_HERE)
@pytest.mark.parametrize(
    ("made", "options", "paper"),
    [(report(), (), LIGHT_PAPER), (report(), (DARK,), DARK_PAPER), (hostile(), (), LIGHT_PAPER)],
    ids=["usual", "dark", "hostile"],
)
def test_a_browser_shows_it(made: Report, options: tuple[str, ...], paper: tuple[int, ...], tmp_path: Path) -> None:
    """Headless Chromium: the page's own policy has nothing to forbid, not even where log authors wrote markup."""
    file = tmp_path / "report.html"
    file.write_text(page(made), encoding="utf-8")
    shown = show(file, tmp_path / "report.png", *options)
    assert shown.console == []
    assert shown.picture.stat().st_size > 100_000, "the page is blank"
    assert shown.corner() == paper


@pytest.mark.skipif(CHROMIUM is None, reason=NONE_HERE)
def test_what_a_log_author_would_get_in_is_seen(tmp_path: Path) -> None:
    """Were the text not escaped, the console would tell of it: the test above shows something."""
    file = tmp_path / "report.html"
    file.write_text(page(report()).replace("<main", "<script>alert(1)</script><main"), encoding="utf-8")
    assert any("Content Security Policy" in line for line in show(file, tmp_path / "report.png").console)


@pytest.mark.skipif(CHROMIUM is None, reason=NONE_HERE)
def test_a_detector_is_one_word(tmp_path: Path) -> None:
    """Its name is typed into `trainwatch rules`: none is broken at the end of a line."""
    file = tmp_path / "report.html"
    file.write_text(page(report()), encoding="utf-8")
    lines = """[...document.querySelectorAll('td')].filter(e => /^p\\d\\d_\\w+$/.test(e.textContent)).map(e => {
        const words = document.createRange(); words.selectNodeContents(e);
        return new Set([...words.getClientRects()].map(r => r.top)).size })"""
    with opened(file, tmp_path / "profile", "--window-size=700,1600") as tab:
        assert set(tab.ask(lines)) == {1}
