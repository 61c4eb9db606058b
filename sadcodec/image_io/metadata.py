"""ICC profile, Exif and XMP of image files: what is read, and what a format can hold.

Metadata is a dict of bytes by the names of `NAMES`: "icc_profile", "exif" (from its byte-order mark
on) and "xmp". Files hold these bytes as they are, but TIFF has the tags of Exif among its own: only
there are they taken apart and put together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sadcodec.image_io.exif import DIRECTORIES, ORIENTATION, is_sound
from sadcodec.quiet import without_warnings

if TYPE_CHECKING:
    from PIL.Image import Exif, Image

__all__ = ["NAMES", "holds", "of_picture", "pillow_options"]

NAMES = ("icc_profile", "exif", "xmp")

_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "TIFF")  # Pillow's names of those that are read
_PREFIX = b"Exif\0\0"  # of Exif in JPEG, and often in WebP

# A JPEG segment has 65533 bytes, beginning with a name; a profile may take 255 of them.
_MOST_IN_JPEG = {"exif": 65533 - 6, "xmp": 65533 - 29, "icc_profile": 255 * (65533 - 14)}

_XMP = 700
# Tags of Exif in a TIFF's own directory: description, make, model, orientation, time, artist,
# copyright. Others describe its pixels.
_OF_EXIF = (270, 271, 272, ORIENTATION, 306, 315, 33432, *DIRECTORIES)


def of_picture(picture: Image) -> dict[str, bytes]:
    """Return the metadata of a file that Pillow has loaded, in the order of `NAMES`."""
    if picture.format not in _FORMATS:
        return {}
    found: dict[Any, Any] = dict(picture.info)
    if picture.format == "TIFF":
        tags = _of_exif(picture.getexif())
        found["exif"] = tags.tobytes() if len(tags) else None
    kept = {name: found[name] for name in NAMES if isinstance(found.get(name), bytes)}
    if "exif" in kept:
        kept["exif"] = kept["exif"].removeprefix(_PREFIX)
    return {name: content for name, content in kept.items() if content}


def holds(kind: str, channels: int, metadata: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return what of the metadata an image file can hold.

    Parameters
    ----------
    kind : str
        One of `sadcodec.image_io.FORMATS`.
    channels : int, 1..4
    metadata : mapping
        Of bytes, by the names of `NAMES`.
    """
    kept = dict(metadata) if kind in ("png", "jpeg", "tiff", "webp") else {}
    if kind == "jpeg":
        kept = {name: each for name, each in kept.items() if len(each) <= _MOST_IN_JPEG[name]}
    if kind == "tiff" and "exif" in kept and _parsed(kept["exif"]) is None:
        del kept["exif"]
    if kind == "webp" and channels < 3 and kept.get("icc_profile", b"")[16:20] == b"GRAY":
        del kept["icc_profile"]  # there is no gray WebP, and the profile is none of RGB
    return kept


def pillow_options(kind: str, metadata: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the options of Pillow's `save` that write metadata which the format `holds`."""
    options: dict[str, Any] = dict(metadata)
    if kind == "tiff" and metadata:
        from PIL.Image import Exif

        tags = _parsed(options.pop("exif", b"")) or Exif()
        if "xmp" in options:
            tags[_XMP] = options.pop("xmp")
        options["exif"] = tags.tobytes()
        if any(directory in tags for directory in DIRECTORIES):
            options["compression"] = None  # Pillow writes no directories through libtiff
    elif "exif" in options:
        options["exif"] = _PREFIX + options["exif"]
    return options


def _parsed(content: bytes) -> Exif | None:
    """Return `_of_exif` of a block, or None if it is damaged."""
    from PIL.Image import Exif

    if not is_sound(content):
        return None
    tags = Exif()
    try:
        with without_warnings("PIL"):
            tags.load(content)
            return _of_exif(tags)
    except Exception:  # noqa: BLE001 (given damaged Exif, Pillow raises about anything)
        return None


def _of_exif(tags: Exif) -> Exif:
    """Return the tags without those that describe the pixels of a TIFF."""
    from PIL.Image import Exif

    chosen = Exif()
    for tag in _OF_EXIF:
        if tag in tags:
            chosen[tag] = tags.get_ifd(tag) if tag in DIRECTORIES else tags[tag]
    return chosen
