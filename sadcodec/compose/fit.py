"""Fit bitmap primitives to a picture by gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sadcodec.compose.adam import Adam
from sadcodec.compose.canvas import Canvas, canvas_of
from sadcodec.compose.composition import (
    COLOR,
    MAX_PRIMITIVES,
    OPACITY,
    Composition,
    R,
    X,
    Y,
)
from sadcodec.compose.constraints import Constraints
from sadcodec.compose.initialize import INITS, SMALLEST_R, color_logits, initialize, largest_r
from sadcodec.compose.logistic import logit
from sadcodec.compose.losses import LOSSES, color_loss
from sadcodec.compose.render import Bitmaps, bitmaps
from sadcodec.errors import OptionError
from sadcodec.processors import default_threads
from sadcodec.progress import Progress

__all__ = ["FitResult", "fit"]

Floats = NDArray[np.float32]

# Steps of Adam by column, in its units; of positions and r as parts of r. All fall to _LAST of that
# along a half cosine.
_RATES = np.array([0.08, 0.08, 0.06, 0.08, 0.12, 0.075, 0.075, 0.075], np.float32)
_LAST = 0.1

# Sigmas of the templates' blur in texels, for equal parts of the iterations.
_BLURS = (1.5, 1.2, 1.0, 0.8, 0.6, 0.0)

_ALPHA_WEIGHT = 1.0  # of the squared error of alpha beside the loss of colours
_MOST_OPACITY = 8.0  # bound of |v|: alpha 0.9997
_MOST_COLOR = 6.0  # bound of colour logits: within 0.0025 of black and white
_CHECKS = 20  # entries of the history
_PRUNINGS = 8
_PRUNED = 0.03  # sigmoid(v) under which a primitive is taken for useless


@dataclass(frozen=True)
class FitResult:
    """What a fit gives.

    Attributes
    ----------
    composition : Composition
    history : list of (iteration, loss, PSNR)
        At about 20 moments and at the end: the loss of the picture that is optimized, and the PSNR
        in dB, over all pixels, of the one with sharp templates. Both pictures lie over the
        background, or gray where there is none.
    """

    composition: Composition
    history: list[tuple[int, float, float]]

    @property
    def psnr(self) -> float:
        """PSNR of the result in dB."""
        return self.history[-1][2]


def fit(
    target: Floats,
    templates: NDArray[np.uint8],
    *,
    count: int = 1000,
    iterations: int = 500,
    seed: int = 0,
    init: str = "structure",
    loss: str = "mse",
    mask: Floats | None = None,
    noisy_canvas: bool = True,
    soft: bool = True,
    background: Floats | str | None = "auto",
    blend: float = 0.0,
    opacity: float = 1.0,
    constraints: Mapping[str, float] | None = None,
    prune: bool = False,
    start: Composition | None = None,
    frozen: NDArray[np.bool_] | None = None,
    progress: Progress | None = None,
    backend: str = "cpu",
    threads: int | None = None,
) -> FitResult:
    """Fit primitives to a picture.

    Parameters
    ----------
    target : float32 [H, W, 3 or 4], display-referred 0..1
        Straight RGB or RGBA.
    templates : uint8 [P, 128, 128, 4], straight RGBA
    count : int, 1..2^20
        Number of primitives N; that of `start` if it is given.
    iterations : int, >= 0
    seed : int, >= 0
        Of all that is left to chance. The same seed and arguments give the same result, for any
        number of threads.
    init : str
        "structure" or "random": see `initialize`.
    loss : str
        Of colours: "mse", "l1", "huber" or "ssim", see `sadcodec.compose.losses`.
    mask : float32 [H, W], 0..1, optional
        What belongs to the picture; multiplies the target's alpha. What does not is to stay
        transparent.
    noisy_canvas : bool
        Where target or mask leave something transparent: draw over fresh uniform noise at every
        iteration. Otherwise over the background, or white.
    soft : bool
        Optimize with blurred templates, less and less.
    background : float32 [3], "auto" or None
        Colour behind the primitives; None: none. "auto": the target's mean colour where it is
        opaque, and none where it is not.
    blend, opacity : float
        See `Composition`.
    constraints : mapping of str to float, optional
        Weights of further terms: see `Constraints`.
    prune : bool
        At eight moments, place primitives that have become nearly transparent anew, where the error
        is largest.
    start : Composition, optional
        Where to start from instead, of the target's size. Its templates, background, blend and
        opacity are those of the arguments.
    frozen : bool [N], optional
        Primitives that are not to change.
    progress : callable, optional
        Called with a fraction in 0..1 and a short message.
    backend : {"cpu", "cuda"}
        What draws and differentiates; the rest is NumPy's.
    threads : int, optional
        None: as many as there are processors.

    Returns
    -------
    FitResult

    Raises
    ------
    OptionError
        If an argument is out of range, or shapes do not fit together.
    CompositionError
        If the templates are none.
    BackendError
        If the backend is not available.
    """
    _check(target, mask, count, iterations, seed, init, loss, start, frozen)
    canvas = canvas_of(target, mask, background, noisy_canvas)
    random = np.random.default_rng(seed)
    if start is None:
        params = initialize(canvas.target, count, random, init=init, weights=canvas.foreground)
    else:
        params = start.params.copy()
    height, width = target.shape[:2]
    made = Composition(params, width, height, templates, canvas.background, blend, opacity)
    session = _Session(made, canvas, loss, constraints or {}, frozen, random, backend, threads)
    session.run(iterations, _BLURS if soft else (0.0,), prune, progress)
    return FitResult(replace(made, params=session.params), session.history)


class _Session:
    """A fit at work."""

    def __init__(
        self,
        made: Composition,
        canvas: Canvas,
        loss: str,
        constraints: Mapping[str, float],
        frozen: NDArray[np.bool_] | None,
        random: np.random.Generator,
        backend: str,
        threads: int | None,
    ) -> None:
        self.params = made.params
        self.history: list[tuple[int, float, float]] = []
        self._made, self._canvas, self._random = made, canvas, random
        self._loss = color_loss(loss, canvas.target, canvas.weights)
        self._constraints = Constraints(constraints, canvas.target, canvas.foreground)
        self._backend, self._threads = backend, threads or default_threads()
        self._rows = np.ones(len(made), bool) if frozen is None else ~frozen
        self._active = None if frozen is None else self._rows.astype(np.uint8)
        self._made_sharp: Bitmaps | None = None
        self._adam = Adam(made.params.shape)
        self._image = np.empty((4, made.height, made.width), np.float32)

    def run(
        self,
        iterations: int,
        blurs: tuple[float, ...],
        prune: bool,
        progress: Progress | None,
    ) -> None:
        """Optimize; leaves the history."""
        check = max(iterations // _CHECKS, 1)
        pruning = max(iterations // (_PRUNINGS + 2), 1)
        stage = -1
        for i in range(iterations):
            if stage != i * len(blurs) // iterations:
                stage = i * len(blurs) // iterations
                core = self._core(blurs[stage])
            fall = _LAST + (1 - _LAST) * 0.5 * (1 + math.cos(math.pi * i / iterations))
            loss = self._step(core, fall)
            if i % check == 0:
                self._note(i, loss)
            if prune and i % pruning == 0 and 0 < i <= _PRUNINGS * pruning:
                self._place_anew()
            if progress is not None:
                psnr = self.history[-1][2]
                progress((i + 1) / iterations, f"{i + 1}/{iterations} iterations, {psnr:.2f} dB")
        self._note(iterations, self._loss_of(self._draw(self._sharp()))[0])

    def _sharp(self) -> Bitmaps:
        """Return what the result is drawn with."""
        if self._made_sharp is None:
            self._made_sharp = self._core(0.0)
            self._made_sharp.set_active(None)
        self._made_sharp.set_params(self.params, self._made.opacity, self._made.blend)
        return self._made_sharp

    def _core(self, blur: float) -> Bitmaps:
        made = self._made
        core = bitmaps(
            made.templates, made.blend, blur=blur, backend=self._backend, threads=self._threads
        )
        core.set_params(self.params, made.opacity, made.blend)
        core.set_active(self._active)
        return core

    def _draw(self, core: Bitmaps) -> Floats:
        core.set_params(self.params, self._made.opacity, self._made.blend)
        core.draw(self._image)
        return self._image

    def _loss_of(self, image: Floats) -> tuple[float, Floats]:
        """Return the loss, and its slopes [4, H, W] times the number of values."""
        canvas, alpha = self._canvas, image[3]
        behind = canvas.behind(self._random)
        value, slope = self._loss(image[:3] + (1 - alpha) * behind)
        slopes = np.empty_like(image)
        slopes[:3] = slope
        np.einsum("chw,chw->hw", slope, np.broadcast_to(behind, slope.shape), out=slopes[3])
        np.negative(slopes[3], out=slopes[3])
        if canvas.foreground is not None:
            excess = alpha - canvas.foreground
            value += _ALPHA_WEIGHT * float(np.mean(excess * excess))
            slopes[3] += 3 * 2 * _ALPHA_WEIGHT * excess
        more, by_alpha = self._constraints.by_alpha(alpha)
        if by_alpha is not None:
            slopes[3] += 3 * by_alpha
        return value + more, slopes

    def _step(self, core: Bitmaps, fall: float) -> float:
        image = self._draw(core)
        value, slopes = self._loss_of(image)
        gradient = core.gradient(image, slopes)
        more, by_params = self._constraints.by_params(self.params)
        if by_params is not None:
            gradient += 3 * by_params
        rates = np.tile(np.float32(fall) * _RATES, (len(gradient), 1))
        rates[:, [X, Y, R]] *= self.params[:, R : R + 1]
        self._adam.step(self.params, gradient, rates, self._rows)
        self._clamp()
        return value + more

    def _clamp(self) -> None:
        made, rows = self._made, self._rows
        moved = self.params[rows]
        np.clip(moved[:, X], 0, made.width, out=moved[:, X])
        np.clip(moved[:, Y], 0, made.height, out=moved[:, Y])
        np.clip(moved[:, R], SMALLEST_R, largest_r(made.width, made.height), out=moved[:, R])
        np.clip(moved[:, OPACITY], -_MOST_OPACITY, _MOST_OPACITY, out=moved[:, OPACITY])
        np.clip(moved[:, COLOR:], -_MOST_COLOR, _MOST_COLOR, out=moved[:, COLOR:])
        self.params[rows] = moved

    def _note(self, iteration: int, loss: float) -> None:
        """Add to the history."""
        image = np.empty_like(self._image)
        self._sharp().draw(image)
        self.history.append((iteration, loss, self._canvas.psnr(image)))

    def _place_anew(self) -> None:
        useless = self._rows & (self.params[:, OPACITY] < logit(_PRUNED))
        count = int(np.count_nonzero(useless))
        if count == 0:
            return
        target = self._canvas.target
        error = self._canvas.error(self._image).astype(np.float64)
        error /= error.sum()
        if not np.isfinite(error).all():
            return
        pixel = self._random.choice(error.size, count, p=error.ravel())
        fresh = self.params[useless]
        fresh[:, X] = pixel % self._made.width + 0.5
        fresh[:, Y] = pixel // self._made.width + 0.5
        fresh[:, R] = np.minimum(fresh[:, R], 2 * SMALLEST_R)
        fresh[:, OPACITY] = 0.0
        fresh[:, COLOR:] = color_logits(target.reshape(3, -1)[:, pixel].T)
        self.params[useless] = fresh
        self._adam.forget(useless)


def _check(
    target: Floats,
    mask: Floats | None,
    count: int,
    iterations: int,
    seed: int,
    init: str,
    loss: str,
    start: Composition | None,
    frozen: NDArray[np.bool_] | None,
) -> None:
    if target.dtype != np.float32 or target.ndim != 3 or target.shape[2] not in (3, 4):
        raise OptionError(f"the target must be float32 [H, W, 3 or 4], not {list(target.shape)}")
    if target.size == 0 or not np.isfinite(target).all():
        raise OptionError("the target must have pixels, all of them finite")
    if mask is not None and mask.shape != target.shape[:2]:
        raise OptionError(
            f"the mask has {mask.shape[1]}x{mask.shape[0]} px, the target"
            f" {target.shape[1]}x{target.shape[0]}"
        )
    if not 1 <= count <= MAX_PRIMITIVES:
        raise OptionError(f"the number of primitives must be in 1..{MAX_PRIMITIVES}, not {count}")
    if iterations < 0 or seed < 0:
        raise OptionError("iterations and seed must not be negative")
    for name, value, known in (("init", init, INITS), ("loss", loss, LOSSES)):
        if value not in known:
            raise OptionError(f"unknown {name} {value!r}; there are {', '.join(known)}")
    if start is not None and (start.height, start.width) != target.shape[:2]:
        raise OptionError(
            f"the start has {start.width}x{start.height} px, the target"
            f" {target.shape[1]}x{target.shape[0]}"
        )
    if frozen is not None and frozen.shape != (count if start is None else len(start),):
        raise OptionError("frozen must have one value a primitive")
