"""The inverse problems of inverse.py: what is measured of an image, and how scikit-image solves it.

A problem is a linear map A, its adjoint, and data = A image + noise. Parameters, of the diagram and
of the baselines alike, are one set for all images: those with the best mean PSNR over some or all
of data/ among the ones tried.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image
from scipy import fft, ndimage
from skimage import restoration

Array = np.ndarray[Any, np.dtype[Any]]
Map = Callable[[Array], Array]


@dataclass(frozen=True, eq=False)
class Problem:
    """What is known, and how it is worked on.

    Attributes
    ----------
    forward, adjoint : callable
        A and A'.
    data : float array
    norm : float
        Largest singular value of A.
    before : float [H, W, C]
        The data as a picture, as far as they are one.
    guess : float32 [H, W, C]
        Where the sites are placed.
    baselines : dict
        Names and functions without arguments that return a picture.
    pixels_per_site : float
    variation : float
        Weight of the total variation in the loss.
    finish : callable
        What is done to a picture that solves it: known pixels are put back.
    """

    forward: Map
    adjoint: Map
    data: Array
    norm: float
    before: Array
    guess: Array
    baselines: dict[str, Callable[[], Array]] = field(default_factory=dict)
    pixels_per_site: float = 100.0
    variation: float = 0.0
    finish: Map = field(default=lambda picture: picture)


def as_planes(function: Callable[..., Array], picture: Array, **options: object) -> Array:
    """Call a function of scikit-image, which takes gray images without an axis of channels."""
    if picture.shape[2] == 1:
        return function(picture[:, :, 0], channel_axis=None, **options)[:, :, None]
    return function(picture, channel_axis=2, **options)


def plane_by_plane(function: Callable[[Array], Array], picture: Array) -> Array:
    return np.stack([function(plane) for plane in np.moveaxis(picture, 2, 0)], axis=2)


def blurred(picture: Array, sigma: float) -> Array:
    return ndimage.gaussian_filter(picture, (sigma, sigma, 0), mode="nearest")


def plug_and_play(problem: Problem, weight: float, iterations: int) -> Array:
    """FISTA (Beck and Teboulle 2009) with scikit-image's total variation denoiser as its prox."""
    step = 1.0 / problem.norm**2
    picture = ahead = np.asarray(problem.guess, np.float64)
    t = 1.0
    for _ in range(iterations):
        descent = ahead - step * problem.adjoint(problem.forward(ahead) - problem.data)
        last = picture
        picture = as_planes(
            restoration.denoise_tv_chambolle, descent, weight=weight, max_num_iter=50
        )
        t, before = (1 + np.sqrt(1 + 4 * t * t)) / 2, t
        ahead = picture + (before - 1) / t * (picture - last)
    return picture


def with_plug_and_play(problem: Problem, weight: float, iterations: int) -> Problem:
    problem.baselines["TV, FISTA"] = lambda: plug_and_play(problem, weight, iterations)
    return problem


def inpainting(image: Array, known: Array, pixels_per_site: float, variation: float) -> Problem:
    """Fill in the pixels that a mask, bool [H, W], does not name as known."""
    mask = known[:, :, None].astype(np.float64)
    data = image * mask
    weight = sum(s**-2 * blurred(mask, s) for s in (1, 4, 16, 64)) + 1e-12
    fill = sum(s**-2 * blurred(data, s) for s in (1, 4, 16, 64)) / weight
    guess = np.where(mask > 0, image, fill).astype(np.float32)

    def biharmonic() -> Array:
        return as_planes(restoration.inpaint_biharmonic, data, mask=~known)

    return Problem(
        lambda u: u * mask,
        lambda z: z * mask,
        data,
        1.0,
        data,
        guess,
        {"biharmonic": biharmonic},
        pixels_per_site,
        variation,
        lambda u: np.where(mask > 0, image, u),
    )


def scattered(image: Array, rng: np.random.Generator) -> Problem:
    """Return the problem of 3 of 4 pixels missing, at random."""
    return inpainting(image, rng.random(image.shape[:2]) < 0.25, 80.0, 0.0005)


def scratched(image: Array, rng: np.random.Generator) -> Problem:
    """Return the problem of 40 scratches, 5 px wide, over the image."""
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width]
    known = np.ones((height, width), bool)
    for _ in range(40):
        cx, cy, angle = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0, np.pi)
        along = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        across = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        known &= (np.abs(across) > 2.5) | (np.abs(along) > rng.uniform(0.05, 0.2) * width)
    return inpainting(image, known, 60.0, 0.0)


def enlargement(image: Array, rng: np.random.Generator, factor: int = 4) -> Problem:
    """Return the problem of an image of which means over factor x factor pixels are known."""
    height, width, channels = image.shape
    rows, columns = height // factor, width // factor

    def forward(u: Array) -> Array:
        return u.reshape(rows, factor, columns, factor, channels).mean(axis=(1, 3))

    def enlarged(z: Array) -> Array:
        return z.repeat(factor, axis=0).repeat(factor, axis=1)

    data = forward(image)

    def resized(method: Image.Resampling) -> Array:
        return plane_by_plane(
            lambda plane: np.asarray(
                Image.fromarray(plane.astype(np.float32)).resize((width, height), method)
            ),
            data,
        )

    bicubic = resized(Image.Resampling.BICUBIC)
    return with_plug_and_play(
        Problem(
            forward,
            lambda z: enlarged(z) / factor**2,
            data,
            1.0 / factor,
            enlarged(data),
            bicubic.astype(np.float32),
            {"bicubic": lambda: bicubic, "Lanczos": lambda: resized(Image.Resampling.LANCZOS)},
            100.0,
            0.0005,
        ),
        0.006,
        100,
    )


def noisy(image: Array, rng: np.random.Generator, sigma: float = 0.1) -> Problem:
    """Return the problem of Gaussian noise: sigma = 0.1 is 25.5 code values."""
    data = image + sigma * rng.standard_normal(image.shape)

    def means() -> Array:
        options = {"patch_size": 5, "patch_distance": 6, "sigma": sigma, "h": 0.6 * sigma}
        return as_planes(restoration.denoise_nl_means, data, fast_mode=True, **options)

    return Problem(
        lambda u: u,
        lambda z: z,
        data,
        1.0,
        data,
        blurred(data, 1.5).astype(np.float32),
        {
            "non-local means": means,
            "TV": lambda: as_planes(restoration.denoise_tv_chambolle, data, weight=0.08),
        },
        100.0,
        0.0,
    )


def motion_kernel(length: float, angle: float) -> Array:
    """Return a line, blurred by a third of a pixel: float [S, S] with sum 1, S odd."""
    reach = int(length / 2 + 2)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    for t in np.linspace(-length / 2, length / 2, 1000):
        y, x = reach + t * np.sin(angle), reach + t * np.cos(angle)
        i, j = int(y), int(x)
        for di, wi in ((0, 1 + i - y), (1, y - i)):
            for dj, wj in ((0, 1 + j - x), (1, x - j)):
                kernel[i + di, j + dj] += wi * wj
    return kernel / kernel.sum()


def moved(image: Array, rng: np.random.Generator, sigma: float = 0.01) -> Problem:
    """Return the problem of a known motion blur of 15 px, periodic, with noise."""
    kernel = motion_kernel(15.0, np.deg2rad(30))
    padded = np.zeros(image.shape[:2])
    padded[: kernel.shape[0], : kernel.shape[1]] = kernel
    reach = kernel.shape[0] // 2
    transfer = fft.rfft2(np.roll(padded, (-reach, -reach), axis=(0, 1)))[:, :, None]

    def filtered(u: Array, by: Array) -> Array:
        return fft.irfft2(fft.rfft2(u, axes=(0, 1)) * by, s=image.shape[:2], axes=(0, 1))

    data = filtered(image, transfer) + sigma * rng.standard_normal(image.shape)

    def richardson_lucy() -> Array:
        edge = 3 * reach  # scikit-image takes what is outside for black; it is the other side
        wide = np.pad(np.maximum(data, 0), ((edge, edge), (edge, edge), (0, 0)), mode="wrap")
        found = plane_by_plane(
            lambda plane: restoration.richardson_lucy(plane, kernel, num_iter=25), wide
        )
        return found[edge:-edge, edge:-edge]

    def wiener() -> Array:
        return plane_by_plane(lambda plane: restoration.wiener(plane, kernel, 0.005), data)

    def unsupervised() -> Array:
        return plane_by_plane(
            lambda plane: restoration.unsupervised_wiener(plane, kernel, rng=0)[0], data
        )

    return with_plug_and_play(
        Problem(
            lambda u: filtered(u, transfer),
            lambda z: filtered(z, transfer.conj()),
            data,
            1.0,
            data,
            data.astype(np.float32),
            {
                "Richardson-Lucy": richardson_lucy,
                "Wiener": wiener,
                "unsupervised Wiener": unsupervised,
            },
            40.0,
            0.0002,
        ),
        0.0006,
        100,
    )


def projected(image: Array, rng: np.random.Generator, share: float = 0.25) -> Problem:
    """Return the problem of random projections, as many as a share of the pixels.

    Each channel is permuted, cosine transformed as one row, and a part of the coefficients taken:
    permutation and part are random and the mean is among them. A has orthonormal rows.
    """
    height, width, channels = image.shape
    size = height * width
    order = rng.permutation(size)
    back = np.argsort(order)
    taken = np.append(0, 1 + np.sort(rng.permutation(size - 1)[: int(share * size) - 1]))

    def forward(u: Array) -> Array:
        rows = u.reshape(size, channels)[order]
        return fft.dct(rows, axis=0, norm="ortho")[taken]

    def adjoint(z: Array) -> Array:
        rows = np.zeros((size, channels))
        rows[taken] = z
        return fft.idct(rows, axis=0, norm="ortho")[back].reshape(image.shape)

    data = forward(image)
    mean = data[0] / np.sqrt(size)
    projection = mean + (adjoint(data) - mean) / share
    return with_plug_and_play(
        Problem(
            forward,
            adjoint,
            data,
            1.0,
            projection,
            blurred(projection, 4.0).astype(np.float32),
            {},
            40.0,
            0.0005,
        ),
        0.0003,
        200,
    )


PROBLEMS: dict[str, Callable[[Array, np.random.Generator], Problem]] = {
    "scattered": scattered,
    "scratched": scratched,
    "enlargement": enlargement,
    "noisy": noisy,
    "moved": moved,
    "projected": projected,
}
