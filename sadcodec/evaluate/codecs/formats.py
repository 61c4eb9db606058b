"""Files of other codecs, written and read through Pillow, each with the settings it is compared at.

Every codec runs in one thread: with more, AVIF's bytes depend on how many there are, and seconds
could not be compared.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sadcodec.errors import BackendError, InputError
from sadcodec.quiet import without_warnings

__all__ = ["FORMATS", "Format", "Setting"]

Image = NDArray[Any]  # uint8 or uint16 [H, W] or [H, W, C]
Modes = dict[tuple[int, int], str]  # Pillow's, by bit depth and channels

_DEPTHS = {np.dtype(np.uint8): 8, np.dtype(np.uint16): 16}
_MODES: Modes = {(8, 1): "L", (8, 2): "LA", (8, 3): "RGB", (8, 4): "RGBA", (16, 1): "I;16"}
_CONTENTS = {1: "gray", 2: "gray and alpha", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class Setting:
    """One way to write a file.

    Attributes
    ----------
    text : str
        In the codec's own terms: ``quality 75, 4:2:0``; no two settings of a format have the same.
    options : dict
        What Pillow's `save` is given.
    """

    text: str
    options: dict[str, Any] = field(compare=False)


class Format:
    """A file format and how it is written.

    Attributes
    ----------
    name, title, extension : str
        ``jpeg``, ``JPEG``, ``.jpg``.
    feature, library : str
        What `PIL.features` calls its library, and the library's name.
    modes : dict of (bit depth, channels) -> str
        The Pillow mode that is written; images of other kinds are refused.
    steps : int
        Settings that a target is looked for among, 0 the smallest file, per variant.
    """

    name = title = extension = pillow = feature = ""
    library = ""
    modes: ClassVar[Modes] = {}
    steps = 0

    def check(self) -> None:
        """Raise BackendError if this installation cannot write it."""
        from PIL import features

        with without_warnings():  # of features that an older Pillow does not know
            present = features.check(self.feature)
        if not present:
            hint = "pip install --upgrade 'sadcodec[peers]'"
            raise BackendError(f"this Pillow is built without {self.title}: {hint}")

    def version(self) -> str:
        """Versions of Pillow and the library below it."""
        import PIL
        from PIL import features

        library = features.version(self.feature) or "of unknown version"
        return f"Pillow {PIL.__version__}, {self.library} {library}"

    def variants(self, channels: int) -> tuple[str, ...]:  # noqa: ARG002
        """Kinds of file that a target is met with the better of: chroma subsamplings."""
        return ("",)

    def setting(self, step: int, variant: str) -> Setting:
        """Return the setting number `step` of 0..steps - 1."""
        raise NotImplementedError

    def at_quality(self, quality: float, variant: str) -> Setting:
        """Return the setting of a quality 0..100 on the codec's own scale."""
        raise NotImplementedError

    def mode_of(self, image: Image) -> str:
        """Return the Pillow mode that an image is written in.

        Raises
        ------
        InputError
            If the format, or Pillow, has none for it.
        """
        depth, channels = _DEPTHS[image.dtype], 1 if image.ndim == 2 else image.shape[2]
        if (depth, channels) not in self.modes:
            kind = f"{depth}-bit {_CONTENTS[channels]}"
            raise InputError(f"{self.title} cannot be written from {kind} here")
        return self.modes[depth, channels]

    def encode(self, image: Image, setting: Setting) -> tuple[bytes, float]:
        """Return a file and the seconds of Pillow's `save`.

        Raises
        ------
        InputError
            If the image is of a kind or size that the codec does not take.
        """
        from PIL import Image as PillowImage

        mode = self.mode_of(image)
        picture = PillowImage.fromarray(image[:, :, 0] if image.shape[2:] == (1,) else image)
        picture = picture if picture.mode == mode else picture.convert(mode)
        buffer = io.BytesIO()
        with self._translated():
            start = time.perf_counter()
            picture.save(buffer, self.pillow, **setting.options)
            seconds = time.perf_counter() - start
        return buffer.getvalue(), seconds

    def decode(self, data: bytes, image: Image) -> tuple[Image, float]:
        """Return the pixels of a file, in shape and type of `image`, and the seconds it took."""
        from PIL import Image as PillowImage

        wanted = _MODES[_DEPTHS[image.dtype], 1 if image.ndim == 2 else image.shape[2]]
        with self._translated(), self._one_thread():
            start = time.perf_counter()
            with PillowImage.open(io.BytesIO(data)) as picture:
                picture.load()
                shown = picture if picture.mode == wanted else picture.convert(wanted)
                pixels = np.asarray(shown)
            seconds = time.perf_counter() - start
        return pixels.astype(image.dtype, copy=False).reshape(image.shape), seconds

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with without_warnings("PIL"):  # of large images
                yield
        except MemoryError:
            raise
        except Exception as error:  # Pillow's plugins raise about anything
            cause = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"{self.title}: {cause}") from error

    def _thread_count(self) -> tuple[ModuleType, str, int] | None:
        """Return the variable that a plugin takes its decoder's threads from, and the value for 1.

        Pillow and the plugins made for it have no other way to say it.
        """
        return None

    @contextlib.contextmanager
    def _one_thread(self) -> Iterator[None]:
        variable = self._thread_count()
        if variable is None:
            yield
            return
        module, name, one = variable
        before = getattr(module, name)
        setattr(module, name, one)
        try:
            yield
        finally:
            setattr(module, name, before)


def _gray_as_rgb(mode: str) -> str:
    return {"L": "RGB", "LA": "RGBA"}.get(mode, mode)


_EIGHT_BIT = {key: mode for key, mode in _MODES.items() if key[0] == 8}
_NO_GRAY = {key: _gray_as_rgb(mode) for key, mode in _EIGHT_BIT.items()}


def _subsampled(quality: float, variant: str) -> str:
    return f"quality {quality:g}" + (f", {variant}" if variant else "")


class _Jpeg(Format):
    """Progressive, with optimized Huffman tables, 4:2:0 or 4:4:4; qualities 1..100."""

    name, title, extension, pillow, feature = "jpeg", "JPEG", ".jpg", "JPEG", "libjpeg_turbo"
    library = "libjpeg-turbo"
    modes: ClassVar[Modes] = {(8, 1): "L", (8, 3): "RGB"}
    steps = 100

    def check(self) -> None:
        """Every Pillow writes JPEG."""

    def variants(self, channels: int) -> tuple[str, ...]:
        return ("",) if channels == 1 else ("4:2:0", "4:4:4")

    def setting(self, step: int, variant: str) -> Setting:
        return self.at_quality(step + 1, variant)

    def at_quality(self, quality: float, variant: str) -> Setting:
        quality = max(round(quality), 1)  # 0 is the same as 1
        options: dict[str, Any] = {"quality": quality, "optimize": True, "progressive": True}
        if variant:
            options["subsampling"] = variant
        return Setting(_subsampled(quality, variant), options)


class _WebP(Format):
    """Lossy, method 4; qualities 0..100 in steps of 1/16. Gray is written as RGB."""

    name, title, extension, pillow, feature = "webp", "WebP", ".webp", "WEBP", "webp"
    library = "libwebp"
    modes = _NO_GRAY
    steps = 100 * 16 + 1

    def setting(self, step: int, variant: str) -> Setting:
        return self.at_quality(step / 16, variant)

    def at_quality(self, quality: float, variant: str) -> Setting:
        options = {"quality": quality, "method": 4}
        return Setting(_subsampled(quality, variant), options)


class _Avif(Format):
    """AOM at speed 6, 4:2:0 or 4:4:4; integer qualities 0..100."""

    name, title, extension, pillow, feature = "avif", "AVIF", ".avif", "AVIF", "avif"
    library = "libavif"
    modes = _EIGHT_BIT | {(8, 2): "RGBA"}
    steps = 101

    def variants(self, channels: int) -> tuple[str, ...]:
        return ("4:2:0", "4:4:4") if channels >= 3 else ("4:0:0" if channels == 1 else "4:2:0",)

    def setting(self, step: int, variant: str) -> Setting:
        return self.at_quality(step, variant)

    def at_quality(self, quality: float, variant: str) -> Setting:
        quality = round(quality)
        options = {"quality": quality, "speed": 6, "subsampling": variant, "max_threads": 1}
        return Setting(_subsampled(quality, variant), options)

    def _thread_count(self) -> tuple[ModuleType, str, int] | None:
        from PIL import AvifImagePlugin

        return AvifImagePlugin, "DEFAULT_MAX_THREADS", 1


class _JpegXl(Format):
    """Lossy, effort 7; qualities 0..99.9 in steps of 1/32. 100 is lossless, as for ``cjxl``."""

    name, title, extension, pillow = "jxl", "JPEG XL", ".jxl", "JXL"
    modes = _MODES
    steps = 3197

    def check(self) -> None:
        """Raise BackendError without the plugin; registers it with Pillow."""
        try:
            import pillow_jxl  # noqa: F401
        except ImportError as error:
            hint = "pip install 'sadcodec[peers]'"
            raise BackendError(f"JPEG XL needs pillow-jxl-plugin: {hint}") from error

    def version(self) -> str:
        from importlib import metadata

        return f"pillow-jxl-plugin {metadata.version('pillow-jxl-plugin')}"

    def setting(self, step: int, variant: str) -> Setting:
        return self.at_quality(step / 32, variant)

    def at_quality(self, quality: float, variant: str) -> Setting:
        options = {"quality": quality, "effort": 7, "num_threads": 0}
        if quality == 100:
            options["lossless"] = True
        return Setting(_subsampled(quality, variant), options)

    def _thread_count(self) -> tuple[ModuleType, str, int] | None:
        from pillow_jxl import JpegXLImagePlugin

        return JpegXLImagePlugin, "DECODE_THREADS", 0


class _Jpeg2000(Format):
    """Irreversible 9/7 wavelet and colour transform, one quality layer.

    Targets are met by OpenJPEG's compression ratio, in steps of 0.1 % from 8000:1 to 1:1. It has no
    quality scale: a quality is its "fixed quality", the PSNR in dB that it estimates for the file.
    """

    name, title, extension, pillow, feature = "jp2", "JPEG 2000", ".jp2", "JPEG2000", "jpg_2000"
    library = "OpenJPEG"
    modes = _MODES
    steps = 9000

    def setting(self, step: int, variant: str) -> Setting:  # noqa: ARG002
        return self._layer("rates", 1.001 ** (self.steps - 1 - step), "ratio {:.5g}:1")

    def at_quality(self, quality: float, variant: str) -> Setting:  # noqa: ARG002
        # 0 would be a layer without a limit.
        return self._layer("dB", max(quality, 1.0), "fixed quality {:g} dB")

    def _layer(self, mode: str, value: float, text: str) -> Setting:
        options = {"quality_mode": mode, "quality_layers": [value], "irreversible": True, "mct": 1}
        return Setting(text.format(value), options)


FORMATS: dict[str, Format] = {
    made.name: made for made in (_Jpeg(), _WebP(), _Avif(), _JpegXl(), _Jpeg2000())
}
