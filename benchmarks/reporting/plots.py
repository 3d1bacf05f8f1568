"""Plots of the results: one PNG per group with a panel for each kind of workload."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.reporting.figure_table import number
from benchmarks.reporting.results import Result

__all__ = ["plot"]

LIMIT = "bare"
_COLOURS = {
    "ours": "#1f6feb",
    "asyncio": "#79c0ff",
    "eventsourcing": "#e69f00",
    "umadb": "#8c6bb1",
    "emmett": "#2ca25f",
}
_OTHER_COLOURS = ("#56b4e9", "#d95f02", "#7f7f7f", "#a6761d")
_LIMIT_COLOUR = "#111111"
_BAR = 0.8
"""Share of a workload's height that bars use; the rest is space."""
_LABEL_WIDTH = 34
_DPI = 90
_PALETTE = 32
"""Colours per file; more make it larger and not clearer."""
_LOGARITHMIC_FROM = 40.0
"""Ratio of largest to smallest median above which a linear bar would be invisible."""


def plot(title: str, results: Sequence[Result], path: Path) -> None:
    """Draw the results of one group."""
    from matplotlib.figure import Figure as Picture

    panels: dict[tuple[str, str], list[Result]] = {}
    for result in (result for result in results if result.figures):
        panels.setdefault((result.panel, result.unit), []).append(result)
    colours = _colours(results)
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    heights = [
        max(_height(of_panel) for of_panel in list(panels.values())[row * columns :][:columns])
        for row in range(rows)
    ]
    picture = Picture(figsize=(6.2 * columns, sum(heights) + 0.9), layout="constrained")
    picture.suptitle(title, fontsize=13, fontweight="bold")
    grid = picture.add_gridspec(rows, columns, height_ratios=heights)
    for place, ((panel, unit), of_panel) in enumerate(panels.items()):
        axes = picture.add_subplot(grid[place // columns, place % columns])
        scale = _draw(axes, of_panel, colours, heights[place // columns] / _height(of_panel))
        better = "more" if of_panel[0].better == "higher" else "less"
        axes.set_title(f"{panel}: {unit}{scale} ({better} is better)", fontsize=9, loc="left")
    _add_legend(picture, colours, with_limit=any(LIMIT in result.figures for result in results))
    _save(picture, path)


def _save(picture: Any, path: Path) -> None:
    """Write a small file; the same plot always gives the same bytes."""
    from PIL import Image

    drawn = io.BytesIO()
    picture.savefig(drawn, format="png", dpi=_DPI)
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(_PALETTE).save(path, format="PNG", optimize=True)


def _height(results: Sequence[Result]) -> float:
    return 0.75 + sum(0.2 + 0.17 * len(_bars(result)) for result in results)


def _bars(result: Result) -> list[str]:
    return [name for name in result.figures if name != LIMIT]


def _colours(results: Sequence[Result]) -> dict[str, str]:
    names = dict.fromkeys(name for result in results for name in _bars(result))
    others = iter(_OTHER_COLOURS * len(names))
    return {name: _COLOURS.get(name) or next(others) for name in names}


def _draw(axes: Any, results: Sequence[Result], colours: dict[str, str], room: float) -> str:
    """Draw a panel; return the suffix of its title that names the scale.

    Args:
        axes: Where to draw.
        results: What to draw.
        colours: By contender.
        room: Height of the panel as a multiple of the height it needs.
    """
    scale = _scale(axes, results)
    for place, result in enumerate(results):
        _draw_workload(axes, place, result, colours)
    axes.set_yticks(range(len(results)))
    axes.set_yticklabels([textwrap.fill(one.label, _LABEL_WIDTH) for one in results], fontsize=8)
    axes.set_ylim(len(results) * room - 0.5, -0.5)
    axes.xaxis.set_major_formatter(lambda value, _: number(value))
    axes.tick_params(axis="x", labelsize=7)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return scale


def _scale(axes: Any, results: Sequence[Result]) -> str:
    medians = [figure.median for result in results for figure in result.figures.values()]
    most = max(
        medians + [result.figures[name].most for result in results for name in _bars(result)]
    )
    if 0 < min(medians) * _LOGARITHMIC_FROM < max(medians):
        axes.set_xscale("log")
        axes.set_xlim(min(medians) / 3, most * 3)
        return ", logarithmic"
    axes.set_xlim(0, most * 1.15 or 1)
    axes.locator_params(axis="x", nbins=5)
    return ""


def _draw_workload(axes: Any, place: int, result: Result, colours: dict[str, str]) -> None:
    """Draw a bar and a thin line for the spread per contender, and the limit across them."""
    names = _bars(result)
    height = _BAR / max(1, len(names))
    for index, name in enumerate(names):
        figure = result.figures[name]
        y = place - _BAR / 2 + height * (index + 0.5)
        axes.barh(y, figure.median, height=height * 0.9, color=colours[name])
        axes.plot([figure.least, figure.most], [y, y], color="#00000088", linewidth=1)
        axes.annotate(
            number(figure.median),
            (max(figure.median, figure.most), y),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
            zorder=4,
            bbox={"color": "white", "alpha": 0.8, "pad": 0.5, "linewidth": 0},
        )
    if LIMIT in result.figures:
        limit = result.figures[LIMIT].median
        axes.plot([limit, limit], [place - 0.46, place + 0.46], color=_LIMIT_COLOUR, linewidth=2)


def _add_legend(picture: Any, colours: dict[str, str], *, with_limit: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Patch(color=colour, label=name) for name, colour in colours.items()]
    if with_limit:
        label = "the limit: bare psycopg"
        handles.append(Line2D([], [], color=_LIMIT_COLOUR, linewidth=2, label=label))
    picture.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, frameon=False
    )
