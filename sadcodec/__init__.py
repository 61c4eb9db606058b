"""sadcodec: images as soft anisotropic diagrams, from pixels to a compact file and back.

>>> import sadcodec
>>> data = sadcodec.encode(image, bpp=0.5)  # doctest: +SKIP
>>> image = sadcodec.decode(data)  # doctest: +SKIP

Names are loaded when first used, so that ``import sadcodec`` costs next to nothing. It makes
Pillow, and so imageio, read and write ``.sad`` files (docs/INTEGRATION.md).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from sadcodec import pillow_hook

if TYPE_CHECKING:
    from sadcodec.codec import (
        decode,
        decode_with_report,
        encode,
        encode_with_report,
        info,
        metadata,
    )
    from sadcodec.diagram import Diagram
    from sadcodec.errors import DamageWarning, SadError
    from sadcodec.exchange import export_sites, import_sites
    from sadcodec.sequence import decode_frames, encode_sequence, encode_sequence_with_report
    from sadcodec.sites import Sites

__version__ = "0.1.0"

__all__ = [
    "DamageWarning",
    "Diagram",
    "SadError",
    "Sites",
    "__version__",
    "decode",
    "decode_frames",
    "decode_with_report",
    "encode",
    "encode_sequence",
    "encode_sequence_with_report",
    "encode_with_report",
    "export_sites",
    "import_sites",
    "info",
    "metadata",
]

_HOME = {
    "decode": "codec",
    "decode_with_report": "codec",
    "encode": "codec",
    "encode_with_report": "codec",
    "export_sites": "exchange",
    "import_sites": "exchange",
    "info": "codec",
    "metadata": "codec",
    "decode_frames": "sequence",
    "encode_sequence": "sequence",
    "encode_sequence_with_report": "sequence",
    "Diagram": "diagram",
    "DamageWarning": "errors",
    "SadError": "errors",
    "Sites": "sites",
}
_MODULES = {"backends", "diagram", "image_io", "inverse", "losses", "views"}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))


pillow_hook.install()
