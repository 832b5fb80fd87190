"""Pictures of the dashboards: the committed JSON of each, with Prometheus' answers to its very queries over the time of the drill, drawn as SVG.

Grafana itself is not here. What is shown are panels, places, titles, series and values; its looks, units and legends are not.
"""

import json
import math
import re
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from deploy.service_processes import ROOT
from tests.prometheus import Prometheus

BOARDS: Final = ROOT / "deploy" / "grafana" / "dashboards"
FOLDER: Final = ROOT / "docs" / "pictures" / "dashboards"
UNIT: Final = (50, 20)
"""Pixels of one column of Grafana's 24, and of one row."""
POINTS, MOST_SERIES = 120, 12
WINDOW: Final = "10s"  # for $__rate_interval
COLOURS: Final = (
    "#3b78b5",
    "#d9772f",
    "#4b9a4b",
    "#c0443f",
    "#8766b3",
    "#8a6354",
    "#d07cb8",
    "#777",
    "#aaa83b",
    "#3fa9b5",
)
_LABEL: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")
Series = tuple[str, list[tuple[float, float]]]


def draw_all(prometheus: Prometheus, begin_s: float, end_s: float, folder: Path = FOLDER) -> int:
    """Draw every dashboard; gives how many panels have series."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = 0
    for path in sorted(BOARDS.glob("*.json")):
        board = json.loads(path.read_text())
        pieces = [
            _panel(panel, _series(prometheus, panel, begin_s, end_s), begin_s, end_s)
            for panel in board["panels"]
        ]
        drawn += sum("<polyline" in each or 'class="value"' in each for each in pieces)
        height = max(each["gridPos"]["y"] + each["gridPos"]["h"] for each in board["panels"]) * UNIT[1] + 40
        title = escape(board["title"])
        (folder / f"{path.stem}.svg").write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{24 * UNIT[0]}" height="{height}" font-family="sans-serif" font-size="11">'
            f'<rect width="100%" height="100%" fill="#fff"/><text x="10" y="26" font-size="18">{title}</text>'
            f'<g transform="translate(0 40)">\n{"".join(pieces)}</g></svg>\n'
        )
    return drawn


def _series(prometheus: Prometheus, panel: dict[str, Any], begin_s: float, end_s: float) -> list[Series]:
    found: list[Series] = []
    step = max(1, math.ceil((end_s - begin_s) / POINTS))
    for target in panel.get("targets", ()):
        expr = target["expr"].replace("$__rate_interval", WINDOW)
        told = prometheus.ask("query_range", query=expr, start=str(begin_s), end=str(end_s), step=str(step))
        for each in told["result"]:
            labels = each["metric"]
            name = _LABEL.sub(
                lambda label, labels=labels: labels.get(label[1], ""), target.get("legendFormat", "")
            )  # type: ignore[misc]
            values = [(float(at), float(value)) for at, value in each["values"]]
            found.append((name, [(at, value) for at, value in values if math.isfinite(value)]))
    return [each for each in found if each[1]]


def _panel(panel: dict[str, Any], series: Sequence[Series], begin_s: float, end_s: float) -> str:
    place = panel["gridPos"]
    x, y = place["x"] * UNIT[0], place["y"] * UNIT[1]
    width, height = place["w"] * UNIT[0], place["h"] * UNIT[1]
    title = f'<text x="8" y="15" font-weight="bold">{escape(panel.get("title", ""))}</text>'
    if panel["type"] == "row":
        return f'<g transform="translate({x} {y})">{title}</g>\n'
    if panel["type"] == "stat":
        body = "".join(_stat(series, height))
    else:
        body = "".join(_graph(series, width, height, begin_s, end_s))
    frame = f'<rect x="3" y="2" width="{width - 6}" height="{height - 4}" fill="none" stroke="#ccc"/>'
    return f'<g transform="translate({x} {y})">{frame}{title}{body}</g>\n'


def _stat(series: Sequence[Series], height: int) -> Iterator[str]:
    for number, (name, values) in enumerate(series[:2]):
        yield f'<text class="value" x="8" y="{height - 14 - 22 * number}" font-size="20">{_short(values[-1][1])} <tspan font-size="11">{escape(name)}</tspan></text>'


def _graph(series: Sequence[Series], width: int, height: int, begin_s: float, end_s: float) -> Iterator[str]:
    if not series:
        yield f'<text x="{width // 2 - 20}" y="{height // 2}" fill="#888">no data</text>'
        return
    shown = sorted(series, key=lambda each: -max(value for _, value in each[1]))[:MOST_SERIES]
    top = max(max(value for _, value in values) for _, values in shown) or 1.0
    left, right, upper, lower = 48, width - 150, 24, height - 12
    for part in (0.0, 0.5, 1.0):
        at = lower - part * (lower - upper)
        yield f'<path d="M{left} {at:.0f}H{right}" stroke="#eee"/><text x="6" y="{at + 4:.0f}" fill="#666">{_short(top * part)}</text>'
    for number, (name, values) in enumerate(shown):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(
            f"{left + (at - begin_s) / (end_s - begin_s) * (right - left):.0f},{lower - max(0.0, value) / top * (lower - upper):.1f}"
            for at, value in values
        )
        yield f'<polyline fill="none" stroke="{colour}" points="{points}"/>'
        if upper + 13 * number < lower:
            yield f'<text x="{right + 6}" y="{upper + 4 + 13 * number}" fill="{colour}">{escape(name[:21])}</text>'


def _short(value: float) -> str:
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{letter}"
    return f"{value:.3g}"
