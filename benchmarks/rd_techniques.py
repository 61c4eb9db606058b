"""The encoder with one of its techniques switched off.

The switches are patches of the functions that hold a technique, made for one encode and undone
after it: the encoder itself has no options for this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from statistics import mean
from typing import Any
from unittest.mock import patch

import numpy as np
from timing import markdown_table

from sadcodec import bitstream, job, rate, refine
from sadcodec.backends.cpu import CpuFitSession, CpuRefiner
from sadcodec.codec import EncodeReport, encode_with_report
from sadcodec.effort import effort_for

DB_PER_OCTAVE = 2.3  # PSNR for twice the bytes, along which scores are moved to equal bytes

Patches = Callable[[bytes], Iterable[AbstractContextManager[Any]]]


@dataclass(frozen=True)
class Technique:
    """What is done without it.

    Attributes
    ----------
    name : str
        What is switched off.
    instead : str
        What is done in its place.
    patches : callable
        From the file of the whole encoder to the patches.
    options : dict
        Further options of the encode.
    """

    name: str
    instead: str
    patches: Patches = lambda _: ()
    options: dict[str, Any] = field(default_factory=dict)


def effort_with(**changes: Any) -> AbstractContextManager[Any]:
    """Change fields of the effort."""
    return patch("sadcodec.options.effort_for", lambda level: replace(effort_for(level), **changes))


def sized(aim: float) -> AbstractContextManager[Any]:
    """Make rounded diagrams `aim` times as large as the target, before the descent."""
    return patch.object(rate, "_HIGH", aim)


def _no_noise(_: bytes) -> list[AbstractContextManager[Any]]:
    return [patch.object(rate, "noise_widths", lambda params, *_: np.zeros_like(params))]


def _no_descent(_: bytes) -> list[AbstractContextManager[Any]]:
    # Rounding alone must meet the target then.
    nothing = patch.object(CpuRefiner, "sweep", lambda *_: 0)
    return [effort_with(sweeps=0), nothing, sized(1.0)]


def _colors_alone(_: bytes) -> list[AbstractContextManager[Any]]:
    sweep = CpuRefiner.sweep
    return [patch.object(CpuRefiner, "sweep", lambda self, price, _: sweep(self, price, False))]


def _no_removal(_: bytes) -> list[AbstractContextManager[Any]]:
    # The descent makes the file up to 1 % larger, which is under the target then, and stays so.
    return [sized(0.985), patch.object(rate, "_NEAR", 0.0)]


def _one_color_step(whole: bytes) -> list[AbstractContextManager[Any]]:
    """One step for all sites, the mean of those that the whole encoder used."""
    _, symbols = bitstream.read(whole)
    factor = 2.0 ** (float(np.mean(symbols.classes)) / 2.0)
    choose = refine.choose_quantizer

    def alike(*arguments: Any, **options: Any) -> bitstream.QuantizerParameters:
        chosen = choose(*arguments, **options)
        steps = tuple(min(max(round(step * factor), 1), 65535) for step in chosen.step_color)
        return replace(chosen, step_color=steps, class_distance_gain=0, class_tau_gain=0)

    return [patch.object(job, "choose_quantizer", alike)]


def _with_radius(_: bytes) -> list[AbstractContextManager[Any]]:
    def on(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments, **options: function(*arguments, **{**options, "radius": True})

    return [
        patch.object(rate, name, on(getattr(rate, name))) for name in ("fit_and_tune", "header_for")
    ]


def _no_rate_term(_: bytes) -> list[AbstractContextManager[Any]]:
    # What descent saves against rounding is then as it was without the term.
    plain = [sized(1.032), patch.object(rate, "_SAVED", 1.03)]
    return [patch.object(CpuFitSession, "set_rate", lambda *_: None), *plain]


TECHNIQUES = [
    Technique("dense start", "from 1.5 N", lambda _: [effort_with(dense_start=1.5)]),
    Technique("fine-tuning", "none", lambda _: [effort_with(tune_iterations=0)]),
    Technique("noise in fine-tuning", "fine-tuning without noise", _no_noise),
    Technique(
        "least-squares colours",
        "colours rounded",
        lambda _: [patch.object(CpuRefiner, "solve_colors", lambda *_: None)],
    ),
    Technique("integer descent", "rounding and least-squares colours", _no_descent),
    Technique("descent of the geometry", "of the colours alone", _colors_alone),
    Technique(
        "bits in the descent",
        "squared error alone",
        lambda _: [patch.object(refine.Refinement, "price", lambda *_: 0.0)],
    ),
    Technique("sites removed at the end", "size by the steps alone", _no_removal),
    Technique("colour step classes", "one step for all sites", _one_color_step),
    Technique(
        "coarser steps of crowded sites",
        "the same at all rates",
        lambda _: [patch.object(refine, "crowding", lambda _: 1.0)],
    ),
    Technique("no radius column", "radius fitted and coded", _with_radius),
    Technique("range coder", "zstd profile", options={"coder": "zstd"}),
    Technique("rate term in the fit", "squared error alone", _no_rate_term),
]


def score(report: EncodeReport, bpp: float) -> float:
    """Return the PSNR in dB, moved to the target's rate."""
    return report.psnr - DB_PER_OCTAVE * float(np.log2(report.bpp / bpp))


def encode_without(
    technique: Technique, whole: bytes, image: np.ndarray, bpp: float, **options: Any
) -> EncodeReport:
    """Encode with a technique switched off.

    Parameters
    ----------
    technique : Technique
    whole : bytes
        The file of the whole encoder at the same target.
    image, bpp, options
        As for `sadcodec.encode`.
    """
    with ExitStack() as patches:
        for each in technique.patches(whole):
            patches.enter_context(each)
        return encode_with_report(image, bpp=bpp, **options, **technique.options)[1]


def row(
    image: str, bpp: float, technique: str, instead: str, report: EncodeReport
) -> dict[str, Any]:
    """Return an encode as a row of the report."""
    return {
        "image": image,
        "bpp": bpp,
        "technique": technique,
        "instead": instead,
        "bytes": report.bytes,
        "sites": report.sites,
        "psnr_db": report.psnr,
        "score_db": score(report, bpp),
        "seconds": report.seconds,
    }


def table(found: Sequence[dict[str, Any]]) -> str:
    """Return means over the images: the whole encoder's score, then the others' differences."""
    rates = list(dict.fromkeys(row["bpp"] for row in found))
    scores = {(r["technique"], r["bpp"], r["image"]): r["score_db"] for r in found}
    lines = []
    for name, instead in dict.fromkeys((row["technique"], row["instead"]) for row in found):
        line = [name or "(whole encoder)", instead]
        for bpp in rates:
            mine = {i: s for (n, r, i), s in scores.items() if (n, r) == (name, bpp)}
            if not mine:
                line.append("-")
            elif not name:
                line.append(f"{mean(mine.values()):.2f} dB")
            else:
                line.append(f"{mean(s - scores['', bpp, i] for i, s in mine.items()):+.2f}")
        lines.append(line)
    return markdown_table(["switched off", "instead", *(f"{bpp:g} bpp" for bpp in rates)], lines)
