"""Drawings in; the two scripts that draw them, and the policy that lets these two run and nothing else, out.

Apache ECharts is shipped as its project builds it, beside its licence; `about.json` says which it is.  The policy names the hashes of the
library and of `draw.js`: whatever else in the page looks like script, an attacker's text that slipped through escaping included, the
browser refuses.  The library needs no `unsafe-eval`, and the page may ask nobody for anything.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import orjson

HERE = Path(__file__).parent
LIBRARY = HERE / "echarts" / "echarts.min.js"
DRAWING = HERE / "draw.js"
OURS = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def policy(*, charts: bool) -> str:
    """Of a page with charts, or without: then no script at all."""
    if not charts:
        return OURS
    return f"{OURS}; script-src {' '.join(_hash(_source(path)) for path in (LIBRARY, DRAWING))}"


def scripts(drawings: Sequence[Mapping[str, Any]]) -> str:
    """What stands at the end of a page with charts: their data, the library, the drawing."""
    data = orjson.dumps(drawings).decode()
    for char in "<>&\u2028\u2029":
        data = data.replace(char, f"\\u{ord(char):04x}")
    return (
        f'<script type="application/json" id="charts">{data}</script>\n'
        f"<script>{_source(LIBRARY)}</script>\n<script>{_source(DRAWING)}</script>\n"
    )


@cache
def _source(path: Path) -> str:
    return path.read_bytes().decode()


@cache
def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
