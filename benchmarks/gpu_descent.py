"""The integer descent on a GPU, call by call, for benchmarks/gpu.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from gpu_device import Recorder
from gpu_passes import Bench, Row, enlarged, label
from timing import shares

from sadcodec.backends.cuda_backend import CudaBackend
from sadcodec.bitstream import Header
from sadcodec.fit.loop import fit
from sadcodec.fit.schedule import FitOptions
from sadcodec.refine import RATE_STRENGTH, choose_quantizer, start_refiner

__all__ = ["descent_rows"]

_SIZES = 3  # of those of the bench; the last takes 19 GB


def descent_rows(bench: Bench) -> Iterator[Row]:
    """Time every call of a refiner, on the rounded diagram of a short fit."""
    for size in bench.sizes[:_SIZES]:
        image = enlarged(bench.first, size.extent)
        height, width, channels = image.shape
        count = min(size.sites, height * width)
        recorder = Recorder(bench.runtime)
        backend = CudaBackend(recorder, bench.threads)
        options = FitOptions(iterations=bench.trial_iterations)
        fitted = fit(backend, shares(image), count, options)
        quantizer = choose_quantizer(fitted.mse, width, height, count, channels)
        header = Header(width, height, channels, 8 * image.itemsize, 8, count, quantizer)
        refinement = start_refiner(backend, shares(image), fitted.params, header)
        refiner: Any = refinement.refiner
        lambda_ = refinement.price(RATE_STRENGTH)
        calls: dict[str, Callable[[], Any]] = {
            "lists": refiner.build_lists,
            "least-squares colours": lambda r=refiner: r.solve_colors(12),
            "sweep": lambda r=refiner, by=lambda_: r.sweep(by, True),
            "sweep, colours only": lambda r=refiner, by=lambda_: r.sweep(by, False),
            "removal deltas": refiner.removal_deltas,
        }
        sizes = [len(sites) for sites in refiner.schedule]
        common = {"size": label(image, count), "classes": len(sizes)}
        common |= {"sites_at_once": float(np.mean(sizes))}
        for stage, call in calls.items():
            call()  # what a first call does more is not measured
            with recorder.recording() as found:
                call()
            yield {
                **common,
                "stage": stage,
                "among_many": bench.clock.throughput(call),
                "single": bench.clock.latency(call),
                "host": bench.clock.issue(call, 1),
                "launches": len(found),
                "launches_by_kernel": dict(Counter(launch.kernel.name for launch in found)),
            }
