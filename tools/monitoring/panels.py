"""A few kinds of panels, made with Grafana's own builders, and how they are laid out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models.dashboard import DataSourceRef, Threshold, ThresholdsMode

DATASOURCE: Final = DataSourceRef("prometheus", "goodstrace-prometheus")
TAG: Final = "goodstrace"
STAT_WIDTH, STAT_HEIGHT, WIDTH, HEIGHT = 6, 4, 12, 8
EXEMPLARS: Final = (
    "goodstrace_audit_call_seconds",
    "goodstrace_audit_capture_to_checkpoint_seconds",
    "goodstrace_audit_seal_latency_seconds",
    "goodstrace_collector_call_seconds",
    "goodstrace_collector_capture_seconds",
    "goodstrace_collector_group_commit_seconds",
    "goodstrace_collector_span_commit_seconds",
    "goodstrace_ledger_capture_to_checkpoint_seconds",
    "goodstrace_ledger_seal_latency_seconds",
    "goodstrace_query_browse_acknowledged_seconds",
    "goodstrace_query_call_seconds",
    "goodstrace_query_log_request_seconds",
)
"""The histograms that name traces: panels of theirs show exemplars."""
Query = tuple[str, str]
"""An expression, and the legend of its series."""
Panel = stat.Panel | timeseries.Panel
P = TypeVar("P", stat.Panel, timeseries.Panel)


@dataclass(frozen=True)
class Board:
    """A dashboard: `rows` are titles with their panels."""

    uid: str
    title: str
    description: str
    rows: Sequence[tuple[str, Sequence[Panel]]]

    def to_json(self) -> str:
        """Give it as Grafana reads it, with a line for each value."""
        board = (
            builders.Dashboard(self.title)
            .uid(self.uid)
            .description(self.description)
            .tags([TAG])
            .timezone("browser")
            .refresh("30s")
            .time("now-1h", "now")
            .readonly()
            .link(_to_others())
        )
        for title, panels in self.rows:
            board.with_row(builders.Row(title))
            for panel in panels:
                board.with_panel(panel)
        made: dict[str, Any] = json.loads(json.dumps(board.build(), cls=JSONEncoder))
        for number, panel in enumerate(made["panels"], 1):
            panel["id"] = number
        return json.dumps(made, indent=2, sort_keys=True) + "\n"


def graph(
    title: str, unit: str, *queries: Query, about: str = "", stacked: bool = False, floor: float | None = 0
) -> timeseries.Panel:
    """Make a panel of lines over time; `unit` is Grafana's name of it, `about` what to see in it."""
    legend = (
        common_builders.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.TABLE)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs(["lastNotNull", "max"])
    )
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .unit(unit)
        .datasource(DATASOURCE)
        .span(WIDTH)
        .height(HEIGHT)
        .line_width(1)
        .fill_opacity(10)
        .legend(legend)
        .tooltip(common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
    )
    if floor is not None:
        panel.min(floor)
    if stacked:
        panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL))
    return _asking(panel, queries, is_instant=False)


def number(
    title: str,
    unit: str,
    *queries: Query,
    warn: float | None = None,
    bad: float | None = None,
    about: str = "",
) -> stat.Panel:
    """Make a panel of one number now, yellow from `warn` on and red from `bad` on."""
    steps = [Threshold(None, "green")]
    steps += [
        Threshold(value, colour) for value, colour in ((warn, "yellow"), (bad, "red")) if value is not None
    ]
    panel = (
        stat.Panel()
        .title(title)
        .description(about)
        .unit(unit)
        .datasource(DATASOURCE)
        .span(STAT_WIDTH)
        .height(STAT_HEIGHT)
        .color_mode(common.BigValueColorMode.BACKGROUND)
        .graph_mode(common.BigValueGraphMode.NONE)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(builders.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    )
    return _asking(panel, queries, is_instant=True)


def _asking(panel: P, queries: Sequence[Query], *, is_instant: bool) -> P:
    for letter, (expr, legend) in zip("ABCDEFGH", queries, strict=False):
        query = prometheus.Dataquery().ref_id(letter).expr(expr).legend_format(legend).datasource(DATASOURCE)
        if not is_instant and any(f"({each}_bucket" in expr for each in EXEMPLARS):
            query.exemplar(True)
        panel.with_target(query.instant() if is_instant else query.range())
    return panel


def _to_others() -> builders.DashboardLink:
    return builders.DashboardLink("Goodstrace").tags([TAG]).as_dropdown(True).keep_time(True)
