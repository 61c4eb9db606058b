"""``sad eval``."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from sadcodec import files
from sadcodec.cli import common
from sadcodec.progress import ProgressBar

if TYPE_CHECKING:
    from sadcodec.evaluate.peers import Peers
    from sadcodec.evaluate.sweep import Row

_DEFAULT_BPP = [0.1, 0.2, 0.3, 0.5, 1.0]
_FAILED = 3  # exit status when some images failed
# What --from leaves nothing to do for: everything but what is printed, and where.
_PRINTING = {"saved", "out", "peers", "bd_ranges", "markdown", "force", "as_json", "quiet"}


def _rate_range(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> list[tuple[float, float]]:
    """Click's callback for ranges of rate, LOW,HIGH."""
    ranges = []
    for value in values:
        ends = [common.BPP(part.strip(), param, ctx) for part in value.split(",")]
        if len(ends) != 2 or not ends[0] < ends[1]:
            raise click.BadParameter(f"{value!r} is not LOW,HIGH with LOW < HIGH.", ctx, param)
        ranges.append((ends[0], ends[1]))
    return list(dict.fromkeys(ranges))


@click.command("eval", short_help="Rate and distortion of several images.")
@click.argument("sources", metavar="[IMAGES...]", nargs=-1)
@click.option(
    "--bpp",
    callback=common.number_list(common.BPP),
    metavar="LIST",
    help="Rates in bits per pixel, e.g. 0.2,0.5,1. "
    "Default: 0.1,0.2,0.3,0.5,1, unless another list is given.",
)
@click.option(
    "--size",
    callback=common.number_list(common.COUNT),
    metavar="LIST",
    help="File sizes in bytes.",
)
@click.option(
    "--sites",
    callback=common.number_list(common.COUNT),
    metavar="LIST",
    help="Numbers of sites, e.g. 1500,5000.",
)
@click.option(
    "-q",
    "--quality",
    callback=common.number_list(common.QUALITY),
    metavar="LIST",
    help="Qualities, 0..100.",
)
@click.option(
    "--psnr",
    callback=common.number_list(common.PSNR),
    metavar="LIST",
    help="PSNR targets in dB, 0..100.",
)
@common.metric_option
@common.effort_option
@common.seed_option
@common.threads_option
@common.backend_option(common.ENCODING_BACKEND)
@common.jobs_option
@click.option(
    "-o",
    "--out",
    metavar="FILE.csv",
    help="Write one row per coded file as CSV; - for stdout, without table.",
)
@click.option(
    "--from",
    "saved",
    multiple=True,
    metavar="FILE.csv",
    help="Instead of coding IMAGES, take the rows that --out wrote; - for stdin. May be repeated.",
)
@click.option(
    "--peers",
    multiple=True,
    metavar="PEERS.csv",
    help="Add tables of other codecs' PSNR and SSIM at the same rates, and of BD-rates against "
    "them, from points with the columns codec, image, bpp, psnr or psnr_db, ssim. "
    "May be repeated.",
)
@click.option(
    "--bd-range",
    "bd_ranges",
    multiple=True,
    callback=_rate_range,
    metavar="LOW,HIGH",
    help="Range of the BD-rates in bits per pixel, e.g. 0.1,0.5. May be repeated. "
    "Default: from the lowest rate to the highest.",
)
@click.option("--markdown", is_flag=True, help="Print the tables as Markdown.")
@common.force_option
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one line of JSON per coded file instead of tables.",
)
@click.option("--quiet", is_flag=True, help="No progress bar; with --out, no table either.")
def evaluate(
    sources: tuple[str, ...],
    bpp: list[float] | None,
    size: list[float] | None,
    sites: list[float] | None,
    quality: list[float] | None,
    psnr: list[float] | None,
    metric: str,
    effort: int,
    seed: int,
    threads: int | None,
    backend: str,
    jobs: int,
    out: str | None,
    saved: tuple[str, ...],
    peers: tuple[str, ...],
    bd_ranges: list[tuple[float, float]],
    markdown: bool,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Encode and decode IMAGES at a list of targets; print bytes, bpp, PSNR, SSIM and times.

    At most one of --bpp, --size, --sites, --quality, --psnr gives the list. An image that fails is
    reported on stderr and left out of the means; the others go on, and the exit status is 3.
    With --from nothing is coded: the tables are those of rows that were measured before.
    With --jobs the times are those of encodings that share the machine.
    """
    lists = {"bpp": bpp, "size": size, "sites": sites, "quality": quality, "psnr": psnr}
    given = [(kind, values) for kind, values in lists.items() if values is not None]
    if len(given) > 1:
        names = " and ".join("--" + kind for kind, _ in given)
        raise click.UsageError(f"{names} exclude each other: give one list.")
    if markdown and as_json:
        raise click.UsageError("--markdown and --json exclude each other.")
    if bd_ranges and not peers:
        raise click.UsageError("--bd-range needs --peers.")
    _check_source(sources, saved)
    kind, values = given[0] if given else ("bpp", _DEFAULT_BPP)
    if out is not None and out != files.STANDARD:  # a CSV may well go to a terminal
        with common.blame(out):
            files.check_output(out, force=force)
    others = _peers(peers)
    from sadcodec.evaluate import table

    options = {"metric": metric, "effort": effort, "seed": seed}
    options |= {"threads": threads, "backend": backend, "jobs": jobs}
    rows: list[Row] = []
    for row in _saved(saved) if saved else _coded(sources, kind, values, options, quiet):
        if as_json:
            common.report_json(dataclasses.asdict(row), out == files.STANDARD)
        rows.append(row)
    if out is not None:
        text = io.StringIO(newline="")
        table.write_csv(rows, text)
        with common.blame(out, "stdout"):
            files.write_output(out, text.getvalue().encode(), force=force)
    if not (as_json or out == files.STANDARD or (quiet and out is not None)):
        lines = (table.markdown if markdown else table.summary)(rows, others, bd_ranges)
        with common.blame(files.STANDARD, "stdout"):
            files.write_stdout(lines.encode() + b"\n")
    return _FAILED if any(row.error for row in rows) else 0


def _check_source(sources: tuple[str, ...], saved: tuple[str, ...]) -> None:
    """Refuse to have neither images nor --from; and images, or options of coding, beside it."""
    if not saved:
        if not sources:
            raise click.UsageError("IMAGES are missing; or give rows to print with --from.")
        return
    context = click.get_current_context()
    for param in context.command.params:
        source = context.get_parameter_source(param.name or "")
        if source is not ParameterSource.DEFAULT and param.name not in _PRINTING:
            name = param.opts[-1] if isinstance(param, click.Option) else "IMAGES"
            raise click.UsageError(f"{name} and --from exclude each other: nothing is coded.")


def _coded(
    sources: tuple[str, ...], kind: str, values: list[float], options: dict[str, Any], quiet: bool
) -> Iterator[Row]:
    """Code all images; give the rows as they are measured, and tell of failures."""
    common.load_backend(options["backend"], "encode", quiet)
    from sadcodec.evaluate import sweep

    last_error = ""
    with ProgressBar(enabled=False if quiet else None) as bar:
        coded = sweep.run_sweep(sources, kind, values, **options, progress=bar)
        for count, row in enumerate(coded):
            bar.clear()
            # An image that fails at every target for one reason is told of once.
            index, nth = divmod(count, len(values))
            if row.error and (nth == 0 or last_error != row.error):
                common.Failure(common.shown(sources[index]), row.error).show()
            last_error = row.error
            yield row


def _saved(paths: tuple[str, ...]) -> list[Row]:
    """Read the rows of earlier sweeps."""
    from sadcodec.evaluate.reading import check_comparable, read_rows

    rows: list[Row] = []
    for path in paths:
        with common.blame(path):
            rows += read_rows(files.read_input(path).decode(errors="replace"))
            check_comparable(rows)
    return rows


def _peers(paths: tuple[str, ...]) -> Peers | None:
    from sadcodec.evaluate.peers import join, read_peers

    tables = []
    for path in paths:
        with common.blame(path):
            tables.append(read_peers(files.read_input(path).decode(errors="replace")))
    return join(tables) if tables else None
