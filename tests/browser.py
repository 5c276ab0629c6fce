"""A page in, what a headless browser says and shows of it out: Chromium, where there is one."""

import fcntl
import json
import os
import select
import shutil
import subprocess
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import Any, NamedTuple

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


class Tab:
    """A page that a browser has open: asked by expressions, and touched by a mouse.  The browser's own protocol, through pipes."""

    def __init__(self, to: BufferedWriter, answers: BufferedReader) -> None:
        self._to, self._answers, self._said = to, answers, b""
        self._calls = 0
        self._session: dict[str, str] = {}
        self.console: list[str] = []  # errors, refusals by the page's policy, words of scripts
        found = self.call("Target.getTargets")["targetInfos"]
        target = next(each["targetId"] for each in found if each["type"] == "page")
        self._session = {"sessionId": self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """What the browser answers; what it says meanwhile is kept."""
        self._calls += 1
        self._to.write(json.dumps({"id": self._calls, "method": method, "params": params, **self._session}).encode() + b"\0")
        self._to.flush()
        while True:
            said = self._next()
            if said.get("id") == self._calls:
                assert "error" not in said, said
                return dict(said["result"])
            if said.get("method") in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
                self.console.append(str(said["params"]))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._said:
            ready, _, _ = select.select([self._answers], [], [], 60)
            more = self._answers.read1() if ready else b""
            assert more, "the browser says nothing more"
            self._said += more
        said, _, self._said = self._said.partition(b"\0")
        return dict(json.loads(said))

    def ask(self, expression: str) -> Any:
        """The value of an expression."""
        said = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    def until(self, expression: str) -> None:
        """Waits for it to become true."""
        for _ in range(400):
            if self.ask(expression):
                return
            time.sleep(0.025)
        raise AssertionError(f"never true: {expression}")

    def texts(self, chart: int = 0) -> list[str]:
        """What stands in a drawing."""
        return list(self.ask(f"[...document.querySelectorAll('.chart')[{chart}].querySelectorAll('svg text')].map(e => e.textContent)"))

    def middle(self, element: str) -> tuple[float, float]:
        """Of an element, an expression of the page's, brought into sight: in pixels of the window."""
        self.ask(f"{element}.scrollIntoView({{block: 'nearest'}})")
        x, y = self.ask(f"(e => [e.left + e.width / 2, e.top + e.height / 2])({element}.getBoundingClientRect())")
        return x, y

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """`mouseMoved`, `mousePressed` or `mouseReleased`, in pixels of the window; then the page has time to draw."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)
        time.sleep(0.03)

    def click(self, x: float, y: float, times: int = 1) -> None:
        """With the left button, once or twice."""
        for count in range(1, times + 1):
            for kind in ("mousePressed", "mouseReleased"):
                self.mouse(kind, x, y, button="left", clickCount=count)


@contextmanager
def opened(page: Path, profile: Path, *options: str, without_script: bool = False) -> Iterator[Tab]:
    """The page in a browser of its own, which ends with the block."""
    assert CHROMIUM is not None, NONE_HERE
    (read, to), (answers, write) = _pipe(), _pipe()
    command = [CHROMIUM, *OPTIONS, *options, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
    shell = ["bash", "-c", f'exec "$@" 3<&{read} 4>&{write}', "browser", *command]
    browser = subprocess.Popen(shell, pass_fds=(read, write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(read)
    os.close(write)
    try:
        with os.fdopen(to, "wb") as sends, os.fdopen(answers, "rb") as hears:
            tab = Tab(sends, hears)
            for domain in ("Log", "Runtime", "Page"):
                tab.call(f"{domain}.enable")
            tab.call("Emulation.setScriptExecutionDisabled", value=without_script)
            tab.call("Page.navigate", url=page.as_uri())
            tab.until("location.protocol === 'file:' && document.readyState === 'complete'")
            yield tab
    finally:
        browser.terminate()
        browser.wait(30)


def _pipe() -> list[int]:
    """Its ends, away from the numbers that the browser expects them at."""
    low = os.pipe()
    ends = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 10) for each in low]
    for each in low:
        os.close(each)
    return ends
