"""What every backend offers after rounding: a descent over the symbols of a diagram."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Refiner"]


class Refiner(Protocol):
    """Integer coordinate descent: a target image and a quantized diagram that is changed to fit it.

    Every symbol of every site is tried one up and one down, against the exact squared error of the
    pixels that the site can reach; colours jump to their best symbol at once. The error is that of
    the blend *clamped* to 0..1, summed over pixels and channels. Each pixel keeps the 12 sites of
    largest logit (`sadcodec.backends.quantization.LIST_LENGTH`); a site that is moved is not looked
    for in other pixels until `build_lists` is called again. Where the refiner has weights, every
    squared error here is multiplied by its pixel's weight. Calls are made from one thread.

    A table of symbols is int32 [N, 6 + C]: x, y, log_tau, log_anisotropy, angle, radius (0 without
    that column), colour axes. Until `set_sites` is called, every other member raises OptionError.
    """

    def set_sites(
        self,
        symbols: NDArray[np.int32],
        position: float,
        log_tau: float,
        anisotropy: float,
        radius: float,
        angle_levels: NDArray[np.int32],
        color_steps: NDArray[np.float32],
        axes: NDArray[np.float32],
    ) -> None:
        """Start from these symbols; costs and lists of other sites are forgotten.

        Parameters
        ----------
        symbols : int32 [N, 6 + C]
            Copied.
        position, log_tau, anisotropy, radius : float
            Steps: px, ln(1/px), of the log anisotropy, px; radius 0 means no radius column.
        angle_levels : int32 [L]
            Directions of each log_anisotropy symbol 0..L - 1; there are no larger symbols.
        color_steps : float32 [N, C]
            Of each site on each colour axis.
        axes : float32 [C, C]
            Row j is colour axis j in image channels; the rows are orthonormal.

        Raises
        ------
        OptionError
            If the shapes do not fit together, or a value is out of range; see
            `sadcodec.backends.quantization.Quantization`.
        """

    def set_cost(
        self,
        column: int,
        prediction: NDArray[np.int32],
        klass: NDArray[np.uint8],
        table: NDArray[np.float32],
    ) -> None:
        """Say what the symbols of one column cost: table[klass[i], symbol_i - prediction[i] + R].

        Parameters
        ----------
        column : int, 2..5 + C
            Of the symbol table. Columns start without a cost, and the two of the position have
            none.
        prediction : int32 [N]
        klass : uint8 [N]
            A row of the table for each site.
        table : float32 [classes, 2 R + 1], bits
            Of the differences -R..R; larger ones cost as much as these. R = 0: no cost.

        Raises
        ------
        OptionError
            If the column has no cost, or the shapes do not fit together.
        """

    def set_color_steps(self, steps: NDArray[np.float32]) -> None:
        """Replace the colour steps by float32 [N, C]; colour symbols are rounded to the new ones.

        Raises
        ------
        OptionError
            If the shape differs from the present steps', or a step is not positive.
        """

    @property
    def symbols(self) -> NDArray[np.int32]:
        """int32 [N, 6 + C]: a copy of the current symbols."""

    @property
    def params(self) -> NDArray[np.float32]:
        """float32 [N, 6 + C]: the parameters that they stand for."""

    def build_lists(self) -> float:
        """Find each pixel's 12 best sites for the current symbols.

        The other methods that need lists build them when there are none for these sites.

        Returns
        -------
        float
            Squared error of the picture, clamped to 0..1, summed over pixels and channels.
        """

    def solve_colors(self, iterations: int) -> None:
        """Set all colours to the least-squares optimum for this geometry, rounded to symbols.

        The optimum is of the blend before clamping, with a ridge of 1e-4 towards the present
        colours (which decides the colours that no pixel shows), and each channel is clamped to
        -1..2 before it is rounded. Rounding can raise the error.

        Parameters
        ----------
        iterations : int >= 0
            At most so many of a method that approaches the optimum step by step. A backend that
            solves directly does so for any number but 0.
        """

    def sweep(self, lambda_: float, geometry: bool) -> int:
        """Visit every site once, and take the moves that lower error + lambda_ * bits.

        Sites that share a pixel's list are never moved at once, and the order is the same at every
        run. On the CPU and in the reference sites are visited by squares of 128 px in four
        interleaved groups (even and odd rows and columns of squares), by index within a square,
        then those with a pixel more than 64 px outside their square; on a GPU by classes of sites
        that share none. For each site: log_tau, log_anisotropy (the angle goes with it), angle, x,
        y, radius, up by one, then down if that was no better; then each colour axis to its
        least-squares symbol. A move is taken if it lowers the site's cost by more than 1e-6 of it.
        The error of these lists falls with every move; that of the picture does too but for sites
        that the lists leave out, which count where a pixel has more than 12 near it.

        Parameters
        ----------
        lambda_ : float >= 0
            Squared error per bit of `set_cost`.
        geometry : bool
            Whether to move anything beside colours.

        Returns
        -------
        int
            How many moves were taken.
        """

    def removal_deltas(self) -> NDArray[np.float64]:
        """Return by how much the squared error would rise without each site.

        Returns
        -------
        float64 [N]
            For the lists as they are, pixels going to their other sites, the K + 1st included.
            Negative where the site does harm; 0 for a site in no pixel's list. The only site leaves
            an error of 1 in every pixel and channel.
        """
