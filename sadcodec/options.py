"""The options of an encode, checked, and the job that they stand for."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import ArrayLike

from sadcodec.backends.base import DEFAULT_K
from sadcodec.backends.propagation import propagation_of
from sadcodec.effort import DEFAULT_EFFORT, effort_for
from sadcodec.engine import engine_for
from sadcodec.errors import OptionError
from sadcodec.fit.schedule import RECIPES
from sadcodec.importance import importance_of
from sadcodec.job import Job, first_header
from sadcodec.layering import layers_for
from sadcodec.objective import METRICS
from sadcodec.pixels import Image, check_image, display_referred
from sadcodec.progress import Progress, rising
from sadcodec.targets.target import target_of

__all__ = ["start_job"]

_PAPER_BACKENDS = ("auto", "cpu", "reference")  # of the recipe paper; auto is the CPU


def _check_recipe(recipe: str, kind: str, backend: str) -> str:
    """Return the name of the backend that the recipe runs on."""
    if recipe not in RECIPES:
        raise OptionError(f"recipe must be one of {', '.join(RECIPES)}, not {recipe!r}")
    if recipe == "default":
        return backend
    if kind != "sites":
        raise OptionError("the recipe paper needs a number of sites, which it is solved for")
    if backend not in _PAPER_BACKENDS:
        raise OptionError(f"the recipe paper runs on the backend cpu, not on {backend}")
    return "cpu" if backend == "auto" else backend


def start_job(
    image: Image,
    *,
    quality: float | None = None,
    bpp: float | None = None,
    size: int | None = None,
    psnr: float | None = None,
    sites: int | None = None,
    metric: str = "psnr",
    recipe: str = "default",
    effort: int = DEFAULT_EFFORT,
    seed: int = 0,
    threads: int | None = None,
    backend: str = "auto",
    coder: str = "range",
    groups: int | None = None,
    progressive: int | None = None,
    topk: str | None = None,
    mask: ArrayLike | None = None,
    roi: Sequence[Sequence[float]] = (),
    attached: int = 0,
    progress: Progress | None = None,
) -> tuple[Job, str, float]:
    """Check an image and the options of `encode`, which raises the same; return what to do.

    `attached` bytes of the file are not for sites.

    Returns
    -------
    job : Job
    kind, value : str, float
        Of the target.
    """
    image = check_image(image)
    kind, value = target_of(
        {"quality": quality, "bpp": bpp, "size": size, "psnr": psnr, "sites": sites}
    )
    header = first_header(image.shape, 8 * image.dtype.itemsize, DEFAULT_K, coder, groups)
    if metric not in METRICS:
        raise OptionError(f"metric must be one of {', '.join(METRICS)}, not {metric!r}")
    if not 0 <= seed < 1 << 32 or seed != int(seed):
        raise OptionError(f"seed must be 0..2^32 - 1, not {seed}")
    seed = int(seed)
    engine = engine_for(_check_recipe(recipe, kind, backend), threads, "encode")
    if topk is None:
        topk = "propagate" if recipe == "paper" and engine.name == "cpu" else "exact"
    height, width = image.shape[:2]
    job = Job(
        backend=engine,
        target=display_referred(image),
        header=header,
        effort=effort_for(effort),
        seed=seed,
        metric=metric,
        propagation=propagation_of(topk, seed),
        recipe=recipe,
        importance=importance_of(mask, roi, height, width),
        progress=rising(progress),
        attached=attached,
        layers=layers_for(progressive, groups),
    )
    return job, kind, value
