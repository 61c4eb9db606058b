"""``sad eval``."""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING

import click

from sadcodec import files
from sadcodec.cli import common

if TYPE_CHECKING:
    from sadcodec.evaluate.peers import Peers
from sadcodec.progress import ProgressBar

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
    "--peers",
    metavar="PEERS.csv",
    help="Add the PSNR of other codecs at the same rates to the table, "
    "from points with the columns codec, image, bpp, psnr.",
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
    size: list[float] | None,
    sites: list[float] | None,
    quality: list[float] | None,
    psnr: list[float] | None,
    effort: int,
    seed: int,
    threads: int | None,
    backend: str,
    jobs: int,
    out: str | None,
    peers: str | None,
    markdown: bool,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Encode and decode IMAGES at a list of targets; print bytes, bpp, PSNR, SSIM and times.

    At most one of --bpp, --size, --sites, --quality, --psnr gives the list. An image that fails is
    reported on stderr and left out of the means; the others go on, and the exit status is 3.
    With --jobs the times are those of encodings that share the machine.
    """
    lists = {"bpp": bpp, "size": size, "sites": sites, "quality": quality, "psnr": psnr}
    given = [(kind, values) for kind, values in lists.items() if values is not None]
    if len(given) > 1:
        names = " and ".join("--" + kind for kind, _ in given)
        raise click.UsageError(f"{names} exclude each other: give one list.")
    if markdown and as_json:
        raise click.UsageError("--markdown and --json exclude each other.")
    kind, values = given[0] if given else ("bpp", _DEFAULT_BPP)
    if out is not None and out != files.STANDARD:  # a CSV may well go to a terminal
        with common.blame(out):
            files.check_output(out, force=force)
    others = None if peers is None else _peers(peers)
    common.load_backend(backend, "encode", quiet)
    from sadcodec.evaluate import sweep, table

    rows: list[sweep.Row] = []
    with ProgressBar(enabled=False if quiet else None) as bar:
        coded = sweep.run_sweep(
            sources,
            kind,
            values,
            effort=effort,
            seed=seed,
            threads=threads,
            backend=backend,
            jobs=jobs,
            progress=bar,
        )
        for row in coded:
            bar.clear()
            # An image that fails at every target for one reason is told of once.
            index, nth = divmod(len(rows), len(values))
            if row.error and (nth == 0 or rows[-1].error != row.error):
                common.Failure(common.shown(sources[index]), row.error).show()
            if as_json:
                common.report_json(dataclasses.asdict(row), out == files.STANDARD)
            rows.append(row)
    if out is not None:
        text = io.StringIO(newline="")
        table.write_csv(rows, text)
        with common.blame(out, "stdout"):
            files.write_output(out, text.getvalue().encode(), force=force)
    if not (as_json or out == files.STANDARD or (quiet and out is not None)):
        lines = (table.markdown if markdown else table.summary)(rows, others)
        with common.blame(files.STANDARD, "stdout"):
            files.write_stdout(lines.encode() + b"\n")
    return _FAILED if any(row.error for row in rows) else 0


def _peers(path: str) -> Peers:
    from sadcodec.evaluate.peers import read_peers

    with common.blame(path):
        return read_peers(files.read_input(path).decode(errors="replace"))
