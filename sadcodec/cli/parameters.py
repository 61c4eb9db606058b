"""Types and options that several commands have."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

BACKENDS = ("auto", "cpu", "cuda", "cuda:N", "reference")
CODERS = ("range", "zstd")
METRICS = ("psnr", "ssim")
TOPK = ("exact", "propagate")
RECIPES = ("default", "paper")


class Whole(click.IntRange):
    """A range of integers."""

    name = "whole number"  # in messages; Click's own is "integer range"


class Finite(click.FloatRange):
    """A float range that also refuses NaN and infinity."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert as Click does, then check."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


Number = click.FloatRange | click.IntRange


def number_list(item: Number) -> Callable[..., list[float] | None]:
    """Give an option callback: numbers of one type, separated by commas, repetitions dropped."""

    def parse(ctx: click.Context, param: click.Parameter, value: str | None) -> list[float] | None:
        if value is None:
            return None
        parts = [part.strip() for part in value.split(",") if part.strip()]
        if not parts:
            raise click.BadParameter("a comma-separated list of numbers is needed.", ctx, param)
        return list(dict.fromkeys(float(item(part, param, ctx)) for part in parts))

    return parse


def name_list(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    """Click's callback for names separated by commas, repetitions dropped."""
    if value is None:
        return None
    names = [part.strip().lower() for part in value.split(",") if part.strip()]
    if not names:
        raise click.BadParameter("a comma-separated list of names is needed.", ctx, param)
    return tuple(dict.fromkeys(names))


QUALITY = Finite(0, 100)
BPP = Finite(0, min_open=True)
PSNR = Finite(0, 100, min_open=True)
COUNT = Whole(1)


class _BackendName(click.ParamType[str]):
    """The name of a backend; Click's Choice has no room for the number of a GPU."""

    name = "backend"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name if there may be such a backend."""
        if value == "cuda:N" or (
            value not in BACKENDS and not re.fullmatch("cuda:[0-9]{1,4}", value)
        ):
            self.fail(f"{value!r} is not one of {', '.join(BACKENDS)}.", param, ctx)
        return str(value)


def effort_option(command: F) -> F:
    """``--effort``."""
    return click.option(
        "-e",
        "--effort",
        type=Whole(1, 9),
        default=5,
        show_default=True,
        metavar="E",
        help="Time spent on the search: 1 = draft, 3 = fast, 5 = normal, 7 = slow, "
        "9 = for the last tenth of a dB.",
    )(command)


def topk_option(command: F) -> F:
    """``--topk``."""
    return click.option(
        "--topk",
        type=click.Choice(TOPK),
        default=None,
        help="Research: how fitting finds a pixel's sites: exact, or propagate = the approximate "
        "map of the paper. Default: exact; propagate with --recipe paper. Decoding is always "
        "exact.",
    )(command)


def metric_option(command: F) -> F:
    """``--metric``."""
    return click.option(
        "--metric",
        type=click.Choice(METRICS),
        default="psnr",
        show_default=True,
        help="What is optimized: psnr = the squared error, ssim = structural similarity: more "
        "texture where contrast is low, for a lower PSNR.",
    )(command)


def recipe_option(command: F) -> F:
    """``--recipe``."""
    return click.option(
        "--recipe",
        type=click.Choice(RECIPES),
        default="default",
        show_default=True,
        help="Research: how the sites are fitted. paper = the authors' schedule of 4000 "
        "iterations, minutes instead of seconds; with --sites, on the CPU.",
    )(command)


def seed_option(command: F) -> F:
    """``--seed``."""
    return click.option(
        "--seed",
        type=Whole(0, 2**32 - 1),
        default=0,
        show_default=True,
        metavar="N",
        help="Seed of the random numbers. One seed gives one file, for any number of threads.",
    )(command)


def threads_option(command: F) -> F:
    """``--threads``."""
    return click.option(
        "--threads",
        type=Whole(1, 1024),
        default=None,
        metavar="N",
        help="Threads. Default: one per core. The result does not depend on it.",
    )(command)


def backend_option(help_text: str) -> Callable[[F], F]:
    """``--backend``."""
    return click.option(
        "--backend",
        type=_BackendName(),
        default="auto",
        show_default=True,
        metavar=f"[{'|'.join(BACKENDS)}]",
        help=f"{help_text} cuda = the first GPU, cuda:N = number N from 0, cpu = native code, "
        "reference = the slow definition in NumPy.",
    )


ENCODING_BACKEND = "auto = a GPU if CuPy is installed and finds one, else the CPU;"
DECODING_BACKEND = "auto = the CPU, which draws a photograph in less time than CuPy takes to load;"


def max_pixels_option(command: F) -> F:
    """``--max-pixels``."""
    return click.option(
        "--max-pixels",
        type=COUNT,
        default=None,
        metavar="N",
        help="Refuse larger images before memory is taken. Default: 2^28 = 268435456.",
    )(command)


def jobs_option(command: F) -> F:
    """``--jobs``."""
    return click.option(
        "-j",
        "--jobs",
        type=Whole(1, 256),
        default=1,
        show_default=True,
        metavar="N",
        help="Images worked on at a time, each in a process of its own: with --backend cuda on "
        "the GPUs in turn, on the CPU with an equal share of the threads (--threads: with so "
        "many each). The files do not depend on it.",
    )(command)


def coder_option(command: F) -> F:
    """``--coder``."""
    return click.option(
        "--coder",
        type=click.Choice(CODERS),
        default="range",
        show_default=True,
        help="Entropy coder: range = smallest, zstd = larger, simpler to read elsewhere.",
    )(command)


def groups_option(command: F) -> F:
    """``--groups``."""
    return click.option(
        "--groups",
        type=Whole(1, 256),
        default=None,
        metavar="N",
        help="Parts of the picture that are coded alone, so that damage to the file costs one of "
        "them (sad decode --repair), and a region is read from those that matter there. Each takes "
        "70 to 410 bytes. Default: 1; of the range coder, "
        "from 131072 sites on, as many as there are with at most 1536 sites, of some 85 bytes.",
    )(command)


def quiet_option(command: F) -> F:
    """``--quiet``."""
    return click.option(
        "--quiet", is_flag=True, help="Print nothing but errors and what is asked for."
    )(command)


def force_option(command: F) -> F:
    """``--force``."""
    return click.option(
        "-f",
        "--force",
        is_flag=True,
        help="Replace an existing file; allow binary data on a terminal.",
    )(command)
