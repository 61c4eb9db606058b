"""The picture that sites stand for: drawn, sampled, differentiated; views of its sites."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sadcodec import views
from sadcodec.backends import at_points, sample
from sadcodec.backends.base import MAX_WORK, Backend
from sadcodec.decoding import MAX_PIXELS
from sadcodec.errors import LimitError
from sadcodec.frame import Frame, frame_of
from sadcodec.site_view import marks
from sadcodec.sites import Sites

__all__ = ["Framing", "SitePicture"]


class Framing(TypedDict, total=False):
    """Which part of a picture to draw, and at what size: see `sadcodec.decode`."""

    region: tuple[int, int, int, int] | None
    scale: float | None
    size: tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class SitePicture:
    """Sites and a backend that draws them.

    Attributes
    ----------
    sites : Sites
    width, height : int, px
    k : int
        Sites that a pixel blends.
    bit_depth : int
        8 or 16.
    backend : Backend
    max_pixels, max_work : int
        What may be drawn, as for `sadcodec.decode`; of sites that come from no file, `max_work`
        is 0, without a limit.

    Methods that draw take what `sadcodec.decode` does: a `region` of the picture, and a `scale` or
    `size` to draw it at. They raise OptionError for arguments out of range, and LimitError for more
    than `max_pixels`.
    """

    sites: Sites
    width: int
    height: int
    k: int
    bit_depth: int
    backend: Backend
    max_pixels: int = MAX_PIXELS
    max_work: int = MAX_WORK

    def check_pixels(self) -> None:
        """Raise LimitError if the picture has more than `max_pixels`."""
        if self.width * self.height > self.max_pixels:
            raise LimitError(
                f"{self.width} x {self.height} pixels are more than the limit, {self.max_pixels}"
            )

    def render(self) -> NDArray[np.float32]:
        """Return the picture as the function of the sites that it is, not clamped to 0..1.

        Returns
        -------
        float32 [H, W, C]
            Within 1/255 of the float64 definition.

        Raises
        ------
        LimitError
            If it has more than `max_pixels`, or takes more than `max_work`.
        """
        self.check_pixels()
        drawn = self.backend.render(
            self.sites, self.width, self.height, self.k, max_work=self.max_work
        )
        return np.asarray(drawn, np.float32)

    def gradient(self, dl_dpicture: NDArray[Any]) -> NDArray[np.float32]:
        """Return the derivatives of a loss of the picture with respect to every parameter.

        Parameters
        ----------
        dl_dpicture : float [H, W, C]
            Derivatives of the loss with respect to what `render` returns.

        Returns
        -------
        float32 [N, 6 + C]
            In the columns of `Sites.params`. Which sites are a pixel's top K is taken as constant.

        Raises
        ------
        OptionError
            If the shape is another.
        LimitError
            If `render` refuses the picture.
        """
        self.check_pixels()
        if self.max_work > 0:  # of a file: lists would take memory before anything is refused
            self.render()
        session = self.backend.differentiable(self.width, self.height, self.sites.channels, self.k)
        session.forward(self.sites.params)
        return session.backward(dl_dpicture)

    def frame(self, **framing: Unpack[Framing]) -> Frame:
        """Return the part and size of the picture that these arguments ask for, checked."""
        frame = frame_of(self.width, self.height, **framing)
        frame.check(self.max_pixels)
        return frame

    def picture(self, **framing: Unpack[Framing]) -> NDArray[Any]:
        """Return what the file decodes to: uint8 or uint16 [H, W, C], as `sadcodec.decode`."""
        frame = self.frame(**framing)
        return frame.draw(self.backend, self.sites, self.k, self.bit_depth, self.max_work)

    def sample(self, points: ArrayLike) -> NDArray[np.float64]:
        """Return the colours at any points of the plane.

        Parameters
        ----------
        points : float [M, 2], px
            x and y; pixel (row j, column i) has its centre at (i + 0.5, j + 0.5). Points outside of
            the picture have the colours that its sites give them.

        Returns
        -------
        float64 [M, C]
            By the definition of the picture (`sadcodec.backends.reference`), whatever the backend;
            display-referred, not clamped to 0..1. Memory is in proportion to N + M.

        Raises
        ------
        OptionError
            If the points have another shape or are not finite.
        """
        return sample(self.sites, points, self.k)

    def sample_gradient(
        self, points: ArrayLike, dl_dcolor: NDArray[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the derivatives of a loss of the colours at points.

        Parameters
        ----------
        points : float [M, 2], px
            As of `sample`.
        dl_dcolor : float [M, C]
            Derivatives of the loss with respect to what `sample` returns.

        Returns
        -------
        dl_dparams : float64 [N, 6 + C]
        dl_dpoints : float64 [M, 2]
            With respect to the points' coordinates.

        Raises
        ------
        OptionError
            If a shape is another, or points are not finite.
        LimitError
            If too many of the sites matter at a point.
        """
        return at_points(self.sites, points, self.k, self.backend.threads).backward(dl_dcolor)

    def cells(
        self, *, fill: str = "color", borders: bool = True, **framing: Unpack[Framing]
    ) -> NDArray[np.uint8]:
        """Return the partition, uint8 [H, W, 3]: see `sadcodec.views.cells`."""
        width, height, window, place = self.frame(**framing).raster
        look: dict[str, Any] = {"fill": fill, "borders": borders, "max_work": self.max_work}
        return views.cells(
            self.backend, self.sites, width, height, window=window, place=place, **look
        )

    def tau(
        self, limits: tuple[float, float] | None = None, **framing: Unpack[Framing]
    ) -> tuple[NDArray[np.uint8], tuple[float, float]]:
        """Return the inverse temperature, uint8 [H, W, 3], and its range: `sadcodec.views.tau`."""
        width, height, window, place = self.frame(**framing).raster
        place_of: dict[str, Any] = {"window": window, "place": place, "max_work": self.max_work}
        return views.tau(self.backend, self.sites, width, height, self.k, limits=limits, **place_of)

    def marks(self, **framing: Unpack[Framing]) -> NDArray[np.uint8]:
        """Return the picture with its sites, uint8 [H, W, 3]: see `sadcodec.site_view.marks`."""
        frame = self.frame(**framing)
        picture = views.rgb(self.picture(**framing))
        return marks(picture, self.sites, frame.region)
