"""``sad encode``."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from sadcodec import files
from sadcodec.cli import arguments, batch, common, parameters
from sadcodec.cli.batch import Coded
from sadcodec.cli.completion import complete_files, complete_folders
from sadcodec.cli.frames import check_usage, encode_frames
from sadcodec.cli.help import Command
from sadcodec.cli.importance import Region, mask_option, read_mask, roi_option
from sadcodec.cli.reports import Stages, json_option, tell_machine, verbose_option
from sadcodec.cli.scheduler import Machine, check_scheduler, connected, scheduler_option
from sadcodec.progress import ProgressBar


@click.command(
    cls=Command,
    short_help="Image to .sad file.",
    epilog="""\b
    Examples:
      sad encode photo.png --bpp 0.5
      sad encode photos/ --out-dir coded/ --jobs 2
      ffmpeg -i film.mp4 -frames:v 1 -f image2pipe -c:v ppm - | sad encode - -o frame.sad
    """,
    common=("output", "out_dir", "jobs", "quality", "bpp", "effort", "force", "quiet"),
    sections={
        "Output": ("output", "out_dir", "force"),
        "Target, at most one": ("quality", "bpp", "size", "psnr", "sites", "strict"),
        "Search": ("effort", "metric", "mask", "roi", "seed"),
        "Sequence": ("sequence", "key_interval"),
        "File": ("coder", "groups", "progressive", "strip"),
        "Machine": ("threads", "jobs", "backend", "scheduler", "max_pixels"),
        "Research": ("recipe", "topk"),
        "Reports": ("as_json", "verbose", "quiet", "brief", "help"),
    },
)
@click.argument("sources", metavar="IN...", nargs=-1, required=True, shell_complete=complete_files)
@arguments.coded_output_option("IN")
@click.option(
    "--out-dir",
    metavar="DIR",
    shell_complete=complete_folders,
    help="Encode every IN, and every image in an IN that is a folder, to DIR/NAME.sad.",
)
@click.option(
    "--sequence",
    is_flag=True,
    help="Encode all IN, of one size, as the frames of one file: each from the one before where "
    "that is cheaper. An IN that is a folder: its images by name. The target is that of each key "
    "frame, coded by itself; others spend as much on a bit. The first frame's ICC profile is "
    "kept, no Exif or XMP.",
)
@click.option(
    "--key-interval",
    type=parameters.Whole(1, 256),
    default=None,
    metavar="N",
    help="With --sequence: code at least every Nth frame by itself. A frame can be decoded from "
    "there on. Default: 60; 1 = every frame.",
)
@parameters.jobs_option
@scheduler_option
@click.option(
    "-q",
    "--quality",
    type=parameters.QUALITY,
    metavar="Q",
    help="Target quality, higher means more bytes and PSNR. "
    "Default: 75, unless another target is given. "
    "Anchors on photographs: 25 = 0.016, 50 = 0.11, 75 = 0.76, 90 = 2.6 bpp.",
)
@click.option(
    "--bpp",
    type=parameters.BPP,
    metavar="R",
    help="Target rate in bits per pixel, of the whole file. "
    "Anchors: 0.1 = rough, 0.3 = web, 0.5 = good, 1 = high.",
)
@click.option(
    "--size", type=parameters.COUNT, metavar="BYTES", help="Target size of the file in bytes."
)
@click.option(
    "--psnr",
    type=parameters.PSNR,
    metavar="DB",
    help="Target PSNR in dB, exceeded by at most 0.05. "
    "Anchors: 28 = rough, 32 = fair, 36 = good, 40 = hard to tell apart.",
)
@click.option(
    "--sites",
    type=parameters.COUNT,
    metavar="N",
    help="Number of sites. Anchors for 768 x 512: 1500 = about 0.13 bpp, 5000 = 0.43, 12000 = 1.",
)
@parameters.metric_option
@parameters.recipe_option
@parameters.effort_option
@parameters.seed_option
@parameters.threads_option
@parameters.backend_option(parameters.ENCODING_BACKEND)
@parameters.coder_option
@parameters.groups_option
@click.option(
    "--progressive",
    type=parameters.Whole(2, 16),
    default=None,
    metavar="LAYERS",
    help="Store the sites that matter most first, in so many layers, each with 1.5 times the sites "
    "of all before it: the first part of the file is a rough picture (sad decode --layers). "
    "Default: none. Anchors, bytes that the same sites take more: 2 = 6 to 9 %, 4 = 9 to 14 %, "
    "6 = 10 to 17 %. With --groups N, each layer has N.",
)
@parameters.topk_option
@mask_option
@roi_option
@click.option(
    "--strict",
    is_flag=True,
    help="Fail where the target cannot be met, instead of writing the nearest file.",
)
@click.option(
    "--strip",
    is_flag=True,
    help="Keep no ICC profile, Exif and XMP, whose bytes count towards --size and --bpp. The image "
    "is turned as the Exif orientation says.",
)
@parameters.max_pixels_option
@parameters.force_option
@json_option
@verbose_option
@parameters.quiet_option
def encode(
    sources: tuple[str, ...],
    output: str | None,
    out_dir: str | None,
    sequence: bool,
    key_interval: int | None,
    jobs: int,
    scheduler: str | None,
    quality: float | None,
    bpp: float | None,
    size: int | None,
    psnr: float | None,
    sites: int | None,
    metric: str,
    recipe: str,
    effort: int,
    seed: int,
    threads: int | None,
    backend: str,
    coder: str,
    groups: int | None,
    progressive: int | None,
    topk: str | None,
    mask: str | None,
    roi: tuple[Region, ...],
    strict: bool,
    strip: bool,
    max_pixels: int | None,
    force: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> int:
    """Encode the image IN as a .sad file; with --out-dir, any number of images.

    IN is a PNG, JPEG, WebP, TIFF, BMP, GIF, PGM, PPM, PAM, QOI or TGA file of 8 or 16 bits: gray or
    RGB, with or without alpha. ICC profile, Exif and XMP of PNG, JPEG, WebP and TIFF are kept. At
    most one of --quality, --bpp, --size, --psnr, --sites sets the target; --mask and --roi say what
    of the image matters. With --out-dir an image that fails is reported on stderr, and by an
    "error" in its line of JSON; the others go on, and the exit status is 3.
    """
    goals = {"quality": quality, "bpp": bpp, "size": size, "psnr": psnr, "sites": sites}
    given = [name for name, value in goals.items() if value is not None]
    if len(given) > 1:
        raise click.UsageError(
            f"{' and '.join('--' + name for name in given)} exclude each other: give one target."
        )
    backend = _backend_of(recipe, sites, backend)
    options: dict[str, Any] = {
        **goals,
        "metric": metric,
        "recipe": recipe,
        "effort": effort,
        "seed": seed,
        "coder": coder,
        "groups": groups,
        "progressive": progressive,
        "topk": topk,
        "roi": roi,
        "strict": strict,
        "strip": strip,
    }

    def report(source: str, target: str, coded: Coded) -> None:
        _tell(source, coded, options, stages, verbose)
        if coded.report.warning:
            common.note(f"sad: {common.shown(source)}: warning: {coded.report.warning}", quiet)
        if as_json:
            record = _record(source, target, coded, {**options, "mask": mask})
            common.report_json(record, target == files.STANDARD)
        else:
            common.note(_sentence(target, coded.report), quiet)

    stages: Stages | None = None  # of a single image
    check_scheduler(scheduler)
    if check_usage(sequence, key_interval, output, out_dir, jobs, scheduler):
        options |= {"mask": mask, "backend": backend, "threads": threads}
        encode_frames(
            sources, str(output), key_interval, options, max_pixels, force, as_json, quiet
        )
        return 0
    if out_dir is None:
        if jobs > 1 or scheduler is not None:
            raise click.UsageError("--jobs and --scheduler need --out-dir.")
        source = arguments.single_source(sources, (".sad",))
        target = output if output is not None else common.output_beside(source, ".sad")
        arguments.check_not_folder(target)
        arguments.check_kind(source, target, arguments.check_image)
        common.check_output(target, [source], force=force)
        arguments.check_not_image(target)
        options["mask"] = read_mask(mask, sources, target, max_pixels)
        common.load_backend(backend, "encode", quiet)
        tell_machine(backend, threads, "encode", verbose)
        with common.blame(source), ProgressBar(enabled=False if quiet else None) as bar:
            stages = Stages(bar)
            coded = batch.encode_one(
                source, options, backend, threads, stages, max_pixels=max_pixels
            )
        with common.blame(target, "stdout"):
            files.write_output(target, coded.data, force=force)
        report(source, target, coded)
        return 0

    if output is not None or files.STANDARD in sources:
        raise click.UsageError("--out-dir goes with names of files, without --output and -.")
    paths = batch.sources_of(sources)
    targets = batch.targets_of(paths, out_dir)
    options["mask"] = read_mask(mask, sources, None, max_pixels)
    status = 0
    with (
        connected(scheduler, backend, quiet) as executor,
        ProgressBar(enabled=False if quiet else None) as bar,
    ):
        tell_machine(backend, threads, "encode", verbose and scheduler is None)
        batch.make_folder(out_dir)
        machine = Machine(jobs, backend, threads, executor)
        for index, outcome in batch.encode_all(
            paths, targets, options, machine, force, bar, max_pixels=max_pixels
        ):
            source, target = paths[index], targets[index]
            if isinstance(outcome, batch.Coded):
                report(source, target, outcome)
                continue
            status = common.SOME_FAILED
            common.Failure(outcome.name, outcome.cause).show()
            if as_json:
                common.report_json(
                    {"input": source, "output": target, "error": outcome.cause}, False
                )
    return status


def _backend_of(recipe: str, sites: int | None, backend: str) -> str:
    """Return the backend that the recipe runs on, if it goes with the other options."""
    if recipe != "paper":
        return backend
    if sites is None:
        raise click.UsageError("--recipe paper needs --sites, which its schedule is solved for.")
    if backend.startswith("cuda"):
        raise click.UsageError("--recipe paper runs on the CPU, not with --backend cuda.")
    return "cpu" if backend == "auto" else backend


def _tell(
    source: str, coded: Coded, options: dict[str, Any], stages: Stages | None, verbose: bool
) -> None:
    """What --verbose says of an image."""
    if not verbose:
        return
    report, (height, width, channels) = coded.report, coded.shape
    shape = f"{width} x {height}, {channels} channels of {coded.bit_depth} bits"
    given = ", ".join(f"{name} {options[name]}" for name in ("metric", "effort", "seed", "coder"))
    fit = f"fitted in {report.iterations} iterations to {report.fit_psnr:.2f} dB"
    lines = [f"{shape}; {report.target} {report.value:g}, {given}"]
    lines.append(f"{report.sites} sites, {fit}, coded {report.psnr:.2f} dB")
    if stages is not None:
        lines.append(stages.text())
    for line in lines:
        common.note(f"sad: {common.shown(source)}: {line}", False)


def _record(source: str, target: str, coded: Coded, options: dict[str, Any]) -> dict[str, Any]:
    """The JSON report: names that scripts can rely on, then the rest of the encoder's report."""
    height, width, channels = coded.shape
    return {
        "input": source,
        "output": target,
        "width": width,
        "height": height,
        "channels": channels,
        "bit_depth": coded.bit_depth,
        **{name: options[name] for name in ("effort", "seed", "coder", "mask", "roi")},
    } | dataclasses.asdict(coded.report)


def _sentence(target: str, report: Any) -> str:
    name = common.shown(target, "stdout")
    metadata = f" ({report.metadata_bytes} of metadata)" if report.metadata_bytes else ""
    quality = f"{report.psnr:.2f} dB"
    if report.weighted_psnr is not None:
        quality = f"{report.weighted_psnr:.2f} dB weighted by the mask"
    return (
        f"{name}: {report.bytes} bytes{metadata}, {report.bpp:.4f} bpp, {report.sites} sites, "
        f"{quality}, {report.seconds:.1f} s"
    )
