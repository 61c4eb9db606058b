"""The passes of a fit and of drawing by themselves, and whole iterations, for benchmarks/gpu.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gpu_costs import active_entries, bytes_moved, floor_seconds, lengths_of, named, work_of
from gpu_device import Clock, Launch, Recorder
from PIL import Image
from timing import Times, shares

from sadcodec.backends.base import DEFAULT_CUT, DEFAULT_K, Start
from sadcodec.backends.cuda_backend import CudaBackend
from sadcodec.fit.loop import BETA1, BETA2, fit
from sadcodec.fit.schedule import FitOptions, learning_rates
from sadcodec.sites import LOG_TAU, RADIUS, Sites, X, Y

__all__ = ["Bench", "Size", "enlarged", "iteration_rows", "label", "pass_rows", "scaled", "trial"]

Row = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """An image and a number of sites to measure with; no extent: the image as it is."""

    sites: int
    extent: tuple[int, int] | None = None


@dataclass
class Bench:
    """What every part needs.

    Attributes
    ----------
    runtime : Runtime
    clock : Clock
    images : dict
        uint8 or uint16 [H, W, C] by name; the first is the one that passes are measured on.
    rates : dict
        Measured ceilings by name, as far as they are known.
    trial_iterations : int
        Of the fits whose diagrams are measured on.
    cycles : int
        List refreshes in a batch of iterations.
    """

    runtime: Any
    clock: Clock
    images: dict[str, np.ndarray]
    sizes: list[Size]
    rates: dict[str, float] = field(default_factory=dict)
    trial_iterations: int = 100
    cycles: int = 4
    threads: int | None = None

    @property
    def backend(self) -> CudaBackend:
        """The backend to measure."""
        return CudaBackend(self.runtime, self.threads)

    @property
    def first(self) -> np.ndarray:
        """The first image."""
        return next(iter(self.images.values()))


def enlarged(image: np.ndarray, extent: tuple[int, int] | None) -> np.ndarray:
    """Return an image scaled to (width, height), turned as the image is; uint8 [H, W, C]."""
    if extent is None:
        return image
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    height, width, channels = image.shape
    to = extent if width >= height else extent[::-1]
    planes = [
        np.asarray(Image.fromarray(image[:, :, c]).resize(to, Image.Resampling.LANCZOS))
        for c in range(channels)
    ]
    return np.stack(planes, axis=2)


def scaled(params: np.ndarray, across: float, down: float) -> np.ndarray:
    """Return a diagram enlarged by two factors; sites keep their metric."""
    both = np.sqrt(across * down)
    out = params.copy()
    out[:, X] *= np.float32(across)
    out[:, Y] *= np.float32(down)
    out[:, LOG_TAU] -= np.float32(np.log(both))
    out[:, RADIUS] *= np.float32(both)
    return out


def label(image: np.ndarray, sites: int) -> str:
    """Return the name of a size."""
    return f"{image.shape[1]}x{image.shape[0]}, {sites} sites"


def trial(backend: Any, image: np.ndarray, sites: int, iterations: int) -> np.ndarray:
    """Return the parameters of a short fit."""
    return fit(backend, shares(image), sites, FitOptions(iterations=iterations)).params


def pass_rows(bench: Bench) -> Iterator[Row]:
    """Measure every kernel, and every call of a session, at each size."""
    for size in bench.sizes:
        image = enlarged(bench.first, size.extent)
        count = min(size.sites, image.shape[0] * image.shape[1])
        params = trial(bench.backend, image, count, bench.trial_iterations)
        recorder = Recorder(bench.runtime)
        name = label(image, len(params))
        stages = _Stages(CudaBackend(recorder, bench.threads), image, params)
        calls, launches = stages.calls(), {}
        for stage, call in calls.items():
            call()  # what a first call does more is not measured
            with recorder.recording() as found:
                call()
            launches[stage] = list(found)
        yield {"size": name, "stage": "lists", **_lists(launches)}
        for stage, found in launches.items():
            for launch in found:
                if stage == "render":  # its lists, made again and again, outgrow their memory
                    for each in found:
                        each()
                yield {"size": name, "stage": stage, **_measure(bench, launch)}
        for stage, row in _sorts(bench, launches):
            yield {"size": name, "stage": stage, **row}
        for stage, call in calls.items():
            yield {
                "size": name,
                "stage": stage,
                "kernel": "whole call",
                "among_many": bench.clock.throughput(call),
                "single": bench.clock.latency(call),
                "host": bench.clock.issue(call, 1),
            }


class _Stages:
    """The calls of a session and of drawing that are measured."""

    def __init__(self, backend: CudaBackend, image: np.ndarray, params: np.ndarray) -> None:
        self.backend = backend
        self.target = shares(image)
        self.params = params
        self.session = backend.fit_session(self.target, params)

    def calls(self) -> dict[str, Callable[[], Any]]:
        """Return the calls by name, in an order in which none finds its lists outdated."""
        session, count = self.session, len(self.params)
        height, width, channels = self.target.shape
        still = np.zeros(6 + channels, np.float32)  # rates that move nothing
        noise = np.full((count, 6 + channels), 1e-3, np.float32)
        every = self.backend.runtime.cp.arange(count, dtype=np.int32)
        calls: dict[str, Callable[[], Any]] = {
            "candidate lists": session.refresh,
            "gradient, all pixels": lambda: session.gradient(None),
        }
        if min(width, height) >= 2:
            calls["gradient, 1 of 4"] = lambda: session.gradient(0)
        return {
            **calls,
            "gradient, noise": lambda: session.gradient(None, noise, 1),
            "Adam": lambda: session.adam(still, BETA1, BETA2),
            "statistics": session.removal_deltas,
            "keep": lambda: session.keep(every),
            "session of given sites": lambda: self.backend.fit_session(self.target, self.params),
            "session that places sites": lambda: self.backend.fit_session(
                self.target, Start(count)
            ),
            "render": lambda: self.backend.render(Sites(self.params), width, height, bit_depth=8),
        }


_OVER_TILES = {"gradient_tiles", "gradient_tiles_sampled", "statistics_tiles", "render_tiles"}


def _lists(launches: dict[str, list[Launch]]) -> Row:
    """Lengths of the tiles' lists while fitting, for statistics and for drawing."""
    row: Row = {}
    for stage, found in launches.items():
        for launch in found:
            if launch.kernel.name not in _OVER_TILES:
                continue
            arguments = launch.arguments
            lengths = lengths_of(arguments)
            row[stage] = {"mean": float(lengths.mean()), "most": int(lengths.max())}
            if stage == "gradient, all pixels":
                active = active_entries(arguments, DEFAULT_K, DEFAULT_CUT)
                row[stage]["active_per_pixel"] = active.per_pixel
                row[stage]["active_in_a_warp"] = active.warp_share
    return row


def _measure(bench: Bench, launch: Launch) -> Row:
    """Times of one launch, and how far they are above what it must do."""
    arguments = launch.arguments
    defines = launch.defines
    k, channels = defines.get("SAD_K", DEFAULT_K), defines.get("SAD_CHANNELS", 3)
    size = bytes_moved(launch.kernel, arguments)
    work = work_of(launch.kernel, arguments, k, channels)
    side = f", {arguments['side']} px" if "side" in arguments else ""
    replayed = bench.clock.graph(launch)
    many = bench.clock.throughput(launch)
    row: Row = {
        "kernel": launch.kernel.name + side,
        "in_a_graph": replayed,
        "among_many": many,
        "single": bench.clock.latency(launch),
        "bytes": size,
        "operations": work.operations,
        "blocks": launch.grid[0],
        **launch.resources,
    }
    return {**row, **_floor(bench, (replayed or many).median, size, work)}


def _floor(bench: Bench, ms: float, size: float, work: Any = None) -> Row:
    """Return the floor of a measured time, and how many times that is."""
    if "copy" not in bench.rates:
        return {}
    moving = 1e3 * size / bench.rates["copy"]
    computing = 0.0
    if work is not None:
        computing = 1e3 * floor_seconds(size, work, bench.rates["copy"], bench.rates)[1]
    floor = max(moving, computing)
    times = ms / floor if floor > 0 else None
    return {"bytes_ms": moving, "operations_ms": computing, "times_floor": times}


def _sorts(bench: Bench, launches: dict[str, list[Launch]]) -> Iterator[tuple[str, Row]]:
    """CuPy's sort of the entries by site: ids are read, places written, both once at least."""
    cp = bench.runtime.cp
    for stage, found in launches.items():
        for launch in found:
            if launch.kernel.name != "site_starts":
                continue
            ids = named(launch.kernel, launch.values)["ids"]

            def sort(ids: Any = ids) -> Any:
                return cp.argsort(ids, kind="stable")

            many, size = bench.clock.throughput(sort), 12.0 * len(ids)
            row = {
                "kernel": "argsort of entries",
                "among_many": many,
                "single": bench.clock.latency(sort),
                "bytes": size,
                **_floor(bench, many.median, size),
            }
            yield stage, row


def iteration_rows(bench: Bench) -> Iterator[Row]:
    """Time iterations as the loop makes them, without density control, with lists now and then."""
    for size in bench.sizes:
        image = enlarged(bench.first, size.extent)
        height, width, _ = image.shape
        count = min(size.sites, width * height)
        params = trial(bench.backend, image, count, bench.trial_iterations)
        phases: list[int | None] = [None] if min(width, height) < 2 else [None, 0]
        for phase in phases:
            row = _iteration(bench, image, params, phase)
            yield {"size": label(image, len(params)), "pixels": _PIXELS[phase], **row}


_PIXELS = {None: "all", 0: "1 of 4"}


def _iteration(bench: Bench, image: np.ndarray, params: np.ndarray, phase: int | None) -> Row:
    """Times of an iteration, and of what it consists of: on the host, and on the device."""
    recorder, clock = Recorder(bench.runtime), bench.clock
    height, width, channels = image.shape
    session = CudaBackend(recorder, bench.threads).fit_session(shares(image), params)
    rates = learning_rates(width, height, len(params), channels, radius=True) * np.float32(0.01)
    interval = FitOptions().list_interval

    def step() -> None:
        session.gradient(phase)
        session.adam(rates, BETA1, BETA2)

    def cycle() -> None:
        session.refresh()
        for _ in range(interval):
            step()

    def cycles() -> None:
        for _ in range(bench.cycles):
            cycle()

    cycles()
    whole, each = clock.throughput(cycles), bench.cycles * interval
    with recorder.recording() as launches:
        step()

    def kernels() -> None:
        for launch in launches:
            launch()

    host_ms = clock.issue(step)
    return {
        "iteration_ms": Times(
            whole.median / each, whole.least / each, whole.most / each, whole.runs
        ),
        "step_ms": clock.throughput(step),
        "step_host_ms": host_ms,
        "step_device_ms": clock.graph(kernels),
        "lists_ms": clock.throughput(session.refresh),
        "lists_host_ms": clock.issue(session.refresh, 1),
        "host_share": host_ms.median / (whole.median / each),
    }
