"""The picture of a diagram as a differentiable function of PyTorch (docs/GRADIENTS.md).

>>> from sadcodec.torch import render  # doctest: +SKIP
>>> picture = render(sites, (768, 512))  # doctest: +SKIP
>>> (picture - target).square().mean().backward()  # doctest: +SKIP
"""

from __future__ import annotations

try:
    import torch as _torch  # noqa: F401 (here, for one line about what is missing)
except ImportError as error:
    raise ImportError("sadcodec.torch needs PyTorch: pip install 'sadcodec[torch]'") from error

from sadcodec.torch.functions import render, sample
from sadcodec.torch.module import SoftAnisotropicDiagram

__all__ = ["SoftAnisotropicDiagram", "render", "sample"]
