"""A diagram: sites with their picture, fitted, made, read, changed and saved."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sadcodec import bitstream
from sadcodec.backends import get_backend
from sadcodec.backends.base import DEFAULT_K, MAX_K, MAX_WORK
from sadcodec.decoding import ANY_SIZE, MAX_PIXELS, as_bytes, check_work
from sadcodec.editing import Index, edited, without
from sadcodec.errors import InputError, OptionError
from sadcodec.files import check_output, named, read_input, write_output
from sadcodec.frame import MAX_SIDE, frame_of
from sadcodec.pixels import check_image
from sadcodec.processors import default_threads
from sadcodec.quantize import dequantize
from sadcodec.site_picture import SitePicture
from sadcodec.sites import Sites

__all__ = ["Diagram", "open_diagram"]


@dataclass(frozen=True, eq=False)
class Diagram(SitePicture):
    """Sites, with the picture that they stand for and a backend to draw it. It does not change.

    `Diagram.fit`, `from_sites` and `load` make one, `edited` and `without` another from it, `save`
    writes it to a file (docs/GRADIENTS.md). What draws and differentiates it is in `SitePicture`.
    """

    @classmethod
    def fit(cls, image: NDArray[Any], *, k: int = DEFAULT_K, **options: Any) -> Diagram:
        """Fit a diagram to an image, before any rounding.

        Parameters
        ----------
        image : uint8 or uint16 [H, W] or [H, W, C], C = 1..4
        k : int, 1..16
            Sites that a pixel blends. `save` takes up to 11.
        options
            Of `sadcodec.encode`: one of `sites`, `bpp` and `size`, and `effort`, `seed`, `threads`,
            `backend`, `metric`, `mask`, `roi`, `topk`, `progress`. With `sites` they have radii;
            with `bpp` and `size` as many sites are fitted as a file of that size would hold, about.

        Returns
        -------
        Diagram
            On the backend that it was fitted on.

        Raises
        ------
        SadError
            For the reasons of `sadcodec.encode`.
        """
        from sadcodec.codec import fit_diagram

        job, sites = fit_diagram(image, k=k, **options)
        h = job.header
        return cls(sites, h.width, h.height, k, h.bit_depth, job.backend, max_work=0)

    @classmethod
    def from_sites(
        cls,
        sites: Sites | NDArray[np.float32],
        width: int,
        height: int,
        *,
        k: int = DEFAULT_K,
        bit_depth: int = 8,
        backend: str = "auto",
        threads: int | None = None,
    ) -> Diagram:
        """Make a diagram of sites at hand.

        Parameters
        ----------
        sites : Sites, or float32 [N, 6 + C]
            Copied.
        width, height : int, px
        k : int, 1..16
        bit_depth : int
            8 or 16: what `picture` returns and `save` writes.
        backend, threads
            As for `sadcodec.decode`.

        Raises
        ------
        SiteError
            If the sites are no such array.
        OptionError
            If another argument is out of range.
        BackendError
            If the backend is not available.
        """
        given = sites.params if isinstance(sites, Sites) else sites
        own = Sites(np.array(given, order="C"))
        if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
            raise OptionError(f"a picture cannot be {width} x {height} pixels")
        if not 1 <= k <= MAX_K:
            raise OptionError(f"K must be 1..{MAX_K}, not {k}")
        if bit_depth not in (8, 16):
            raise OptionError(f"bit_depth must be 8 or 16, not {bit_depth}")
        engine = get_backend("cpu" if backend == "auto" else backend, threads)
        return cls(own, width, height, k, bit_depth, engine, max_work=0)

    @classmethod
    def load(cls, source: str | os.PathLike[str] | bytes, **options: Any) -> Diagram:
        """Read a ``.sad`` file: its path, ``-`` for standard input, or its bytes.

        `options` are those of `open_diagram`, which says what is raised; InputError where the file
        cannot be read.
        """
        if not isinstance(source, str | os.PathLike):
            return open_diagram(source, **options)
        path = os.fspath(source)
        with named(path):
            return open_diagram(read_input(path), **options)

    def to_bytes(self, image: NDArray[Any] | None = None, **options: Any) -> bytes:
        """Code the sites as they are into a ``.sad`` file; nothing is fitted anew.

        They are rounded, their colours solved again by least squares, and the integer descent
        repairs what rounding broke.

        Parameters
        ----------
        image : uint8 or uint16 [H, W] or [H, W, C], optional
            What the file is to look like; what the diagram draws by default.
        options
            `scale`, `size`, `bpp`, `effort`, `coder`, `groups` and `progress` of
            `sadcodec.import_sites`.

        Raises
        ------
        OptionError
            If an option is out of range.
        InputError
            If the image has another size, channels or type.
        """
        from sadcodec.site_coding import code_sites

        self.check_pixels()
        if image is not None:
            image = self._checked_image(image)
        place = (self.width, self.height, self.k, self.bit_depth)
        return code_sites(self.backend, self.sites, *place, image=image, **options).data

    def save(
        self,
        target: str | os.PathLike[str] | IO[bytes],
        image: NDArray[Any] | None = None,
        *,
        force: bool = False,
        **options: Any,
    ) -> None:
        """Write a ``.sad`` file, whole or not at all: see `to_bytes`.

        Parameters
        ----------
        target : path, ``-`` for standard output, or binary file object
        image, options
            As of `to_bytes`.
        force : bool
            Replace a file that is there.

        Raises
        ------
        OutputError
            If the file exists already, or cannot be written.
        """
        path = os.fspath(target) if isinstance(target, str | os.PathLike) else None
        if path is None:
            target.write(self.to_bytes(image, **options))  # type: ignore[union-attr]
            return
        with named(path):
            check_output(path, force=force)
        data = self.to_bytes(image, **options)
        with named(path):
            write_output(path, data, force=force)

    def _checked_image(self, image: NDArray[Any]) -> NDArray[Any]:
        checked = check_image(image)
        wanted = (self.height, self.width, self.sites.channels)
        if checked.shape != wanted or checked.dtype.itemsize * 8 != self.bit_depth:
            raise InputError(
                f"the image is {checked.dtype} {list(checked.shape)}, the diagram draws"
                f" uint{self.bit_depth} {list(wanted)}"
            )
        return checked

    def edited(
        self,
        index: Index,
        *,
        position: ArrayLike | None = None,
        shift: ArrayLike | None = None,
        color: ArrayLike | None = None,
        log_tau: ArrayLike | None = None,
        radius: ArrayLike | None = None,
        anisotropy: ArrayLike | None = None,
    ) -> Diagram:
        """Return a diagram in which some sites are others.

        Parameters
        ----------
        index : int, slice, integers [M] or bool [N]
            Which sites.
        position : [M, 2] or [2], px
        shift : [M, 2] or [2], px
            Added to the position.
        color : [M, C] or [C], display-referred
        log_tau, radius : [M] or number
        anisotropy : [M, 2] or [2], (p, q)
            What is None stays.

        Raises
        ------
        OptionError
            If there is no such site, or a value has another shape.
        SiteError
            If a value is not finite.
        """
        changes = {"position": position, "color": color, "log_tau": log_tau}
        changes |= {"radius": radius, "anisotropy": anisotropy, "shift": shift}
        return replace(self, sites=edited(self.sites, index, changes))

    def without(self, index: Index) -> Diagram:
        """Return a diagram without some sites; `index` as of `edited`.

        Raises
        ------
        OptionError
            If there is no such site, or none would be left.
        """
        return replace(self, sites=without(self.sites, index))


def open_diagram(
    data: bytes,
    *,
    backend: str = "auto",
    threads: int | None = None,
    max_pixels: int | None = None,
    max_work: int | None = None,
    region: tuple[int, int, int, int] | None = None,
    layers: int | None = None,
) -> Diagram:
    """Read the sites of a ``.sad`` file; nothing is drawn yet.

    Parameters
    ----------
    data : bytes
        Or another object with the buffer interface.
    backend, threads
        As for `sadcodec.decode`.
    max_pixels : int, optional
        Largest width x height to draw; 2^28 by default. The picture may be larger.
    max_work, layers : int, optional
        As for `sadcodec.decode`.
    region : (x, y, width, height), px, optional
        Read the sites that matter there, where the file says which: nothing but this part of the
        picture can be drawn of them.

    Raises
    ------
    SadError
        For the reasons of `sadcodec.decode`.
    """
    check_work(max_work)
    engine = get_backend("cpu" if backend == "auto" else backend, threads)
    content, box = as_bytes(data), None
    if region is not None:
        header = bitstream.read_header(content, ANY_SIZE)
        box = frame_of(header.width, header.height, region).box
    workers = threads or default_threads()
    header, symbols = bitstream.read(content, ANY_SIZE, workers, box, layers)
    return Diagram(
        dequantize(symbols, header.width, header.height, header.quantizer),
        header.width,
        header.height,
        header.k,
        header.bit_depth,
        engine,
        MAX_PIXELS if max_pixels is None else max_pixels,
        MAX_WORK if max_work is None else max_work,
    )
