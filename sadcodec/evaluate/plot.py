"""Rate-distortion plots, by Matplotlib (extra ``plot``): PNG or SVG, the same bytes every time."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sadcodec.errors import OptionError, OutputError
from sadcodec.evaluate.curves import TITLES, Line, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FORMATS", "check_matplotlib", "draw", "spread"]

FORMATS = ("png", "svg")

# Okabe and Ito's colours, which people with any colour vision tell apart, less yellow, which is
# weak on white. Ours is the one with the most contrast; codecs that are met often keep theirs.
_OURS = "#0072B2"
_COLORS = ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#666666")
_KEPT = {"jpeg": "#666666", "webp": "#009E73", "avif": "#D55E00", "jxl": "#CC79A7"}
_KEPT |= {"jp2": "#E69F00"}
_OURS_STYLES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)))
_DASHED = (0, (5, 2))

_WIDTH, _HEIGHT = 5.6, 4.0  # inches of a panel
_DPI = 144
_TEXT = 9.0  # points
_LINE_HEIGHT = 1.3  # of the text's size
_LOG_FROM = 3.0  # highest over lowest rate
_LABELLED_AT_THE_EDGE = 0.85  # of a panel's width: lines that end further left are labelled there
# Of a decade; the first that are not too many.
_TICKS = ((1.0, 1.5, 2.0, 3.0, 5.0, 7.0), (1.0, 2.0, 3.0, 5.0), (1.0, 2.0, 5.0), (1.0,))
_MOST_TICKS = 9

_STYLE = {
    "font.family": ["DejaVu Sans"],  # comes with Matplotlib
    "font.size": _TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "svg.hashsalt": "sadcodec",  # ids in the file are random without it
    "svg.fonttype": "path",
    "text.parse_math": False,  # names of codecs are no formulas
}


def check_matplotlib() -> None:
    """Raise OutputError, one line with what to install, if there is no Matplotlib."""
    try:
        import_module("matplotlib.figure")
    except ImportError as error:
        raise OutputError(
            f"a plot needs Matplotlib (pip install 'sadcodec[plot]'): {error}"
        ) from None


def draw(panels: Sequence[Panel], kind: str) -> bytes:
    """Return an image file with all panels, two in a row.

    Parameters
    ----------
    panels : sequence of Panel, 1 or more
    kind : str
        One of `FORMATS`.

    Returns
    -------
    bytes
        The same for the same panels and the same version of Matplotlib, whatever settings of it
        there are.

    Raises
    ------
    OptionError
        If kind is none of `FORMATS`.
    OutputError
        If Matplotlib is missing.
    """
    if kind not in FORMATS:
        raise OptionError(f"a plot is one of {', '.join(FORMATS)}, not {kind}")
    check_matplotlib()
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    # Neither settings of the user nor figures of a program that calls this are touched.
    defaults = {
        name: value for name, value in mpl.rcParamsDefault.items() if not name.startswith("backend")
    }
    with mpl.rc_context({**defaults, **_STYLE}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure = Figure(figsize=(_WIDTH * columns, _HEIGHT * rows), facecolor="white")
        FigureCanvasAgg(figure)
        _arrange(figure, columns, rows)
        colors = _colors([line for panel in panels for line in panel.lines])
        for index, panel in enumerate(panels):
            _draw_panel(figure.add_subplot(rows, columns, index + 1), panel, colors)
        notes = dict.fromkeys(note for panel in panels for note in panel.notes)
        figure.text(0.01, 0.012, "; ".join(notes) + ".", color="#666666", size=_TEXT - 1)
        buffer = io.BytesIO()
        # Nothing of the time, the version or the standard's addresses.
        nothing = ("Date", "Creator", "Format", "Type") if kind == "svg" else ("Software",)
        figure.savefig(buffer, format=kind, dpi=_DPI, metadata=dict.fromkeys(nothing))
    return buffer.getvalue()


def spread(
    positions: Sequence[float], gap: float, within: tuple[float, float] | None = None
) -> list[float]:
    """Move positions apart to at least a gap, in their order, with the least change.

    Parameters
    ----------
    positions : sequence of float
    gap : float, >= 0
    within : (lowest, highest), optional
        Where all of them are to be, as long as there is room.

    Returns
    -------
    list of float
        In the order of the positions.

    Examples
    --------
    >>> spread([0.0, 1.0, 1.0], 0.5)
    [0.0, 0.75, 1.25]
    """
    order = sorted(range(len(positions)), key=positions.__getitem__)
    # Least squares under order: neighbours too close form a group around their mean.
    groups: list[list[float]] = []  # sum of (position - place in line), number
    for place, index in enumerate(order):
        groups.append([positions[index] - place * gap, 1.0])
        while len(groups) > 1 and groups[-2][0] / groups[-2][1] > groups[-1][0] / groups[-1][1]:
            total, count = groups.pop()
            groups[-1][0] += total
            groups[-1][1] += count
    moved = [0.0] * len(positions)
    starts = [total / count for total, count in groups for _ in range(int(count))]
    if within is not None:  # the optimum between bounds is that without them, clipped
        low, high = within[0], within[1] - gap * (len(starts) - 1)
        starts = [max(min(start, high), low) for start in starts]
    for place, (index, start) in enumerate(zip(order, starts, strict=True)):
        moved[index] = start + place * gap
    return moved


def _arrange(figure: Figure, columns: int, rows: int) -> None:
    """Set margins, in inches: to the right of a panel is room for the names of its lines."""
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        left=0.6 / width,
        right=1 - 1.2 / width,
        top=1 - 0.4 / height,
        bottom=0.75 / height,
        wspace=1.8 / (_WIDTH - 1.8) if columns > 1 else 0,
        hspace=0.9 / (_HEIGHT - 1.15) if rows > 1 else 0,
    )


def _colors(lines: Sequence[Line]) -> dict[str, str]:
    """Return a colour for each name, the same in all panels."""
    colors: dict[str, str] = {}
    used = {_KEPT[line.name] for line in lines if line.name in _KEPT}
    free = [color for color in _COLORS if color not in used] + [
        color for color in _COLORS if color in used
    ]
    for line in lines:
        if line.name in colors:
            continue
        if line.ours:
            colors[line.name] = _OURS
        elif line.name in _KEPT:
            colors[line.name] = _KEPT[line.name]
        else:
            colors[line.name] = free[0]
            free = [*free[1:], free[0]]
    return colors


def _draw_panel(axes: Axes, panel: Panel, colors: dict[str, str]) -> None:
    rates = [point.rate for line in panel.lines for point in line.points]
    _scale(axes, min(rates), max(rates))
    axes.set_title(TITLES[panel.column], loc="left", size=_TEXT + 2, weight="bold")
    axes.set_xlabel("bits per pixel", color="#444444")
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.tick_params(length=3)
    ours = 0
    for line in panel.lines:
        x = [point.rate for point in line.points]
        y = [point.value for point in line.points]
        style: dict[str, Any] = {"linewidth": 1.3, "zorder": 3}
        if line.ours:
            low, high = ([getattr(point, end) for point in line.points] for end in ("low", "high"))
            axes.fill_between(x, low, high, color=_OURS, alpha=0.10, linewidth=0, zorder=1)
            style = {"linewidth": 2.6, "zorder": 5}
            style["linestyle"] = _OURS_STYLES[ours % len(_OURS_STYLES)]
            ours += 1
        elif line.published:
            style["linestyle"] = _DASHED
        if line.measured:
            style |= {"marker": "o", "markersize": 5.0 if line.ours else 3.5}
        axes.plot(x, y, color=colors[line.name], solid_capstyle="round", **style)
    _label(axes, panel.lines, colors)


def _scale(axes: Axes, low: float, high: float) -> None:
    """Set the axis of rates, logarithmic if its range is wide."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    if high < _LOG_FROM * low:
        margin = 0.04 * (high - low) or 0.1 * high
        axes.set_xlim(low - margin, high + margin)
        return
    axes.set_xscale("log")
    margin = (high / low) ** 0.03
    axes.set_xlim(low / margin, high * margin)
    ticks: list[float] = []
    for steps in _TICKS:
        ticks = [step * 10.0**decade for decade in range(-6, 5) for step in steps]
        ticks = [tick for tick in ticks if low / margin <= tick <= high * margin]
        if len(ticks) <= _MOST_TICKS:
            break
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:g}"))


def _label(axes: Axes, lines: Sequence[Line], colors: dict[str, str]) -> None:
    """Write the names at the lines' ends: right of the panel, or above a line that ends early."""
    from matplotlib.patheffects import withStroke

    axes.set_ylim(axes.get_ylim())  # settles the limits, which are found when first asked for
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = [to_axes.transform((line.points[-1].rate, line.points[-1].value)) for line in lines]
    height = axes.get_position().height * axes.figure.get_size_inches()[1]
    gap = _LINE_HEIGHT * _TEXT / 72 / height
    outside = [index for index, end in enumerate(ends) if end[0] >= _LABELLED_AT_THE_EDGE]
    places = spread([float(ends[i][1]) for i in outside], gap, (0.0, 1.0))
    heights = dict(zip(outside, places, strict=True))
    for index, (line, end) in enumerate(zip(lines, ends, strict=True)):
        style: dict[str, Any] = {"color": colors[line.name]}
        style |= {"weight": "bold" if line.ours else "normal"}
        style |= {"transform": axes.transAxes, "zorder": 6}
        if index in heights:
            x, y = 1.035, heights[index]
            style["va"] = "center"
            axes.plot(
                [end[0] + 0.008, x - 0.008],
                [end[1], y],
                color=colors[line.name],
                linewidth=0.6,
                alpha=0.6,
                transform=axes.transAxes,
                clip_on=False,
            )
        else:
            x, y = float(end[0]), float(end[1]) + 0.012
            style |= {"va": "bottom", "ha": "right"}
            style["path_effects"] = [withStroke(linewidth=2.5, foreground="white")]
        axes.text(x, y, line.name, **style)
