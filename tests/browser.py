"""A page in, what a headless browser says and shows of it out: Chromium, where there is one."""

import os
import shutil
import subprocess
import zlib
from pathlib import Path
from typing import NamedTuple

CHROMIUM = next(filter(None, map(shutil.which, (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome"))), None)
NONE_HERE = "no Chromium: apt-get install chromium, or CHROMIUM=/path/to/it"
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1500,2400", "--enable-logging=stderr")
DARK = "--blink-settings=preferredColorScheme=0"


class Shown(NamedTuple):
    """One page."""

    console: list[str]  # nothing, if all is well: not even of the page's own policy
    picture: Path

    def corner(self) -> tuple[int, ...]:
        """Red, green and blue of the first pixel, which no filter of PNG changes: the page's background."""
        data, compressed, at = self.picture.read_bytes(), b"", 8
        while at < len(data):
            length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
            compressed += data[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
            at += length + 12
        return tuple(zlib.decompress(compressed)[1:4])


def show(page: Path, picture: Path, *options: str) -> Shown:
    """Opens it and takes a picture.  What the browser keeps lies beside that."""
    assert CHROMIUM is not None, NONE_HERE
    profile = f"--user-data-dir={picture.parent / 'profile'}"
    command = [CHROMIUM, *OPTIONS, *options, profile, f"--screenshot={picture}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return Shown([line for line in done.stderr.splitlines() if "CONSOLE" in line], picture)
