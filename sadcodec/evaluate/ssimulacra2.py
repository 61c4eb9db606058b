"""SSIMULACRA 2.1 of Jon Sneyers (Cloudinary, 2023): a score of compression that follows viewers.

Structure and edges of the two images, in the XYB colours of JPEG XL at six scales, are compared by
maps of three kinds of error; the means and 4-norms of the maps are weighted by what fitted
viewers' ratings best. Source: https://github.com/cloudinary/ssimulacra2, of whose tool these scores
are 0.06 off on average and 0.6 at most, in nearly lossless files, over 60 files of six images
(docs/EVAL.md). It is our own because those of the Python package of that name, version 0.3.0, are
up to 9 lower.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_SIDE", "ssimulacra2"]

LEAST_SIDE = 113  # px: the five halvings of a smaller side come under 8 px before the last

Plane = NDArray[np.float32]

_SCALES = 6
_C2 = np.float32(0.0009)
_SIGMA, _REACH = 1.5, 5  # of the blur, px
# XYB: the responses of the cones to linear sRGB, and the bias below their cube root (libjxl).
_OPSIN = np.array(
    [
        [0.30, 0.622, 0.078],
        [0.23, 0.692, 0.078],
        [0.24342268924547819, 0.20476744424496821, 0.55180986650955360],
    ],
    dtype=np.float32,
)
_BIAS = np.float32(0.0037930732552754493)
# By channel X, Y, B-Y, then scale, then mean and 4-norm, then structure, artifact, lost detail.
# Those under 0.01, which were left over from the optimization, count as well.
# fmt: off
_WEIGHTS = {
    1: 0.0007376606707406586, 4: 0.0007793481682867309, 7: 0.0004371155730107379,
    9: 1.1041726426657346, 10: 0.00066284834129271, 11: 0.00015231632783718752,
    13: 0.0016406437456599754, 15: 1.8422455520539298, 16: 11.441172603757666,
    18: 0.0007989109436015163, 19: 0.000176816438078653, 21: 1.8787594979546387,
    22: 10.94906990605142, 24: 0.0007289346991508072, 25: 0.9677937080626833,
    27: 0.00014003424285435884, 28: 0.9981766977854967, 29: 0.00031949755934435053,
    30: 0.0004550992113792063, 33: 0.0013648766163243398, 39: 7.466890328078848,
    41: 17.445833984131262, 42: 0.0006235601634041466, 45: 6.683678146179332,
    46: 0.00037724407979611296, 47: 1.027889937768264, 48: 225.20515300849274,
    51: 19.213238186143016, 52: 0.0011401524586618361, 53: 0.001237755635509985,
    54: 176.39317598450694, 57: 24.43300999870476, 58: 0.28520802612117757,
    59: 0.0004485436923833408, 63: 34.77906344483772, 64: 44.835625328877896,
    73: 0.0008680556573291698, 79: 0.0005313191874358747, 81: 0.00016533814161379112,
    87: 0.0004179171803251336, 88: 0.0017290828234722833, 90: 0.0020827005846636437,
    93: 8.826982764996862, 94: 23.19243343998926, 96: 95.1080498811086, 97: 0.9863978034400682,
    98: 0.9834382792465353, 99: 0.0012286405048278493, 100: 171.2667255897307,
    101: 0.9807858872435379, 105: 0.0005130064588990679, 107: 0.00010854057858411537,
}
# fmt: on


def ssimulacra2(reference: NDArray[Any], test: NDArray[Any]) -> float:
    """SSIMULACRA 2.1 of two sRGB images.

    Parameters
    ----------
    reference, test : float [H, W, 3], H and W >= `LEAST_SIDE`
        sRGB, 0..1.

    Returns
    -------
    float
        At most 100, which is identical; 90 is visually lossless, 70 high quality, 50 medium, 30
        low; it may be negative.
    """
    linear = [_linear(image) for image in (reference, test)]
    errors = np.empty((3, _SCALES, 2, 3))
    for scale in range(_SCALES):
        if scale:
            linear = [_halved(planes) for planes in linear]
        errors[:, scale] = _errors(*(_xyb(planes) for planes in linear))
    flat = errors.ravel()
    error = 0.9562382616834844 * sum(weight * flat[at] for at, weight in _WEIGHTS.items())
    # A monotone fit of the weighted sum to the ratings.
    error = error * (
        2.326765642916932 - error * (0.020884521182843837 - 6.248496625763138e-05 * error)
    )
    return float(100.0 - 10.0 * max(error, 0.0) ** 0.6276336467831387)


def _linear(image: NDArray[Any]) -> Plane:
    """Return linear light [3, H, W] of sRGB values (IEC 61966-2-1)."""
    values = np.moveaxis(np.asarray(image, dtype=np.float64), 2, 0)
    low = values <= 0.04045
    return np.where(low, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _xyb(linear: Plane) -> Plane:
    """Return X, Y and B-Y [3, H, W], shifted and scaled to lie within 0..1."""
    response = np.tensordot(_OPSIN, linear, 1) + _BIAS
    long, medium, short = np.cbrt(np.maximum(response, 0)) - np.cbrt(_BIAS)
    x, y = (long - medium) / 2, (long + medium) / 2
    return np.stack([14 * x + np.float32(0.42), y + np.float32(0.01), short - y + np.float32(0.55)])


def _halved(planes: Plane) -> Plane:
    """Return the means of 2 x 2 pixels; an odd last row or column counts twice."""
    height, width = planes.shape[1:]
    p = np.pad(planes, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    p = p[:, ::2] + p[:, 1::2]
    return (p[:, :, ::2] + p[:, :, 1::2]) * np.float32(0.25)


def _errors(a: Plane, b: Plane) -> NDArray[np.float64]:
    """Return mean and 4-norm of the maps of error at one scale: [3 channels, 2, 3 maps]."""
    mean_a, mean_b = _blurred(a), _blurred(b)
    variances = _blurred(a * a + b * b) - (mean_a * mean_a + mean_b * mean_b)
    covariance = _blurred(a * b) - mean_a * mean_b
    # SSIM without its luminance denominator: these values are perceptual already.
    luminance = 1 - (mean_a - mean_b) ** 2
    structure = np.maximum(1 - luminance * (2 * covariance + _C2) / (variances + _C2), 0)
    edges = (1 + np.abs(b - mean_b)) / (1 + np.abs(a - mean_a)) - 1
    maps = np.stack([structure, np.maximum(edges, 0), np.maximum(-edges, 0)])
    means = maps.mean((2, 3), dtype=np.float64)
    fourth = np.square(np.square(maps)).mean((2, 3), dtype=np.float64) ** 0.25
    return np.stack([means, fourth]).transpose(2, 0, 1)


def _kernel() -> NDArray[np.float32]:
    """Return the taps of the blur at distances 0..4 px.

    Charalampidis 2016, "Recursive Implementation of the Gaussian Filter Using Truncated Cosine
    Functions": a sum of three cosines that vanish at 5 px, each with the weight it has in the
    Gaussian, corrected by the least change that gives the sum 1 and the variance sigma^2.
    """
    n = np.arange(1 - _REACH, _REACH)
    omega = np.array([1, 3, 5]) * np.pi / (2 * _REACH)
    cosines = np.cos(np.outer(omega, n))
    weights = np.exp(-0.5 * (_SIGMA * omega) ** 2) / _REACH
    moments = np.stack([cosines.sum(1), cosines @ n**2])
    short = np.array([1.0, _SIGMA**2]) - moments @ weights
    weights = weights + moments.T @ np.linalg.solve(moments @ moments.T, short)
    return (weights @ cosines)[_REACH - 1 :].astype(np.float32)


_TAPS = _kernel()


def _blurred(planes: Plane) -> Plane:
    """Blur [3, H, W]; beyond the border is 0, as in the reference."""
    reach = len(_TAPS) - 1
    for axis in (1, 2):
        size = planes.shape[axis]
        padded = np.pad(planes, [(reach, reach) if i == axis else (0, 0) for i in range(3)])
        moved = np.moveaxis(padded, axis, 0)
        total = _TAPS[0] * moved[reach : reach + size]
        for n in range(1, reach + 1):
            total += _TAPS[n] * (moved[reach - n :][:size] + moved[reach + n :][:size])
        planes = np.moveaxis(total, 0, axis)
    return planes
