"""The picture and its derivatives on a CUDA device, of arrays that are there or on the host.

Nothing waits for the device but what returns arrays of the host. Memory in bytes: 8 C for a pixel,
8 (6 + C) + 96 for a site, and `ENTRY_BYTES` + 4 (6 + C) for an entry of a tile's list.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec.backends.cuda_fit_kernels import GRADIENT_SITES, LOSS_SLOTS, PREPARE_SITES
from sadcodec.backends.cuda_lists import SiteEntries, TileLists
from sadcodec.backends.cuda_render import PREPARE_EXACT, RENDER_TILES
from sadcodec.backends.differentiable import (
    DIFFERENTIABLE_CUT,
    check_shape,
    checked_picture,
    checked_sites,
)
from sadcodec.backends.launch import Array, Kernel, Launcher, Scalar
from sadcodec.backends.place import PLAIN
from sadcodec.errors import OptionError

__all__ = ["CudaPasses"]

Floats = NDArray[np.float32]

PULL_BACK_TILES = Kernel(
    "gradient.cu",
    "pull_back_tiles",
    (
        Array("sites", np.float32, "N", 16),
        Array("offsets", np.int32, "ends"),
        Array("ids", np.int32, "capacity"),
        Array("cotangent", np.float32, "H", "W", "C"),
        Array("rows", np.float32, "capacity", "P", out=True),
        Scalar("tiles", np.int32),
        Scalar("tiles_x", np.int32),
        Scalar("width", np.int32),
        Scalar("height", np.int32),
        Scalar("cut", np.float32),
    ),
    64,
    ("SAD_K", "SAD_CHANNELS"),
)
_SITES_PER_BLOCK = 16  # of gradient_sites


class CudaPasses:
    """`sadcodec.backends.base.Passes` on a CUDA device, by exact lists.

    Parameters
    ----------
    launcher : Launcher
        Compiled for the K and the channels of the diagrams.
    width, height : int, px
    """

    def __init__(self, launcher: Launcher, width: int, height: int) -> None:
        self._launcher = launcher
        self._shape = (height, width, launcher.defines["SAD_CHANNELS"])
        check_shape(self._shape)
        self._params: Any = None  # of the last forward pass

    def draw(self, params: Any) -> Any:
        """Return the picture of parameters on the device, float32 [H, W, C] there.

        They are float32 [N, 6 + C], contiguous and finite, which nothing checks; the backward pass
        reads them again. To be called with the device current.
        """
        cp, launch = self._launcher.cp, self._launcher.launch
        height, width, _ = self._shape
        count = len(params)
        sites, exact = cp.empty((count, 16), np.float32), cp.empty((count, 4), np.float64)
        blocks = PREPARE_SITES.blocks(count)
        launch(PREPARE_SITES, blocks, {"params": params, "sites": sites, "count": count})
        launch(PREPARE_EXACT, blocks, {"params": params, "exact": exact, "count": count})
        lists = TileLists(self._launcher, (0, 0, width, height))
        lists.build(sites, self._launcher.defines["SAD_K"], DIFFERENTIABLE_CUT)
        self._params, self._sites, self._lists = params, sites, lists
        picture = cp.empty(self._shape, np.float32)
        arguments = {
            **self._tiles(),
            "ends": 1,
            "params": params,
            "exact_sites": exact,
            "out": picture.reshape(-1).view(np.uint8),
            "bits": 0,
            "x0": 0,
            "y0": 0,
            "place_x": PLAIN.x,
            "place_y": PLAIN.y,
            "step_x": PLAIN.step_x,
            "step_y": PLAIN.step_y,
            "blur": 0.0,
            "cut": DIFFERENTIABLE_CUT,
            "all_exact": False,
        }
        launch(RENDER_TILES, lists.tiles, arguments)
        return picture

    def _tiles(self) -> dict[str, Any]:
        height, width, _ = self._shape
        return {
            "sites": self._sites,
            "offsets": self._lists.offsets,
            "ids": self._lists.ids,
            "tiles_x": self._lists.tiles_x,
            "width": width,
            "height": height,
        }

    def pull_back(self, cotangent: Any) -> Any:
        """Return the derivatives, float32 [N, 6 + C] on the device, as `draw` takes parameters.

        `cotangent` is float32 [H, W, C] there, contiguous.
        """
        cp, launch, lists = self._launcher.cp, self._launcher.launch, self._lists
        count, columns = self._params.shape
        rows = cp.empty((len(lists.ids), columns), np.float32)
        arguments = {
            **self._tiles(),
            "cotangent": cotangent,
            "rows": rows,
            "tiles": lists.tiles,
            "cut": DIFFERENTIABLE_CUT,
        }
        launch(PULL_BACK_TILES, lists.tiles, arguments)
        entries = SiteEntries(self._launcher, lists.ids, count)
        gradients = cp.empty((count, columns), np.float32)
        sums = {
            "params": self._params,
            "rows": rows,
            "starts": entries.starts,
            "order": entries.order,
            "gradients": gradients,
            "losses": cp.zeros(LOSS_SLOTS, np.uint64),
            "count": count,
            "next": 0,
        }
        launch(GRADIENT_SITES, -(-count // _SITES_PER_BLOCK), sums)
        return gradients

    def forward(self, params: Floats, *, keep_lists: bool = False) -> Floats:
        """Return the picture of a diagram on the host: see `DifferentiableSession.forward`.

        The lists are always made anew.
        """
        del keep_lists
        sites = checked_sites(params, self._shape[2])
        with self._launcher.on_device():
            picture: Floats = self.draw(self._launcher.cp.asarray(sites.params)).get()
        return picture

    def backward(self, dl_dpicture: NDArray[Any]) -> Floats:
        """Return the derivatives on the host: see `DifferentiableSession.backward`."""
        if self._params is None:
            raise OptionError("a backward pass needs a forward pass before it")
        cotangent = checked_picture(dl_dpicture, self._shape)
        with self._launcher.on_device():
            gradients: Floats = self.pull_back(self._launcher.cp.asarray(cotangent)).get()
        return gradients
