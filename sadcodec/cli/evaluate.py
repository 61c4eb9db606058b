"""``sad eval``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from sadcodec import files
from sadcodec.cli import common, parameters
from sadcodec.cli.batch import sources_of
from sadcodec.cli.completion import complete_files, complete_folders
from sadcodec.cli.help import Command
from sadcodec.cli.plotting import Plots
from sadcodec.cli.scheduler import Machine, check_scheduler, connected, scheduler_option
from sadcodec.cli.sweep import Output, run
from sadcodec.errors import OptionError, SadError

if TYPE_CHECKING:
    from sadcodec.evaluate.peers import Peers
    from sadcodec.evaluate.plan import Options, Task
    from sadcodec.evaluate.row import Row

_DEFAULT_BPP = [0.1, 0.2, 0.3, 0.5, 1.0]
# What --from leaves nothing to do for: everything but what is printed, and where.
_PRINTING = {"saved", "out", "peers", "bd_ranges", "markdown", "plots"}
_PRINTING |= {"force", "as_json", "quiet"}


def _rate_range(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> list[tuple[float, float]]:
    """Click's callback for ranges of rate, LOW,HIGH."""
    ranges = []
    for value in values:
        ends = [parameters.BPP(part.strip(), param, ctx) for part in value.split(",")]
        if len(ends) != 2 or not ends[0] < ends[1]:
            raise click.BadParameter(f"{value!r} is not LOW,HIGH with LOW < HIGH.", ctx, param)
        ranges.append((ends[0], ends[1]))
    return list(dict.fromkeys(ranges))


@click.command(
    "eval",
    cls=Command,
    short_help="Rate and distortion of several images.",
    common=("bpp", "quality", "codecs", "metrics", "out", "plots", "effort", "jobs", "force"),
    sections={
        "Targets, one list at most": ("bpp", "size", "sites", "quality", "psnr"),
        "Sweep": ("codecs", "metrics", "repeats", "metric", "effort", "seed"),
        "Machine": ("threads", "backend", "jobs", "scheduler", "max_pixels"),
        "Files": ("out", "resume", "keep", "saved", "force"),
        "Tables and plots": ("peers", "bd_ranges", "plots", "markdown", "as_json", "quiet"),
        "Help": ("brief", "help"),
    },
)
@click.argument("sources", metavar="[PATHS...]", nargs=-1, shell_complete=complete_files)
@click.option(
    "--bpp",
    callback=parameters.number_list(parameters.BPP),
    metavar="LIST",
    help="Rates in bits per pixel, e.g. 0.2,0.5,1. "
    "Default: 0.1,0.2,0.3,0.5,1, unless another list is given.",
)
@click.option(
    "--size",
    callback=parameters.number_list(parameters.COUNT),
    metavar="LIST",
    help="File sizes in bytes.",
)
@click.option(
    "--sites",
    callback=parameters.number_list(parameters.COUNT),
    metavar="LIST",
    help="Numbers of sites, e.g. 1500,5000.",
)
@click.option(
    "-q",
    "--quality",
    callback=parameters.number_list(parameters.QUALITY),
    metavar="LIST",
    help="Qualities, 0..100.",
)
@click.option(
    "--psnr",
    callback=parameters.number_list(parameters.PSNR),
    metavar="LIST",
    help="PSNR targets in dB, 0..100.",
)
@click.option(
    "--codecs",
    default="sad",
    show_default=True,
    callback=parameters.name_list,
    metavar="LIST",
    help="What to code with: sad, jpeg, webp, avif, jxl, jp2. All meet the same targets, but "
    "--quality is each codec's own; only sad has --sites.",
)
@click.option(
    "--metrics",
    default="psnr,ssim",
    show_default=True,
    callback=parameters.name_list,
    metavar="LIST",
    help="What to measure: psnr (always measured), ssim, ms-ssim, ssimulacra2, lpips.",
)
@click.option(
    "--repeat",
    "repeats",
    type=parameters.Whole(1, 10000),
    default=1,
    show_default=True,
    metavar="R",
    help="Code R times with sad, with the seeds N, N + 1, ... of --seed N. Other codecs depend on "
    "no seed and are run once.",
)
@parameters.metric_option
@parameters.effort_option
@parameters.seed_option
@parameters.threads_option
@parameters.backend_option(parameters.ENCODING_BACKEND)
@click.option(
    "-j",
    "--jobs",
    type=parameters.Whole(1, 256),
    default=1,
    show_default=True,
    metavar="N",
    help="Rows measured at a time, each in a process of its own: with --backend cuda on the GPUs "
    "in turn, on the CPU with an equal share of the threads (--threads: with so many each). Only "
    "the times depend on it.",
)
@scheduler_option
@click.option(
    "-o",
    "--out",
    callback=common.output_name,
    metavar="FILE",
    shell_complete=complete_files,
    help="Write one row per coded file, as they are measured: FILE.tsv, FILE.jsonl (JSON lines), "
    "else CSV; - for CSV on stdout, without table.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Complete the sweep that --out's file holds a part of: only rows that it lacks, or that "
    "failed, are measured. Needs the same options as before, or longer lists.",
)
@click.option(
    "--keep",
    metavar="DIR",
    shell_complete=complete_folders,
    help="Keep every coded file in DIR, as IMAGE.CODEC.SETTINGVALUE[.rN].SUFFIX.",
)
@click.option(
    "--from",
    "saved",
    multiple=True,
    metavar="FILE",
    shell_complete=complete_files,
    help="Instead of coding, take the rows that --out wrote; - for stdin. May be repeated.",
)
@click.option(
    "--peers",
    multiple=True,
    metavar="PEERS.csv",
    shell_complete=complete_files,
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
@click.option(
    "--plot",
    "plots",
    multiple=True,
    metavar="FILE",
    shell_complete=complete_files,
    help="Draw every measured quality against the rate: FILE.png, FILE.svg, or FILE.html, a page "
    "that also has the tables and, at the middle one of the values, the pictures of each image, "
    "to be wiped against each other. May be repeated. Needs the extra plot.",
)
@click.option("--markdown", is_flag=True, help="Print the tables as Markdown.")
@parameters.max_pixels_option
@parameters.force_option
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
    codecs: tuple[str, ...],
    metrics: tuple[str, ...],
    repeats: int,
    metric: str,
    effort: int,
    seed: int,
    threads: int | None,
    backend: str,
    jobs: int,
    scheduler: str | None,
    out: str | None,
    resume: bool,
    keep: str | None,
    saved: tuple[str, ...],
    peers: tuple[str, ...],
    bd_ranges: list[tuple[float, float]],
    plots: tuple[str, ...],
    markdown: bool,
    max_pixels: int | None,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Encode and decode images at a list of targets; print bytes, bpp, PSNR, SSIM and times.

    PATHS are images, or folders of them. At most one of --bpp, --size, --sites, --quality, --psnr
    gives the list. An image that fails is reported on stderr and left out of the means; the others
    go on, and the exit status is 3.
    With --from nothing is coded: the tables are those of rows that were measured before.
    With --jobs the times are those of encodings that share the machine.
    """
    kind, values = _targets(bpp=bpp, size=size, sites=sites, quality=quality, psnr=psnr)
    if markdown and as_json:
        raise click.UsageError("--markdown and --json exclude each other.")
    if bd_ranges and not (saved or peers or ("sad" in codecs and len(codecs) > 1)):
        raise click.UsageError("--bd-range needs --peers, or sad and others as --codecs.")
    output = Output(out, keep, force, resume)
    drawings = Plots(plots, force or resume, quiet)
    _check_output_options(output)
    check_scheduler(scheduler)
    _check_source(sources, saved)
    others = _peers(peers)
    printer = _Printer(out, as_json)
    if saved:
        _check_output(output, ())
        drawings.check(())
        rows = _saved(saved)
        if bd_ranges and not peers and not {row.codec for row in rows} - {"sad"}:
            raise click.UsageError("--bd-range needs --peers, or rows of other codecs.")
        for row in rows:
            printer.add(row)
    else:
        from sadcodec.evaluate.plan import Options

        options = Options(metric, effort, seed, backend, metrics, max_pixels)
        tasks = _plan(sources, kind, values, options, codecs, repeats)
        paths = list(dict.fromkeys(task.path for task in tasks))
        _check_output(output, paths)
        drawings.check(paths)
        drawings.expect(tasks)
        receive = drawings.receive if drawings.wants_files else None
        with connected(scheduler, backend, quiet) as executor:
            machine = Machine(jobs, backend, threads, executor)
            rows = run(tasks, machine, output, quiet, printer.add, receive)
    if saved or not output.appends:
        _write(output, rows)
    if not (as_json or out == files.STANDARD or (quiet and out is not None)):
        from sadcodec.evaluate import table

        lines = (table.markdown if markdown else table.summary)(rows, others, bd_ranges)
        with common.blame(files.STANDARD, "stdout"):
            files.write_stdout(lines.encode() + b"\n")
    # This machine may lack the backend of a cluster's workers.
    drawings.write(rows, others, bd_ranges, "auto" if scheduler else backend, threads)
    return common.SOME_FAILED if any(row.error for row in rows) else 0


class _Printer:
    """Prints rows one by one: as JSON, and as CSV where standard output is the file."""

    def __init__(self, out: str | None, as_json: bool) -> None:
        self._csv = out == files.STANDARD
        self._json = as_json
        self._first = True

    def add(self, row: Row) -> None:
        from sadcodec.evaluate.writing import header, line

        if self._json:
            common.report_json(dataclasses.asdict(row), self._csv)
        if self._csv:
            text = (header("csv") if self._first else "") + line(row, "csv")
            with common.blame(files.STANDARD, "stdout"):
                files.write_stdout(text.encode())
            self._first = False


def _targets(**lists: list[float] | None) -> tuple[str, list[float]]:
    """Return what the targets are, and the one list of them that was given."""
    given = [(kind, values) for kind, values in lists.items() if values is not None]
    if len(given) > 1:
        names = " and ".join("--" + kind for kind, _ in given)
        raise click.UsageError(f"{names} exclude each other: give one list.")
    return given[0] if given else ("bpp", _DEFAULT_BPP)


def _check_output_options(output: Output) -> None:
    if output.resume and not output.appends:
        raise click.UsageError("--resume needs --out FILE.")
    if output.resume and output.force:
        raise click.UsageError("--resume and --force exclude each other.")


def _check_source(sources: tuple[str, ...], saved: tuple[str, ...]) -> None:
    """Refuse to have neither paths nor --from; and paths, or options of coding, beside it."""
    if not saved:
        if not sources:
            raise click.UsageError("PATHS are missing; or give rows to print with --from.")
        return
    context = click.get_current_context()
    for param in context.command.params:
        source = context.get_parameter_source(param.name or "")
        if source is not ParameterSource.DEFAULT and param.name not in _PRINTING:
            name = param.opts[-1] if isinstance(param, click.Option) else "PATHS"
            raise click.UsageError(f"{name} and --from exclude each other: nothing is coded.")


def _plan(
    sources: tuple[str, ...],
    kind: str,
    values: list[float],
    options: Options,
    codecs: tuple[str, ...],
    repeats: int,
) -> list[Task]:
    """Return the tasks of a sweep; what is asked for in vain is refused before any work."""
    from sadcodec.evaluate.plan import plan

    try:
        return plan(sources_of(sources), kind, values, options, codecs, repeats)
    except OptionError as error:
        raise click.UsageError(f"{error}.") from error
    except SadError as error:
        raise common.Failure(str(error)) from error


def _check_output(output: Output, paths: Sequence[str]) -> None:
    """Refuse a file that cannot be written, or is one of the images, before any work."""
    if output.out is not None and output.out != files.STANDARD:  # a CSV may well go to a terminal
        common.check_output(output.out, paths, force=output.force or output.resume)


def _write(output: Output, rows: list[Row]) -> None:
    """Write the file of all rows at once; standard output has them already."""
    from sadcodec.evaluate.writing import format_of, table_text

    if output.out is not None and output.out != files.STANDARD:
        text = table_text(rows, format_of(output.out))
        with common.blame(output.out):
            files.write_output(output.out, text.encode(), force=output.force)


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
