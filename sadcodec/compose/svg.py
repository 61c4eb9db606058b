"""SVG files: each template once, each primitive as a use of it.

A primitive's place is a transform, its colour and opacity are a feColorMatrix filter (Filter
Effects Module Level 1, section 9.6): on straight colours, red becomes (1 - blend) c + blend red and
alpha becomes opacity sigmoid(v) alpha, which is what a composition says.
"""

from __future__ import annotations

import io
from base64 import b64encode

import numpy as np

from sadcodec.compose.composition import ANGLE, COLOR, OPACITY, TEMPLATE_SIDE, Composition, R, X, Y
from sadcodec.compose.logistic import sigmoid

__all__ = ["svg_file"]


def svg_file(composition: Composition) -> bytes:
    """Return an SVG file: as sharp at any size as the templates are.

    Parameters
    ----------
    composition : Composition
    """
    from PIL import Image

    width, height = composition.width, composition.height
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
        '<defs color-interpolation-filters="sRGB">',
    ]
    half = TEMPLATE_SIDE // 2
    for number, template in enumerate(composition.templates):
        buffer = io.BytesIO()
        Image.fromarray(template).save(buffer, "png", optimize=True)
        data = b64encode(buffer.getvalue()).decode()
        lines.append(
            f'<image id="t{number}" x="{-half}" y="{-half}" width="{TEMPLATE_SIDE}" '
            f'height="{TEMPLATE_SIDE}" href="data:image/png;base64,{data}"/>'
        )
    filters, uses = [], []
    params = composition.params.astype(np.float64)
    share = sigmoid(params[:, OPACITY:])
    for i in reversed(range(len(composition))):
        row = params[i]
        matrix = []
        for channel, color in enumerate(share[i, COLOR - OPACITY :]):
            scale = [0.0] * 5
            scale[channel], scale[4] = composition.blend, (1 - composition.blend) * color
            matrix.append(" ".join(f"{value:.5g}" for value in scale))
        matrix.append(f"0 0 0 {composition.opacity * share[i, 0]:.5g} 0")
        filters.append(
            f'<filter id="f{i}"><feColorMatrix type="matrix" values="{" ".join(matrix)}"/></filter>'
        )
        place = (
            f"translate({row[X]:.3f} {row[Y]:.3f}) rotate({np.degrees(row[ANGLE]):.3f}) "
            f"scale({row[R] / half:.5g})"
        )
        template = i % len(composition.templates)
        uses.append(f'<g filter="url(#f{i})"><use href="#t{template}" transform="{place}"/></g>')
    lines += [*filters, "</defs>"]
    if composition.background is not None:
        red, green, blue = np.floor(composition.background * 255 + 0.5).astype(int)
        lines.append(f'<rect width="100%" height="100%" fill="rgb({red},{green},{blue})"/>')
    return "\n".join([*lines, *uses, "</svg>\n"]).encode()
