"""Bitmap primitives on the device: kernels/compose.cu against the definition, and in a fit."""

import numpy as np
import pytest
from backends_under_test import CUDA, backend_named
from compositions import random_composition
from cuda_host.stand_in import make_cupy

from sadcodec.backends.cuda import Runtime
from sadcodec.backends.cuda_bitmaps import CudaBitmaps
from sadcodec.compose import reference
from sadcodec.compose.fit import fit
from sadcodec.compose.quads import quads
from sadcodec.compose.render import render
from sadcodec.errors import BackendError


def on_device(drawn, blur=0.0, order=0, runtime=None):
    runtime = runtime or Runtime(make_cupy(order=order), 0)
    device = CudaBitmaps(runtime, *quads(drawn.templates, drawn.blend > 0, blur))
    device.set_params(drawn.params, drawn.opacity, drawn.blend)
    return device


@pytest.mark.parametrize("blend", [0.0, 0.7])
@pytest.mark.parametrize("name", CUDA)
def test_picture_and_gradients_are_the_definition_s(blend, name):
    drawn = random_composition(280, 45, 37, background=False, blend=blend, seed=3, largest=40.0)
    device = on_device(drawn, blur=1.0, runtime=backend_named(name).runtime)
    image = np.empty((4, 37, 45), np.float32)
    device.draw(image)
    exact = reference.render(drawn, blur=1.0)
    assert np.abs(image.transpose(1, 2, 0) - exact).max() < 1e-4
    slopes = np.random.default_rng(2).normal(size=(37, 45, 4))
    planes = np.ascontiguousarray(slopes.transpose(2, 0, 1), np.float32)
    ours, wanted = device.gradient(image, planes), reference.gradient(drawn, slopes, blur=1.0)
    assert (np.abs(ours - wanted) / np.abs(wanted).max(axis=0)).max() < 2e-4
    active = (np.arange(280) % 2).astype(np.uint8)
    device.set_active(active)
    some = device.gradient(image, planes)
    assert np.array_equal(some[1::2], ours[1::2])
    assert not some[::2].any()


def test_the_order_of_blocks_changes_no_bit():
    drawn = random_composition(40, 60, 40, background=False)
    images = [np.empty((4, 40, 60), np.float32) for _ in range(2)]
    slopes = np.random.default_rng(2).normal(size=(4, 40, 60)).astype(np.float32)
    gradients = []
    for order, image in enumerate(images):
        device = on_device(drawn, order=order)
        device.draw(image)
        gradients.append(device.gradient(image, slopes))
    assert np.array_equal(*images)
    assert np.array_equal(*gradients)


def test_a_window_is_a_part_of_the_picture():
    drawn = random_composition(40, 60, 40, background=False)
    device = on_device(drawn)
    whole, part = np.empty((4, 40, 60), np.float32), np.empty((4, 9, 30), np.float32)
    device.draw(whole)
    device.draw(part, 21, 17)
    assert np.array_equal(part, whole[:, 17:26, 21:51])


def test_a_fit_on_the_device_is_that_of_the_native_code(monkeypatch):
    runtime = Runtime(make_cupy(), 0)
    monkeypatch.setattr("sadcodec.backends.cuda.open_runtime", lambda _: runtime)
    target = random_composition(15, 40, 32, seed=8)
    wanted = reference.render(target).astype(np.float32)
    options = {"count": 20, "iterations": 3, "threads": 1}
    ours = fit(wanted, target.templates, backend="cuda", **options).composition
    native = fit(wanted, target.templates, **options).composition
    assert np.abs(ours.params - native.params).max() < 0.05
    assert np.abs(render(ours, backend="cuda") - render(ours)).max() < 1e-4


def test_a_picture_too_large_for_the_device_is_refused():
    cupy = make_cupy()
    device = on_device(random_composition(), runtime=Runtime(cupy, 0))
    cupy.machine.capacity = 1 << 20
    with pytest.raises(BackendError, match="12 primitives on 4000000 pixels take about"):
        device.draw(np.empty((4, 2000, 2000), np.float32))
