"""The Pillow plugin: ``PIL.Image.open`` and ``save`` of ``.sad`` files, and so imageio's.

Importing it registers it, as the plugins of Pillow do; ``import sadcodec`` sees to that
(`sadcodec.pillow_hook`). What it does with errors and limits is Pillow's custom
(https://pillow.readthedocs.io, "Writing your own image plugin"; docs/INTEGRATION.md).
"""

from __future__ import annotations

from typing import IO, Any

from PIL import Image, ImageFile

from sadcodec.errors import BitstreamError, OptionError, SadError

__all__ = ["SadImageFile"]

_FORMAT = "SAD"
_PREFIX = b"\x89SAD\r\n\x1a\n"  # bitstream.SIGNATURE, without loading that to look at other files
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_INFO = {b"iCCP": "icc_profile", b"eXIF": "exif", b"xMLP": "xmp"}
# Arguments of `sadcodec.encode` that ``save`` takes. Others are passed over, as all plugins do.
_ENCODE = (
    *("quality", "bpp", "size", "psnr", "sites", "metric", "effort", "seed", "threads", "backend"),
    *("coder", "groups", "progressive", "mask", "roi", "strict"),
)
# Modes that are saved as another one; those that are not here and not in _SAVED are refused.
_CONVERTED = {"1": "L", "RGBX": "RGB", "La": "LA", "RGBa": "RGBA", "PA": "RGBA"}
_SAVED = ("L", "LA", "RGB", "RGBA", "I;16", "I;16L", "I;16B")


class SadImageFile(ImageFile.ImageFile):
    """An opened ``.sad`` file.

    Size, mode and ``info`` come from what precedes the sites; they are read, and the picture is
    drawn, when Pillow loads it. 16 bits are kept for gray alone (``I;16``), Pillow having no mode
    for others: colours become 8 bits.
    """

    format = _FORMAT
    format_description = "Soft anisotropic diagram"

    def _open(self) -> None:
        from sadcodec.bitstream import Limits, read_front

        assert self.fp is not None  # noqa: S101 - for mypy; Pillow gives one
        # Pillow refuses too many pixels, by a limit of its own, as soon as the size is known.
        try:
            header, metadata = read_front(self.fp, Limits(max_pixels=1 << 62))
        except BitstreamError as error:
            raise SyntaxError(str(error)) from error
        except SadError as error:
            raise OSError(str(error)) from error
        deep_gray = header.bit_depth == 16 and header.channels == 1
        self._mode = "I;16" if deep_gray else _MODES[header.channels]
        self._size = header.width, header.height
        self.info |= {_INFO[name]: content for name, content in metadata.items()}
        self.tile = [("sad", (0, 0, *self.size), 0, (self.mode,))]  # type: ignore[list-item]

    def load_seek(self, pos: int) -> None:
        """Seek; that it is here tells ``ImageFile.Parser`` to wait for the whole file."""
        assert self.fp is not None  # noqa: S101
        self.fp.seek(pos)


class _Decoder(ImageFile.PyDecoder):
    _pulls_fd = True

    def decode(self, buffer: Any) -> tuple[int, int]:  # noqa: ARG002 - Pillow's signature
        """Draw the picture into the image."""
        import numpy as np

        from sadcodec.decoding import decode

        assert self.fd is not None  # noqa: S101
        _, _, width, height = self.state.extents()
        try:
            pixels = decode(
                self.fd.read(),
                max_pixels=width * height,  # as Pillow let pass
                repair=ImageFile.LOAD_TRUNCATED_IMAGES,
            )
        except SadError as error:
            raise OSError(str(error)) from error
        if pixels.dtype == np.uint16:
            if self.mode == "I;16":
                pixels = pixels.astype("<u2")
            else:
                pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
        self.set_as_raw(pixels.tobytes())
        return -1, 0


def _save(image: Image.Image, file: IO[bytes], name: str | bytes) -> None:  # noqa: ARG001
    """Encode: ``image.save("x.sad", bpp=0.5)``."""
    import numpy as np

    from sadcodec.codec import encode

    options = {key: value for key, value in image.encoderinfo.items() if key in _ENCODE}
    mode = _CONVERTED.get(image.mode, image.mode)
    if mode == "P":
        mode = "RGBA" if "transparency" in image.info else "RGB"
    if mode not in _SAVED:
        raise OSError(f"cannot write mode {mode} as {_FORMAT}")
    pixels = np.asarray(image.convert(mode) if mode != image.mode else image)
    depth = np.uint8 if pixels.dtype == np.uint8 else np.uint16  # without the byte order of I;16B
    try:
        pixels = pixels.astype(depth, copy=False)
        file.write(encode(pixels, metadata=_metadata(image), **options))
    except OptionError:
        raise  # a ValueError
    except SadError as error:
        raise OSError(str(error)) from error


def _metadata(image: Image.Image) -> dict[str, bytes]:
    """What is to be saved with it: the profile by default, Exif and XMP if asked for, as in PNG."""
    given = {"icc_profile": image.info.get("icc_profile"), **image.encoderinfo}
    if isinstance(given.get("exif"), Image.Exif):
        given["exif"] = given["exif"].tobytes()
    return {name: given[name] for name in _INFO.values() if given.get(name)}


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(_PREFIX)


Image.register_open(_FORMAT, SadImageFile, _accept)
Image.register_save(_FORMAT, _save)
Image.register_extension(_FORMAT, ".sad")
Image.register_mime(_FORMAT, "image/x-sad")
Image.register_decoder("sad", _Decoder)
