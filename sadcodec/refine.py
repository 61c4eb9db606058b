"""From a fitted diagram to symbols: steps, noise widths, and what repairs the rounding.

Steps follow from the fit: positions from the mean spacing, colours from the fit's error, the others
are constants; docs/RATE_DISTORTION.md has the measurements. After rounding, colours are solved by
least squares and integer coordinate descent moves every symbol of every site by what the squared
error, plus lambda times the bits, says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.base import Backend, Refiner
from sadcodec.bitstream import (
    MAX_GRID,
    Header,
    QuantizerParameters,
    Symbols,
    color_classes,
    encode_payload,
    file_size,
    reach_bytes,
    symbol_costs,
)
from sadcodec.quantize import (
    COLOR_UNIT,
    STEP_UNIT,
    color_axes,
    color_steps,
    dequantize,
    from_table,
    levels_for,
    quantize,
    quantize_with_steps,
    to_table,
)
from sadcodec.rate_term import BITS_PER_SITE
from sadcodec.sites import Sites

__all__ = [
    "Refinement",
    "choose_quantizer",
    "coded_size",
    "crowding",
    "draw",
    "noise_widths",
    "rounded_anew",
    "set_table",
    "start_refiner",
]

Floats = NDArray[np.float32]

# Steps at scale 1. The optimum is flat: a third either way on one of them costs at most 0.06 dB at
# equal bytes (docs/RATE_DISTORTION.md).
_POSITION = 1.0 / 22.7  # of the mean spacing
_LOG_TAU = 0.20
_LOG_ANISOTROPY = 0.27
_ANGLE = 0.137  # rad, divided by sinh(a)
_RADIUS = 1.0 / 10.0  # of the mean spacing
_COLOR = 1.35  # of the fit's root mean squared error
_COARSE_COLOR = 0.5  # a scale makes no coarser steps: few sites would be worse than the mean colour
RATE_STRENGTH = 1.0  # of the bits in the descent; 0.3 to 1.5 are within 0.02 dB
_NOISE = 0.3  # half-width of the fine-tuning noise, in steps


# Columns of `to_table` by the names of `symbol_costs`.
_TABLE_COLUMN = {"log_tau": 2, "log_anisotropy": 3, "radius": 5} | {
    f"color{c}": 6 + c for c in range(4)
}


def choose_quantizer(
    mse: float,
    width: int,
    height: int,
    sites: float,
    channels: int,
    *,
    scale: float = 1.0,
    radius: bool = False,
) -> QuantizerParameters:
    """Return the steps for a diagram of `sites` sites that fits with `mse`: QuantizerParameters.

    Parameters
    ----------
    mse : float
        Mean squared error of the fit, display-referred 0..1 units.
    width, height : int, px
    sites : float
        Over the whole picture, at the density that they have where they are.
    channels : int
    scale : float
        On all steps; larger is coarser. They grow by themselves where a site has under 150 px.
    radius : bool
        Whether there is a radius column.
    """
    spacing = np.sqrt(width * height / sites)
    rms = float(np.sqrt(max(mse, 1e-9)))
    crowded = crowding(sites / (width * height))
    color = _COLOR * rms * crowded
    color = min(scale * color, max(_COARSE_COLOR, color))
    scale *= crowded

    def units(step: float, unit: float) -> int:
        return int(min(max(round(step * scale / unit), 1), 65535))

    # The position grid has at most MAX_GRID cells a side.
    finest = -(-max(width, height) * 1024 // MAX_GRID)
    return QuantizerParameters(
        step_position=max(units(_POSITION * spacing, STEP_UNIT), finest),
        step_log_tau=units(_LOG_TAU, STEP_UNIT),
        step_log_anisotropy=units(_LOG_ANISOTROPY, STEP_UNIT),
        step_angle=units(_ANGLE, STEP_UNIT),
        step_radius=units(_RADIUS * spacing, STEP_UNIT) if radius else 0,
        step_color=(units(color / scale, COLOR_UNIT),) * channels,
    )


def crowding(density: float) -> float:
    """Return the factor on all steps at this many sites a px: crowded sites want coarser ones.

    It brings 0.08 dB at 32 px a site, 0.13 dB at 16 px.
    """
    return max(1.0, 1.22 * (32.0 * density) ** 0.12)


def noise_widths(
    params: Floats, width: int, height: int, quantizer: QuantizerParameters, threads: int = 1
) -> Floats:
    """Return the half-widths of noise that stand for rounding, float32 [N, 6 + C].

    They are for the sites `params`, float32 [N, 6 + C], of a picture of width x height px, in the
    columns' units. Columns p and q: along the vector (p, q), where the anisotropy is rounded, and
    across it, where the angle is: its step is step_angle / sinh(a), and (p, q) turns by twice the
    angle.
    """
    _, of_colors = quantize_with_steps(Sites(params), width, height, quantizer, threads)
    a = np.hypot(params[:, 4], params[:, 5]).astype(np.float64)
    small = a < 1e-3
    widths = np.empty_like(params)
    widths[:, :2] = quantizer.step_position
    widths[:, 2] = quantizer.step_log_tau
    widths[:, 3] = quantizer.step_radius
    widths[:, 4] = quantizer.step_log_anisotropy
    widths[:, 5] = 2.0 * quantizer.step_angle * np.where(small, 1.0, a / np.sinh(a + small))
    widths[:, :6] *= STEP_UNIT
    widths[:, 6:] = of_colors
    return widths * np.float32(_NOISE)


def rounded_anew(
    header: Header, symbols: Symbols, steps: NDArray[np.float64], threads: int = 1
) -> Symbols:
    """Return symbols with colours in multiples of `steps`, rounded to the steps that they have.

    `steps`, float64 [N, C], are the `color_steps` that the colours were coded with.
    """
    size = header.width, header.height
    classes = color_classes(symbols, *size, header.quantizer, threads)
    symbols = replace(symbols, classes=classes)
    after = color_steps(symbols, *size, header.quantizer, threads)
    color = np.floor(symbols.color * (steps / after) + 0.5).astype(np.int32)
    return replace(symbols, color=color)


def coded_size(header: Header, symbols: Symbols, threads: int = 1) -> int:
    """Return the bytes of the file with these symbols, and the reach of its groups."""
    payload = encode_payload(header, symbols, threads)
    return file_size(header, payload) + reach_bytes(len(payload.groups), len(payload.layers))


def draw(backend: Backend, header: Header, symbols: Symbols, max_work: int = 0) -> NDArray[Any]:
    """Return what a file with these symbols decodes to, uint8 or uint16 [H, W, C].

    `max_work` is that of `Backend.render`.
    """
    sites = dequantize(symbols, header.width, header.height, header.quantizer)
    fine = header.bit_depth == 16
    options: dict[str, Any] = {"max_work": max_work, "bit_depth": header.bit_depth}
    return backend.render(sites, header.width, header.height, header.k, exact=fine, **options)


@dataclass
class Refinement:
    """A refiner with the image geometry and the quantizer it works on."""

    refiner: Refiner
    header: Header  # site_count is kept current
    threads: int = 1  # of what is done beside the refiner
    layer: NDArray[np.int32] | None = None  # of each site; that of the symbols that were set
    error: float = 0.0  # squared error over all pixels and channels at the last `rebuild`
    _size: int | None = None  # of the present symbols, once it was asked for

    @property
    def symbols(self) -> Symbols:
        """Current symbols."""
        symbols = from_table(self.refiner.symbols, radius=self.header.quantizer.step_radius > 0)
        return replace(symbols, layer=self.layer)

    def color_steps(self, symbols: Symbols) -> NDArray[np.float64]:
        """Return the colour steps of these sites: see `sadcodec.quantize.color_steps`."""
        h = self.header
        return color_steps(symbols, h.width, h.height, h.quantizer, self.threads)

    def rebuild(self) -> None:
        """Rebuild the pixels' lists for the current symbols."""
        self.error = self.refiner.build_lists()
        self._size = None

    def set_symbols(self, symbols: Symbols) -> None:
        """Replace the sites, for instance after removing some."""
        steps = self.color_steps(symbols)
        self.header = replace(self.header, site_count=len(symbols))
        self.layer = symbols.layer
        set_table(self.refiner, to_table(symbols), self.header.quantizer, steps)
        self.rebuild()

    def price(self, strength: float) -> float:
        """Give the refiner the present costs of symbols and return lambda, squared error per bit.

        At strength 1 the exchange rate is the file's own: its squared error over its bits. A fit
        with more sites trades at 0.76 of it (2.3 dB per doubling of the rate).
        """
        if strength <= 0.0:
            return 0.0
        symbols = self.symbols
        for cost in symbol_costs(self.header, symbols, self.threads):
            self.refiner.set_cost(_TABLE_COLUMN[cost.name], cost.prediction, cost.klass, cost.table)
        return strength * self.error / (BITS_PER_SITE * len(symbols))

    def settle_colors(self, sweeps: int, strength: float = RATE_STRENGTH) -> None:
        """Bring the colours onto the steps that the present geometry gives them.

        The step classes follow from positions and log_tau, which a sweep moves: after it the
        colours are rounded to the new steps and descend alone.
        """
        symbols = self.symbols
        steps = self.color_steps(symbols)
        self.refiner.set_color_steps(np.ascontiguousarray(steps, np.float32))
        lambda_ = self.price(strength)
        for _ in range(sweeps):
            self.refiner.sweep(lambda_, False)
        self.rebuild()

    def descend(
        self, sweeps: int, strength: float = RATE_STRENGTH, *, color_sweeps: int = 2
    ) -> None:
        """Sweep over all symbols of all sites `sweeps` times, then settle the colours.

        `strength` is that of `price`, `color_sweeps` the `sweeps` of `settle_colors`.
        """
        for _ in range(sweeps):
            self.refiner.sweep(self.price(strength), True)
            self.rebuild()
        self.settle_colors(color_sweeps, strength)

    def size(self) -> int:
        """Return the bytes of the file with the present symbols."""
        if self._size is None:
            self._size = coded_size(self.header, self.symbols, self.threads)
        return self._size

    def ranking(self) -> NDArray[np.int64]:
        """Return the sites, int64 [N], those first whose removal raises the squared error least."""
        return np.argsort(self.refiner.removal_deltas(), kind="stable")

    def without(
        self, dropped: NDArray[np.int64], steps: NDArray[np.float64] | None = None
    ) -> Symbols:
        """Return the symbols that are left without the sites `dropped`.

        Their colours are rounded to the steps that they have alone; `steps` are those that all
        sites have now, where the caller knows them.
        """
        symbols = self.symbols
        keep = np.setdiff1d(np.arange(len(symbols)), dropped)
        if steps is None:
            steps = self.color_steps(symbols)
        return rounded_anew(self.header, symbols.take(keep), steps[keep], self.threads)

    def remove(self, count: int) -> None:
        """Remove the `count` sites that raise the squared error least, but never the last."""
        self.set_symbols(self.without(self.ranking()[: min(count, self.header.site_count - 1)]))

    def remove_to_size(self, size: int) -> None:
        """Remove as few sites, by `ranking`, as bring the file under `size` bytes; keep one."""
        now = self.size()
        if now <= size:
            return
        ranking, steps = self.ranking(), self.color_steps(self.symbols)
        low, high = 0, self.header.site_count - 1  # too large; the most that may go
        while high - low > 1:
            bytes_per_site = max(now / (self.header.site_count - low), 1.0)
            middle = max(low + int((now - size) / bytes_per_site), low + 1)
            if middle >= high:
                middle = (low + high) // 2
            smaller = self.without(ranking[:middle], steps)
            header = replace(self.header, site_count=len(smaller))
            coded = coded_size(header, smaller, self.threads)
            if coded > size:
                low, now = middle, coded
            else:
                high = middle
        self.set_symbols(self.without(ranking[:high], steps))


def set_table(
    refiner: Refiner,
    table: NDArray[np.int32],
    quantizer: QuantizerParameters,
    steps: NDArray[np.float64],
) -> None:
    """Give a refiner sites, int32 [N, 6 + C], and their colour steps, float64 [N, C]."""
    refiner.set_sites(
        table,
        quantizer.step_position * STEP_UNIT,
        quantizer.step_log_tau * STEP_UNIT,
        quantizer.step_log_anisotropy * STEP_UNIT,
        quantizer.step_radius * STEP_UNIT,
        levels_for(quantizer),
        np.ascontiguousarray(steps, np.float32),
        np.ascontiguousarray(color_axes(quantizer.channels), np.float32),
    )


def start_refiner(
    backend: Backend,
    target: Floats,
    params: Floats,
    header: Header,
    weights: Floats | None = None,
) -> Refinement:
    """Round a fitted diagram and solve its colours by least squares.

    Parameters
    ----------
    backend : Backend
    target : float32 [H, W, C], display-referred 0..1
    params : float32 [N, 6 + C]
    header : Header
        With the quantizer to use.
    weights : float32 [H, W], >= 0 with mean 1, optional
        Of the pixels' squared errors; 1 by default.

    Returns
    -------
    Refinement
        Not yet descended.
    """
    threads = backend.threads
    symbols = quantize(Sites(params), header.width, header.height, header.quantizer, threads)
    refinement = Refinement(backend.refiner(target, header.k, weights), header, threads)
    refinement.set_symbols(symbols)
    refinement.refiner.solve_colors(12)
    refinement.rebuild()
    return refinement
