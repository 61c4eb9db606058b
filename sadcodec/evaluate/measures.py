"""The measures of a decoded image that a sweep can report, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sadcodec import metrics
from sadcodec.errors import BackendError, InputError, OptionError
from sadcodec.evaluate import ssimulacra2
from sadcodec.quiet import without_warnings

__all__ = ["MEASURES", "check_measure", "measure"]

MEASURES = ("psnr", "ssim", "ms-ssim", "ssimulacra2", "lpips")

Values = NDArray[np.floating]

# The least side in px of an image that a measure takes.
_LEAST = {
    "psnr": 1,
    "ssim": 2 * metrics.WINDOW_REACH + 1,
    "ms-ssim": (2 * metrics.WINDOW_REACH + 1) << 4,
    "ssimulacra2": ssimulacra2.LEAST_SIDE,
    "lpips": 31,  # AlexNet has nothing left of smaller ones
}
_BACKGROUNDS = (0.1, 0.9)  # what an image with alpha is seen on
_NET = "alex"


def check_measure(name: str) -> None:
    """Check that a measure can be computed here, before anything is measured.

    Raises
    ------
    OptionError
        If there is none of that name.
    BackendError
        If what it needs is not installed: LPIPS needs the extra ``lpips`` and the weights of
        AlexNet, which are not downloaded for it.
    """
    if name not in MEASURES:
        raise OptionError(f"measure must be one of {', '.join(MEASURES)}, not {name!r}")
    if name == "lpips":
        _lpips_network()


def measure(name: str, original: NDArray[Any], decoded: NDArray[Any]) -> float | None:
    """Compare a decoded image with the original.

    Parameters
    ----------
    name : str
        "psnr" in dB, "ssim" and "ms-ssim", over all channels, colours multiplied by alpha if there
        is one (`sadcodec.metrics`);
        "ssimulacra2", -inf..100 (`evaluate.ssimulacra2`); "lpips", 0 is identical (Zhang, Isola,
        Efros, Shechtman and Wang 2018, version 0.1, AlexNet). The last two take the values for
        sRGB: gray is expanded to three channels, and an image with alpha is seen on a dark and on a
        light background (0.1 and 0.9), of which the worse counts.
    original, decoded : uint8 or uint16 [H, W] or [H, W, C], C = 1..4

    Returns
    -------
    float or None
        None if a side is too short: under 11 px for "ssim", 176 for "ms-ssim", 113 for
        "ssimulacra2", 31 for "lpips".

    Raises
    ------
    OptionError, BackendError
        As `check_measure`.
    InputError
        If shapes or types differ.
    """
    if name not in MEASURES:
        check_measure(name)
    if original.shape != decoded.shape or original.dtype != decoded.dtype:
        kinds = [f"{image.dtype} {list(image.shape)}" for image in (original, decoded)]
        raise InputError(f"images of {kinds[0]} and {kinds[1]} cannot be compared")
    if min(original.shape[:2]) < _LEAST[name]:
        return None
    if name == "psnr":
        return metrics.psnr(original, decoded)
    if name == "ssim":
        return metrics.ssim(original, decoded)
    if name == "ms-ssim":
        return metrics.ms_ssim(original, decoded)
    views = zip(_views(original), _views(decoded), strict=True)
    if name == "ssimulacra2":
        return min(ssimulacra2.ssimulacra2(a, b) for a, b in views)
    distance = _lpips_network()
    return max(distance(a, b) for a, b in views)


def _views(image: NDArray[Any]) -> Iterator[Values]:
    """Yield an image as RGB float32 [H, W, 3], 0..1, on each background that it is seen on."""
    values = image / np.float32(np.iinfo(image.dtype).max)
    values = values[:, :, None] if values.ndim == 2 else values
    channels = values.shape[2]
    color = values[:, :, : 3 if channels >= 3 else 1]
    color = np.broadcast_to(color, (*color.shape[:2], 3))
    if channels in (1, 3):
        yield color
        return
    alpha = values[:, :, -1:]
    for background in _BACKGROUNDS:
        yield alpha * color + (1 - alpha) * np.float32(background)


@cache
def _lpips_network() -> Callable[[Values, Values], float]:
    """Return LPIPS of two RGB images 0..1; the network is loaded once."""
    try:
        import lpips
        import torch
        import torchvision
    except ImportError as error:
        hint = "pip install 'sadcodec[lpips]'"
        raise BackendError(f"LPIPS needs torch and lpips ({error}): {hint}") from error
    weights = Path(torchvision.models.AlexNet_Weights.IMAGENET1K_V1.url).name
    if not Path(torch.hub.get_dir(), "checkpoints", weights).is_file():
        hint = f"python -c \"import lpips; lpips.LPIPS(net='{_NET}')\" downloads them"
        raise BackendError(f"LPIPS needs the weights of AlexNet: {hint}")
    with without_warnings():  # lpips uses what torchvision calls deprecated
        network = lpips.LPIPS(net=_NET, verbose=False).eval()

    def distance(a: Values, b: Values) -> float:
        first, second = (
            torch.from_numpy(np.ascontiguousarray(np.moveaxis(image, 2, 0)[None]))
            for image in (a, b)
        )
        with torch.no_grad():
            return float(network(first, second, normalize=True))

    return distance
