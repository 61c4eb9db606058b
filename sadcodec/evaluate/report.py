"""The report of a sweep: one HTML file with tables, plots and viewers, which needs no network."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import itertools
import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources

from sadcodec.evaluate.comparison import Table
from sadcodec.evaluate.gallery import Exhibit, Picture
from sadcodec.evaluate.row import Row
from sadcodec.evaluate.writing import table_text

__all__ = ["render"]

_ZOOMS = ("fit", "1", "2", "4", "8", "16")
# Columns of a row that say how it was made; those with one or two values are told at the top.
_SETTINGS = ("codec", "metric", "effort", "seed", "backend", "version")
_MOST_VALUES = 8

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p class="facts">{facts}</p>
</header>
<main>
{main}
</main>
<script>{script}</script>
</body>
</html>
"""


def render(
    rows: Sequence[Row],
    tables: Iterable[Table],
    plot: bytes | None,
    exhibits: Sequence[Exhibit] = (),
) -> bytes:
    """Return the page.

    Parameters
    ----------
    rows : sequence of Row
        All of them are listed at the end, failures included.
    tables : iterable of Table
    plot : bytes or None
        SVG, as `sadcodec.evaluate.plot.draw` makes it; none if there is nothing to plot.
    exhibits : sequence of Exhibit
        Those of one image, one after the other, share a viewer.

    Returns
    -------
    bytes
        HTML in UTF-8. A policy in it forbids every request and every script but its own; all text
        of rows, tables and exhibits is escaped.
    """
    images = len({row.image for row in rows})
    script = _resource("report.js")
    main = ["<section>\n<h2>Tables</h2>", *map(_table, tables), "</section>"]
    if plot is not None:
        drawn = _inline(plot)
        main.insert(0, f'<section class="plot">\n{drawn}\n</section>')
    if exhibits:
        main += ["<section>\n<h2>Pictures</h2>", f'<p class="facts">{_sizes(exhibits)}</p>']
        main += [
            _viewer(image, list(group), nth)
            for nth, (image, group) in enumerate(
                itertools.groupby(exhibits, key=lambda each: each.image)
            )
        ]
        main.append("</section>")
    main.append(f"<details>\n<summary>All {len(rows)} rows</summary>\n{_rows(rows)}\n</details>")
    page = _PAGE.format(
        policy=_policy(script),
        title=f"sad eval: {images} image{'s' * (images != 1)}",
        style=_resource("report.css"),
        facts=_facts(rows),
        main="\n".join(main),
        script=script,
    )
    # File names may hold bytes that are no text.
    return page.encode("utf-8", "backslashreplace")


def _resource(name: str) -> str:
    return (resources.files("sadcodec.evaluate") / name).read_text("utf-8")


def _policy(script: str) -> str:
    """Return a content security policy: nothing from elsewhere, and no script but this one."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def _inline(svg: bytes) -> str:
    """Return an SVG file as an element of a page: no prologue, no comments, no fixed size."""
    text = re.sub(r"<!--.*?-->", "", svg.decode(), flags=re.DOTALL)
    text = text[text.index("<svg") :].strip()
    head, rest = text.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    label = "Quality against bits per pixel, a line for each codec"
    return f'{head} role="img" aria-label="{label}">{rest}'


def _facts(rows: Sequence[Row]) -> str:
    facts = []
    for name in _SETTINGS:
        values = list(dict.fromkeys(getattr(row, name) for row in rows))
        known = [str(value) for value in values if value not in ("", None)]
        if 0 < len(known) <= _MOST_VALUES:
            facts.append(f"{name} {', '.join(known)}")
    failed = sum(1 for row in rows if row.error)
    facts.append(f"{failed} of {len(rows)} rows failed" if failed else f"{len(rows)} rows")
    return escape("; ".join(facts))


def _sizes(exhibits: Sequence[Exhibit]) -> str:
    total = sum(len(picture.data) for each in exhibits for picture in each.pictures)
    targets = ", ".join(dict.fromkeys(each.target for each in exhibits))
    count = len({each.image for each in exhibits})
    return escape(
        f"{count} image{'s' * (count != 1)} at {targets}. "
        f"The pictures take {_size(total)}, and a third more in this file."
    )


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def _table(table: Table) -> str:
    lines = ['<div class="wide"><table>']
    if table.caption:
        lines.append(f"<caption>{escape(table.caption)}</caption>")
    lines.append(f"<thead>{_line('th', table.header)}</thead>\n<tbody>")
    lines += [_line("td", line) for line in table.lines]
    lines.append("</tbody></table></div>")
    lines += [f'<p class="notes">{escape(note)}</p>' for note in table.notes]
    return "\n".join(lines)


def _line(kind: str, cells: Iterable[str]) -> str:
    scope = ' scope="col"' if kind == "th" else ""
    return "<tr>" + "".join(f"<{kind}{scope}>{escape(cell)}</{kind}>" for cell in cells) + "</tr>"


def _rows(rows: Sequence[Row]) -> str:
    header, *lines = csv.reader(io.StringIO(table_text(rows)))
    used = [nth for nth in range(len(header)) if any(line[nth] for line in lines)]
    return _table(
        Table("", [header[nth] for nth in used], [[line[nth] for nth in used] for line in lines])
    )


def _viewer(image: str, exhibits: Sequence[Exhibit], nth: int) -> str:
    parts = [f'<article class="viewer">\n<h3>{escape(image)}</h3>']
    if len(exhibits) > 1:
        options = "".join(_option(i, each.target) for i, each in enumerate(exhibits))
        parts.append(
            f'<p class="rates" hidden><label>Target <select>{options}</select></label></p>'
        )
    parts += [_exhibit(each, f"{nth}-{i}") for i, each in enumerate(exhibits)]
    parts.append("</article>")
    return "\n".join(parts)


def _exhibit(each: Exhibit, key: str) -> str:
    size = f"{each.width} x {each.height} px"
    labels = [picture.label for picture in each.pictures]
    left, right = (
        "".join(_option(i, label, i == chosen) for i, label in enumerate(labels))
        for chosen in (0, 1)
    )
    zooms = "".join(
        f'<label><input type="radio" name="zoom-{key}" value="{zoom}"'
        f"{' checked' * (zoom == 'fit')}>{zoom + ' x' * (zoom != 'fit')}</label>"
        for zoom in _ZOOMS
    )
    figures = "\n".join(_figure(each, picture) for picture in each.pictures)
    return f"""<div class="exhibit" style="--width: {each.width}; --height: {each.height}">
<p class="facts">{escape(f"{each.target}: {each.facts}; {size}")}</p>
<fieldset class="zoom controls" hidden><legend>Zoom</legend>{zooms}</fieldset>
<div class="wipe" hidden>
<p class="controls">
<label>Left <select>{left}</select></label>
<label>right <select>{right}</select></label>
<button type="button" class="swap">Swap</button>
</p>
<div class="box">
<div class="stage pane" tabindex="0" role="group" aria-label="Wipe between two pictures"></div>
<span class="tag"></span><span class="tag"></span><div class="line"></div>
</div>
<input type="range" min="0" max="1000" value="500" aria-label="Place of the wipe">
</div>
<div class="side">
{figures}
</div>
</div>"""


def _figure(each: Exhibit, picture: Picture) -> str:
    label, caption = escape(picture.label), escape(picture.caption)
    note = f"{caption} ({_size(len(picture.data))})"
    return f"""<figure>
<div class="pane" tabindex="0" role="group" aria-label="{label}">
<img src="{picture.uri}" width="{each.width}" height="{each.height}" \
alt="{label} of {escape(each.image)}" data-label="{label}">
</div>
<figcaption><strong>{label}</strong>: {note}</figcaption>
</figure>"""


def _option(value: int, text: str, chosen: bool = False) -> str:
    return f'<option value="{value}"{" selected" * chosen}>{escape(text)}</option>'
