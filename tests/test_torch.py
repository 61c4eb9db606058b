"""Diagrams in PyTorch: gradcheck, the ways that tensors come, density control, memory."""

from __future__ import annotations

import importlib
import json
import re
import resource
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from backends_under_test import ON_CPU, backend_named
from diagrams import random_sites, smooth_target

from sadcodec import Diagram
from sadcodec.backends.reference import pull_back
from sadcodec.errors import OptionError, SadError
from sadcodec.sites import Sites
from sadcodec.torch import SoftAnisotropicDiagram, cuda, functions, render, sample

ROOT = Path(__file__).resolve().parent.parent
SIZE = (11, 8)
STATM = Path("/proc/self/statm")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tensor(seed: int = 1, count: int = 12, channels: int = 3, dtype=torch.float64):
    sites = random_sites(seed, count, *SIZE, channels)
    return torch.tensor(sites.params, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("channels", [1, 4])
def test_gradcheck_of_every_parameter(channels):
    sites = tensor(channels=channels)
    assert torch.autograd.gradcheck(lambda s: render(s, SIZE, 4), sites)


def test_gradcheck_of_parameters_and_coordinates():
    generator = torch.Generator().manual_seed(3)
    points = 12 * torch.rand(9, 2, dtype=torch.float64, generator=generator) - 1
    assert torch.autograd.gradcheck(sample, (tensor(2), points.requires_grad_()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_the_reference_s(dtype):
    sites = tensor(4, 60, dtype=dtype)
    picture = render(sites, SIZE)
    assert (picture.shape, picture.dtype) == ((8, 11, 3), dtype)
    g = torch.tensor(np.random.default_rng(1).normal(size=picture.shape), dtype=dtype)
    picture.backward(g)
    expected = pull_back(sites.detach().double().numpy(), g.double().numpy())
    error = np.abs(sites.grad.numpy() - expected).max(axis=0) / np.abs(expected).max(axis=0)
    assert error.max() < (1e-5 if dtype == torch.float32 else 1e-12)


def test_graphs_are_used_twice_and_as_they_come():
    sites = tensor(dtype=torch.float32)
    picture = render(sites, SIZE)
    (picture.sum() + (2.0 * picture).sum()).backward(retain_graph=True)
    first = sites.grad.clone()
    picture.sum().backward()
    torch.testing.assert_close(sites.grad, first * (4.0 / 3.0))
    strided = sites.detach().T.contiguous().T.requires_grad_()
    assert not strided.is_contiguous()
    turned = render(strided, SIZE).permute(2, 0, 1)  # the derivatives come in another order
    (3.0 * turned).sum().backward()
    torch.testing.assert_close(strided.grad, first)
    two = render(sites, SIZE), render(2.0 * sites.detach(), SIZE)
    assert two[0].requires_grad
    assert not two[1].requires_grad
    with torch.no_grad():
        assert not render(sites, SIZE).requires_grad
    with torch.no_grad():
        sites += 0.25  # what was drawn before keeps its own
    before = first / 3.0
    sites.grad = None
    two[0].sum().backward()
    torch.testing.assert_close(sites.grad, before)


def test_second_derivatives_are_refused():
    sites = tensor()
    (slope,) = torch.autograd.grad(render(sites, SIZE).square().sum(), sites, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_refusals_are_one_line():
    sites, points = tensor(dtype=torch.float32), torch.rand(5, 2)
    refused = {
        "not float16 on cpu": lambda: render(sites.half(), SIZE),
        "not bfloat16 on cpu": lambda: sample(sites.bfloat16(), points.bfloat16()),
        "not on meta": lambda: render(sites.to("meta"), SIZE),
        "float64 on cpu, sites float32 on cpu": lambda: sample(sites, points.double()),
        "float32 on meta, sites": lambda: sample(sites, points.to("meta")),
        "a tensor, not ndarray": lambda: render(sites.detach().numpy(), SIZE),
        r"\[N, 7..10\]": lambda: render(sites[:, :6], SIZE),
        r"\[M, 2\]": lambda: sample(sites, points[0]),
        "topk must be": lambda: render(sites, SIZE, topk="all"),
        "propagate takes float32": lambda: render(sites.double(), SIZE, topk="propagate"),
        "0 x 5 pixels": lambda: render(sites, (0, 5)),
        "K must be": lambda: render(sites, SIZE, 17),
        "not finite": lambda: render(sites / 0.0, SIZE),
    }
    for text, call in refused.items():
        with pytest.raises(SadError, match=text) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_the_paper_s_map_is_near_the_exact_lists():
    sites = torch.tensor(random_sites(6, 400, 64, 48).params, requires_grad=True)
    exact, mapped = (render(sites, (64, 48), topk=topk) for topk in ("exact", "propagate"))
    assert (exact - mapped).abs().mean() < 2e-3
    one, other = (torch.autograd.grad(p.sum(), sites)[0] for p in (exact, mapped))
    assert (one - other).norm() < 0.1 * one.norm()


@pytest.fixture
def target() -> torch.Tensor:
    return torch.tensor(smooth_target(3, 40, 30, 3))


def fit(model: SoftAnisotropicDiagram, target, steps: int, optimizer) -> float:
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (model() - target).square().mean()
        loss.backward()
        optimizer.step()
        model.clamp_()
    return float(loss.detach())


def test_a_module_is_fitted_pruned_and_densified(target):
    model = SoftAnisotropicDiagram(Sites(random_sites(5, 40, 40, 30).params), (40, 30))
    optimizer = torch.optim.Adam(model.parameter_groups(), betas=(0.9, 0.95))
    before = fit(model, target, 1, optimizer)
    error = fit(model, target, 30, optimizer)
    assert error < 0.2 * before
    position, state = model.position, optimizer.state[model.position]["exp_avg"].clone()
    kept = model.position.detach().clone()
    model.prune(30, target, optimizer)
    assert len(model) == 30
    assert model.position is position
    place = [int(torch.where((kept == row).all(dim=1))[0]) for row in model.position.detach()]
    torch.testing.assert_close(optimizer.state[position]["exp_avg"], state[place])
    model.densify(12, target, optimizer)
    assert len(model) == 42
    assert not optimizer.state[position]["exp_avg"][-24:].any()
    worse = float((model() - target).detach().square().mean())
    assert fit(model, target, 30, optimizer) < 0.7 * worse
    assert {len(p) for p in model.parameters()} == {42}
    diagram = model.to_diagram(threads=1)
    assert isinstance(diagram, Diagram)
    again = SoftAnisotropicDiagram(diagram)
    torch.testing.assert_close(again(), model())
    points = torch.tensor([[0.5, 0.5], [3.5, 2.5]])
    torch.testing.assert_close(again.sample(points), model()[[0, 2], [0, 3]], atol=1e-5, rtol=0)
    assert sorted(again.state_dict()) == ["anisotropy", "color", "log_tau", "position", "radius"]
    with pytest.raises(OptionError, match="size"):
        SoftAnisotropicDiagram(diagram.sites)
    with pytest.raises(OptionError, match="target"):
        model.prune(5, target[1:])


@pytest.fixture
def streams(monkeypatch) -> list[int]:
    """Tensors of the CPU and a stand-in take the device's place; the streams that were used."""
    backend = backend_named(ON_CPU)
    cp, used = backend.runtime.cp, []

    def from_dlpack(tensor: torch.Tensor) -> object:
        used.append(cp.cuda.get_current_stream().ptr)
        return cp.asarray(tensor.numpy())

    runtime = SimpleNamespace(
        cp=SimpleNamespace(from_dlpack=from_dlpack, cuda=cp.cuda), activate=backend.runtime.activate
    )
    named = SimpleNamespace(
        runtime=runtime, differentiable=backend.differentiable, points=backend.points
    )
    monkeypatch.setattr(cuda, "get_backend", {"cuda:0": named}.get)
    monkeypatch.setattr(torch, "from_dlpack", lambda array: torch.from_numpy(array.get()))
    stream = SimpleNamespace(cuda_stream=1234)
    monkeypatch.setattr(torch.cuda, "current_stream", {0: stream}.get)
    return used


def test_cuda_tensors_go_through_the_kernels_on_the_caller_s_stream(streams):
    sites = tensor(2, 20, dtype=torch.float32)
    expected = render(sites, SIZE)
    picture = functions._Function.apply(cuda.TensorPasses(0, *SIZE, 3, 8), sites)
    torch.testing.assert_close(picture, expected, rtol=0, atol=1e-5)
    g = torch.rand(picture.shape, generator=torch.Generator().manual_seed(1))
    (wanted,) = torch.autograd.grad(expected, sites, g)
    with torch.no_grad():
        sites += 0.25  # the passes have their own
    (found,) = torch.autograd.grad(picture, sites, g)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert streams == [1234] * 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_of_cuda_tensors_are_sampled_on_the_caller_s_stream(streams, dtype):
    sites, generator = tensor(2, 20, dtype=dtype), torch.Generator().manual_seed(1)
    points = (12 * torch.rand(9, 2, dtype=dtype, generator=generator)).requires_grad_()
    colors = functions._Function.apply(cuda.PointTensorPasses(0, 3, 8), sites, points)
    expected = sample(sites, points)
    torch.testing.assert_close(colors, expected)
    g = torch.rand(colors.shape, dtype=dtype, generator=generator)
    wanted = torch.autograd.grad(expected, (sites, points), g)
    with torch.no_grad():
        sites += 0.25  # the passes have their own
    found = torch.autograd.grad(colors, (sites, points), g)
    torch.testing.assert_close(found, wanted)
    assert streams == [1234] * 3  # two tensors, and the cotangent


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this torch is for the CPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_of_a_gpu_are_those_of_the_cpu(dtype):
    generator = torch.Generator().manual_seed(1)
    inputs = [tensor(2, 40, dtype=dtype), 12 * torch.rand(9, 2, dtype=dtype, generator=generator)]
    calls = (
        [(sample, inputs)] if dtype == torch.float64 else [(sample, inputs), (render, inputs[:1])]
    )
    for call, given in calls:
        more = (SIZE,) if call is render else ()
        here = [x.detach().requires_grad_() for x in given]
        there = [x.detach().cuda().requires_grad_() for x in given]
        expected = call(*here, *more)
        g = torch.rand(expected.shape, dtype=dtype, generator=generator)
        wanted = torch.autograd.grad(expected, here, g)
        for stream in (torch.cuda.default_stream(), torch.cuda.Stream()):
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                found = call(*there, *more)
                slopes = torch.autograd.grad(found, there, g.cuda())
            stream.synchronize()
            assert found.is_cuda
            torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-5)
            for ours, theirs in zip(slopes, wanted, strict=True):
                torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-4, atol=1e-4)


def test_the_examples_of_the_document_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "GRADIENTS.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "GRADIENTS.md", "exec"), {})  # noqa: S102
    assert {path.name for path in tmp_path.iterdir()} == {"moved.sad", "fitted.sad"}


def test_the_benchmark_s_plain_pytorch_is_the_same_function(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    benchmark = importlib.import_module("torch_render")
    options = ["--size", "64,48", "--sites", "50,150", "--repeats", "1", "--json"]
    monkeypatch.setattr(sys, "argv", ["torch_render.py", *options])
    benchmark.main()
    for row in json.loads(capsys.readouterr().out)["rows"]:
        assert row["tiles_same"] > 0.99
        assert row["picture_difference"] < 1e-4
        assert row["gradient_difference"] < 1e-3
        assert row["times"]["ours"]["median"] > 0.0


def test_no_memory_is_kept_over_10000_steps():
    sites = tensor(3, 10, dtype=torch.float32)
    g = torch.ones(4, 4, 3)

    def steps(count: int) -> None:
        for _ in range(count):
            sites.grad = None
            render(sites, (4, 4), threads=1).backward(g)

    steps(500)
    before = resident()
    steps(10_000)
    assert resident() - before < 1 << 20  # 100 bytes a step


def resident() -> int:
    """Bytes of memory that the process has now."""
    if not STATM.exists():
        pytest.skip("needs /proc")
    return int(STATM.read_text().split()[1]) * resource.getpagesize()
