"""``sad eval``."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import click

from sadcodec import files
from sadcodec.progress import ProgressBar
from sadcodec.cli import common

_DEFAULT_BPP = [0.1, 0.2, 0.3, 0.5, 1.0]
_FAILED = 3  # exit status when some images failed


@click.command("eval", short_help="Rate and distortion of several images.")
@click.argument("sources", metavar="IMAGES...", nargs=-1, required=True)
@click.option(
    "--bpp",
    callback=common.number_list(common.BPP),
    metavar="LIST",
    help="Rates in bits per pixel, e.g. 0.2,0.5,1. "
    "Default: 0.1,0.2,0.3,0.5,1, unless another list is given.",
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
@common.effort_option
@common.seed_option
@common.threads_option
@common.backend_option
@click.option(
    "-o",
    "--out",
    metavar="FILE.csv",
    help="Write one row per coded file as CSV; - for stdout, without table.",
)
@click.option("--markdown", is_flag=True, help="Print the table as Markdown.")
@common.force_option
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one line of JSON per coded file instead of the table.",
)
@click.option("--quiet", is_flag=True, help="No progress bar; with --out, no table either.")
def evaluate(
    sources: tuple[str, ...],
    bpp: list[float] | None,
    sites: list[float] | None,
    quality: list[float] | None,
    psnr: list[float] | None,
    effort: int,
    seed: int,
    threads: int | None,
    backend: str,
    out: str | None,
    markdown: bool,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Encode and decode IMAGES at a list of targets; print bytes, bpp, PSNR, SSIM and times.

    At most one of --bpp, --sites, --quality, --psnr gives the list. An image that fails is
    reported on stderr and left out; the others go on, and the exit status is 3.
    """
    lists = {"bpp": bpp, "sites": sites, "quality": quality, "psnr": psnr}
    given = [(kind, values) for kind, values in lists.items() if values is not None]
    if len(given) > 1:
        raise click.UsageError(
            f"{' and '.join('--' + kind for kind, _ in given)} exclude each other: give one list."
        )
    if markdown and as_json:
        raise click.UsageError("--markdown and --json exclude each other.")
    kind, values = given[0] if given else ("bpp", _DEFAULT_BPP)
    if out is not None and out != files.STANDARD:  # a CSV may well go to a terminal
        with common.blame(out):
            files.check_output(out, force=force)
    rows, failed = _sweep(
        sources, kind, values, as_json, out, quiet, effort, seed, threads, backend
    )
    from sadcodec.evaluate import table

    if out is not None:
        text = io.StringIO(newline="")
        table.write_csv(rows, text)
        with common.blame(out, "stdout"):
            files.write_output(out, text.getvalue().encode(), force=force)
    if rows and not as_json and out != files.STANDARD and not (quiet and out is not None):
        lines = table.markdown(rows) if markdown else table.summary(rows)
        with common.blame(files.STANDARD, "stdout"):
            files.write_stdout(lines.rstrip("\n").encode() + b"\n")
    return _FAILED if failed else 0


def _sweep(
    sources: tuple[str, ...],
    kind: str,
    values: list[float],
    as_json: bool,
    out: str | None,
    quiet: bool,
    effort: int,
    seed: int,
    threads: int | None,
    backend: str,
) -> tuple[list[Any], bool]:
    """Rows of all images that succeed, and whether any failed."""
    from sadcodec.evaluate import sweep

    rows: list[Any] = []
    failed = False
    with ProgressBar(enabled=False if quiet else None) as bar:
        for index, source in enumerate(sources):

            def progress(fraction: float, message: str = "", index: int = index) -> None:
                bar((index + fraction) / len(sources), message)

            try:
                with common.blame(source):
                    done = list(
                        sweep.run_sweep(
                            [source],
                            kind,
                            values,
                            effort=effort,
                            seed=seed,
                            threads=threads,
                            backend=backend,
                            progress=progress,
                        )
                    )
            except common.Failure as error:
                bar.clear()
                error.show()
                failed = True
                continue
            rows += done
            if as_json:
                bar.clear()
                for row in done:
                    common.report_json(dataclasses.asdict(row), out == files.STANDARD)
    return rows, failed
