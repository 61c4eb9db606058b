"""What --effort means: how long each stage of an encode works."""

from __future__ import annotations

from dataclasses import dataclass

from sadcodec.errors import OptionError

__all__ = ["DEFAULT_EFFORT", "Effort", "effort_for"]

DEFAULT_EFFORT = 5


@dataclass(frozen=True)
class Effort:
    """Work of one encode.

    Attributes
    ----------
    iterations : int
        Of the fit.
    tune_iterations : int
        Of fine-tuning under noise.
    sweeps : int
        Of the integer descent.
    dense_start : float
        Sites that the fit starts from, as a multiple of those it ends with.
    density_interval : int
        Iterations between the pruning steps of the fit.
    """

    iterations: int
    tune_iterations: int
    sweeps: int
    dense_start: float
    density_interval: int = 20


_EFFORTS = {
    1: Effort(52, 16, 1, 2.0, 13),
    2: Effort(100, 40, 1, 2.0),
    3: Effort(150, 60, 2, 2.5),
    4: Effort(250, 100, 3, 3.0),
    5: Effort(440, 160, 4, 3.0),
    6: Effort(700, 280, 5, 3.0),
    7: Effort(1000, 400, 5, 4.0),
    8: Effort(1600, 600, 6, 4.0),
    9: Effort(2500, 1000, 8, 4.0),
}


def effort_for(level: int) -> Effort:
    """Return the work of an effort level, 1 (fastest) to 9 (smallest files).

    Raises
    ------
    OptionError
        If there is no such level.
    """
    if level not in _EFFORTS:
        raise OptionError(f"effort must be 1..9, not {level}")
    return _EFFORTS[level]
