"""Where in the picture a run of the stored order lies."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["Box", "boxes_of_run", "key_of"]

Box = tuple[int, int, int, int]  # x0, y0, x1, y1: x0 <= x < x1, y0 <= y < y1

_WASTE = 1.25  # times their common area, up to which boxes are joined
_MOST_BOXES = 8  # of one run


def _axes(cells: tuple[int, int]) -> list[int]:
    """Axis of each bit of a key, 0 for x and 1 for y, the highest bit first."""
    left = [(cells[0] - 1).bit_length(), (cells[1] - 1).bit_length()]
    axes = []
    while any(left):
        axis = 0 if left[0] >= left[1] else 1
        left[axis] -= 1
        axes.append(axis)
    return axes


def key_of(x: int, y: int, cells: tuple[int, int]) -> int:
    """Key of a cell of a grid of `cells` (docs/FORMAT.md, section 7)."""
    left = [(cells[0] - 1).bit_length(), (cells[1] - 1).bit_length()]
    key = 0
    for axis in _axes(cells):
        left[axis] -= 1
        key = 2 * key + (((x, y)[axis] >> left[axis]) & 1)
    return key


def _blocks(first: int, last: int, bits: int) -> Iterator[tuple[int, int]]:
    """The largest nodes that cover the keys first..last: (lowest key, bits below the node)."""
    while first <= last:
        size = min((first & -first).bit_length() - 1 if first else bits, bits)
        while first + (1 << size) - 1 > last:
            size -= 1
        yield first, size
        first += 1 << size


def _cells_of(key: int, size: int, axes: list[int]) -> Box:
    """Cells of a node."""
    low, extent = [0, 0], [1, 1]
    for depth, axis in enumerate(axes):
        below = len(axes) - 1 - depth
        if below >= size:
            low[axis] = 2 * low[axis] + ((key >> below) & 1)
        else:
            low[axis] *= 2
            extent[axis] *= 2
    return low[0], low[1], low[0] + extent[0], low[1] + extent[1]


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _union(a: Box, b: Box) -> Box:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def boxes_of_run(
    low: int, high: int | None, width: int, height: int, step_position: int
) -> tuple[Box, ...]:
    """Boxes in px that hold all cells with the keys low..high of an image of width x height px.

    Parameters
    ----------
    low, high : int
        Inclusive; `high` None means to the last key.
    width, height : int, px
    step_position : int
        In 1/1024 px.

    Returns
    -------
    tuple of (x0, y0, x1, y1)
        Few boxes: those that lie together are joined where that covers little else.
    """
    cells = (-(-width * 1024 // step_position), -(-height * 1024 // step_position))
    axes = _axes(cells)
    last = (1 << len(axes)) - 1 if high is None else high
    boxes: list[Box] = []
    for key, size in _blocks(low, last, len(axes)):
        x0, y0, x1, y1 = _cells_of(key, size, axes)
        if x0 >= cells[0] or y0 >= cells[1]:
            continue
        box = (
            x0 * step_position // 1024,
            y0 * step_position // 1024,
            min(-(-x1 * step_position // 1024), width),
            min(-(-y1 * step_position // 1024), height),
        )
        boxes.append(box)
    waste = 1.0
    while waste == 1.0 or len(boxes) > _MOST_BOXES:
        waste *= _WASTE
        boxes = _joined(boxes, waste)
    return tuple(boxes)


def _joined(boxes: list[Box], waste: float) -> list[Box]:
    """Boxes that follow each other joined where that covers at most `waste` times their area."""
    out: list[Box] = []
    for box in boxes:
        last = box
        while out and _area(_union(out[-1], last)) <= waste * (_area(out[-1]) + _area(last)):
            last = _union(out.pop(), last)
        out.append(last)
    return out
