"""What ``sad info`` says of compositions."""

from __future__ import annotations

import dataclasses
from typing import Any

from sadcodec.cli import common

_COLUMNS = (
    ("position", 0, 2),
    ("radius", 2, 3),
    ("angle", 3, 4),
    ("opacity", 4, 5),
    ("color", 5, 8),
)


def information(
    source: str, data: bytes, max_pixels: int | None
) -> tuple[dict[str, Any], str] | None:
    """Return what ``sad info`` says of a composition, as a record and as text; None for others.

    All frames are decoded, and all templates.
    """
    from sadcodec import bitstream
    from sadcodec.compose.stored import template_pixels
    from sadcodec.decoding import limits_for

    limits = limits_for(max_pixels)
    file = (
        bitstream.open_composition(data, limits) if bitstream.is_composition(data, limits) else None
    )
    if file is None:
        return None
    for template in file.templates:
        template_pixels(template)
    frames, bits = [], dict.fromkeys((name for name, _, _ in _COLUMNS), 0.0)
    for frame, key, size in zip(file.frames(), file.keys, file.lengths, strict=True):
        frames.append({"key": key, "bytes": size, "primitives": len(frame.rows)})
        for name, first, last in _COLUMNS:
            bits[name] += float(frame.bits[first:last].sum())
    total = sum(frame["primitives"] for frame in frames)
    h = file.header
    pixels = h.width * h.height * len(frames)
    record: dict[str, Any] = {
        "input": source,
        "bytes": len(data),
        "bpp": 8 * len(data) / pixels,
        "width": h.width,
        "height": h.height,
        "channels": h.channels,
        "bit_depth": h.bit_depth,
        "primitives": frames[0]["primitives"],
        "bytes_per_primitive": sum(frame["bytes"] for frame in frames) / total,
        "templates": [
            {"format": "png" if each.startswith(b"\x89PNG") else "webp", "bytes": len(each)}
            for each in file.templates
        ],
        "background": None if file.background is None else [v / 65535 for v in file.background],
        "blend": file.blend / 65535,
        "opacity": file.opacity / 65535,
        "quantizer": dataclasses.asdict(file.quantizer),
        "columns": [
            {"name": name, "bytes": cost / 8, "bits": cost, "bits_per_primitive": cost / total}
            for name, cost in bits.items()
        ],
        "frames": frames,
    }
    return record, _text(record)


def _text(record: dict[str, Any]) -> str:
    frames, templates = record["frames"], record["templates"]
    count = f", {len(frames)} frames" if len(frames) > 1 else ""
    ground = record["background"]
    ground = "none" if ground is None else "#" + "".join(f"{round(255 * v):02x}" for v in ground)
    alpha = " and alpha" if record["channels"] == 4 else ""
    size = sum(each["bytes"] for each in templates)
    of_templates = f"{len(templates)} template{'s' * (len(templates) > 1)} ({size} bytes)"
    lines = [
        f"{common.shown(record['input'])}: {record['bytes']} bytes, {record['bpp']:.4f} bpp{count}",
        f"image    {record['width']} x {record['height']}, RGB{alpha}, 8 bits a channel",
        f"composition of {record['primitives']} primitives, {of_templates}",
        f"background {ground}, blend {record['blend']:.2f}, opacity {record['opacity']:.2f}",
        "column                bytes  bits/primitive",
    ]
    columns = record["columns"]
    rows = [(each["name"], each["bytes"], each["bits_per_primitive"]) for each in columns]
    rows.append(("all", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    lines += [f"{name:<15} {size:11.1f} {each:10.3f}" for name, size, each in rows]
    lines.append("frame  kind      bytes  primitives")
    lines += [
        f"{i:5}  {'key  ' if f['key'] else 'delta'} {f['bytes']:9} {f['primitives']:11}"
        for i, f in enumerate(frames)
    ]
    return "\n".join(lines) + "\n"
