"""Writes nextchar.json, the dashboard that Grafana shows: its panels are in ``panels``.

python deploy/grafana/dashboard.py

Needs grafana-foundation-sdk, which has Grafana's own types. A test compares the written file.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as values
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
)
from panels import NUMBERS, ROWS, Number, Panel

WRITTEN = Path(__file__).parent / "dashboards" / "nextchar.json"

_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_WIDTH, _HEIGHT = 24, 7
_NUMBER_HEIGHT = 4
_MOST_IN_A_LINE = 4


def built() -> str:
    """Returns the dashboard in JSON."""
    board = (
        dashboard.Dashboard("nextchar")
        .uid("nextchar")
        .tags(["nextchar"])
        .description("Traffic, latency, capacity and models of nextchar servers: docs/monitoring.md.")
        .time("now-30m", "now")
        .refresh("10s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_choice("instance", 'label_values(up{job="nextchar"}, instance)').label("Server"))
        .with_variable(_choice("model", 'label_values(nextchar_model_info{job="nextchar"}, model)').label("Model"))
    )
    numbers = count(1)
    for number in NUMBERS:
        board = board.with_panel(_number(number).id(next(numbers)).span(_WIDTH // len(NUMBERS)).height(_NUMBER_HEIGHT))
    for title, panels in ROWS.items():
        board = board.with_row(dashboard.Row(title).id(next(numbers)))
        in_a_line = len(panels) if len(panels) <= _MOST_IN_A_LINE else 3
        for panel in panels:
            board = board.with_panel(_panel(panel).id(next(numbers)).span(_WIDTH // in_a_line).height(_HEIGHT))
    return JSONEncoder(sort_keys=True, indent=2).encode(board.build()) + "\n"


def _choice(name: str, query: str) -> dashboard.QueryVariable:
    every = VariableOption(selected=True, text="All", value="$__all")
    return (
        dashboard.QueryVariable(name)
        .datasource(_SOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(every)
    )


def _panel(panel: Panel) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.description)
        .datasource(_SOURCE)
        .unit(panel.unit)
        .min(0)
        .show_points(values.VisibilityMode.NEVER)
        .fill_opacity(10)
        .legend(
            common.VizLegendOptions()
            .display_mode(values.LegendDisplayMode.LIST)
            .placement(values.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(values.TooltipDisplayMode.MULTI))
    )
    for letter, (legend, query) in zip("ABCDEFGH", panel.queries.items(), strict=False):
        made = made.with_target(prometheus.Dataquery().expr(query).legend_format(legend).ref_id(letter))
    return made


def _number(number: Number) -> stat.Panel:
    steps = [Threshold(value=None, color="green" if number.trouble is None else number.colours[0])]
    if number.trouble is not None:
        steps.append(Threshold(value=number.trouble, color=number.colours[1]))
    return (
        stat.Panel()
        .title(number.title)
        .description(number.description)
        .datasource(_SOURCE)
        .unit(number.unit)
        .no_value(number.without)
        .graph_mode(values.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        .with_target(prometheus.Dataquery().expr(number.query).ref_id("A"))
    )


if __name__ == "__main__":
    WRITTEN.write_text(built())
