"""``import sadcodec`` makes Pillow open ``.sad`` files, without importing Pillow.

Where Pillow is loaded, its plugin is registered at once; else as soon as ``PIL.Image`` is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["install"]

_WAITED_FOR = "PIL.Image"
_PLUGIN = "sadcodec.pillow"


class _Finder:
    """Finds nothing itself: it has whoever finds PIL.Image load the plugin after it."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of PIL.Image, None for other modules (`importlib.abc.MetaPathFinder`)."""
        if name != _WAITED_FOR:
            return None
        sys.meta_path.remove(_Finder)
        found = (finder.find_spec(name, path, target) for finder in sys.meta_path)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def run_and_register(module: ModuleType) -> None:
            run(module)
            import_module(_PLUGIN)

        spec.loader.exec_module = run_and_register  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Register the plugin, now or later; once is enough."""
    if _WAITED_FOR in sys.modules:
        import_module(_PLUGIN)
    elif _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)
