"""Share sites out to layers, so that the first layers of a file are a rough picture.

Backwards: sites are removed from the whole diagram in rounds, each time those whose removal raises
the squared error least, with the errors of what is left computed anew. Neighbours do not go in the
same round: each is reckoned with the other there.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sadcodec.bitstream import MAX_GROUPED, Header, Symbols, encode_payload
from sadcodec.errors import OptionError
from sadcodec.quantize import to_table
from sadcodec.refine import Refinement, rounded_anew, set_table

__all__ = ["MAX_LAYERS", "arrange", "by_importance", "dealt", "layer_ends", "layers_for"]

MAX_LAYERS = 16
_SHARE = 0.4  # of the sites of so many layers, those without the last of them
_REMOVED = 0.15  # of the sites that are left, in a round
_NEIGHBOURS = 4  # in stored order, of which one site goes in a round


def layers_for(progressive: int | None, groups: int | None = None) -> int:
    """Return the layers that are asked for, 1 by default.

    Raises
    ------
    OptionError
        If progressive is not 2..MAX_LAYERS, or with `groups` in each layer there are too many.
    """
    if progressive is None:
        return 1
    if not 2 <= progressive <= MAX_LAYERS or progressive != int(progressive):
        raise OptionError(f"progressive must be 2..{MAX_LAYERS} layers, not {progressive}")
    if progressive * (groups or 1) > MAX_GROUPED:
        raise OptionError(f"{progressive} layers of {groups} groups: {MAX_GROUPED} groups at most")
    return int(progressive)


def layer_ends(sites: int, layers: int) -> list[int]:
    """Return how many sites the first 1, 2, ... layers have: each time 2.5 times as many.

    There are fewer layers where sites are too few for so many.
    """
    ends = [sites]
    while len(ends) < layers and ends[0] > 1:
        ends.insert(0, max(int(_SHARE * ends[0]), 1))
    return ends


def dealt(
    header: Header, symbols: Symbols, steps: NDArray[np.float64], layers: int, threads: int
) -> Symbols:
    """Return the sites in as many layers at random: their bytes are about those of `arrange`.

    The colours are multiples of `steps`, float64 [N, C], and are rounded to those of the layers.
    """
    ends = layer_ends(len(symbols), layers)
    if len(ends) == 1:
        return symbols
    order = np.random.default_rng(0).permutation(len(symbols))
    return rounded_anew(header, replace(symbols, layer=_layer_of(order, ends)), steps, threads)


def arrange(refinement: Refinement, layers: int) -> None:
    """Share the sites out to layers; their colours are rounded to the steps that these give."""
    symbols = refinement.symbols
    ends = layer_ends(len(symbols), layers)
    if len(ends) == 1:
        return
    order = by_importance(refinement, symbols, ends)
    layered = replace(symbols, layer=_layer_of(order, ends))
    steps = refinement.color_steps(symbols)
    refinement.set_symbols(rounded_anew(refinement.header, layered, steps, refinement.threads))


def _layer_of(order: NDArray[np.int64], ends: list[int]) -> NDArray[np.int32]:
    """Layers of the sites, of which `order` has the first ones first."""
    layer = np.empty(len(order), np.int32)
    layer[order] = np.searchsorted(ends, np.arange(len(order)), side="right")
    return layer


def by_importance(
    refinement: Refinement,
    symbols: Symbols,
    ends: list[int],
    removed: float = _REMOVED,
    neighbours: int = _NEIGHBOURS,
) -> NDArray[np.int64]:
    """Return the sites such that the first ones, up to each of `ends`, are those to keep.

    The refiner is left with some of them. Where one of several neighbours goes in a round, not all
    of `removed`, a share, may.
    """
    header, refiner = refinement.header, refinement.refiner
    steps = refinement.color_steps(symbols)
    table = to_table(symbols)
    alive = encode_payload(header, symbols, refinement.threads).order.astype(np.int64)
    gone = []
    for end in ends[-2::-1]:
        while len(alive) > end:
            set_table(refiner, table[alive], header.quantizer, steps[alive])
            ranking = np.argsort(refiner.removal_deltas(), kind="stable")
            _, first = np.unique(ranking // neighbours, return_index=True)
            count = min(max(int(removed * len(alive)), 1), len(alive) - end)
            going = ranking[np.sort(first)[:count]]
            gone.append(alive[going])
            alive = np.delete(alive, going)
    return np.concatenate([alive, *gone[::-1]])
