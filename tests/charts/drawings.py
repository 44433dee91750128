"""Reading what the renderer wrote: the texts and tags of an SVG, the pixels of an indexed PNG, and PNGs to read."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
import zlib

import numpy as np
from numpy.typing import NDArray

SVG = "{http://www.w3.org/2000/svg}"
SIGNATURE = b"\x89PNG\r\n\x1a\n"

Pixels = NDArray[np.uint8]


def elements(svg: str) -> list[ET.Element]:
    return list(ET.fromstring(svg).iter())


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in elements(svg) if element.tag == f"{SVG}text"]


def spoken(svg: str) -> list[str]:
    return [element.get("aria-label", "") for element in elements(svg)]


def chunks(png: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    at = len(SIGNATURE)
    while at < len(png):
        size, kind = struct.unpack_from(">I4s", png, at)
        content = png[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", png, at + 8 + size)[0] == zlib.crc32(kind + content)
        found[kind] = found.get(kind, b"") + content
        at += size + 12
    return found


def indexed(png: bytes) -> Pixels:
    """Pixels, shape (height, width, 3), of a PNG with a palette and no filters."""
    parts = chunks(png)
    width, height, depth, colour = struct.unpack_from(">IIBB", parts[b"IHDR"])
    assert (depth, colour) == (8, 3)
    scanlines = np.frombuffer(zlib.decompress(parts[b"IDAT"]), dtype=np.uint8).reshape(height, width + 1)
    assert not scanlines[:, 0].any()
    return np.frombuffer(parts[b"PLTE"], dtype=np.uint8).reshape(-1, 3)[scanlines[:, 1:]]


def truecolour(pixels: Pixels, filters: list[int]) -> bytes:
    """An RGBA PNG of `pixels`, shape (height, width, 4), whose rows are filtered as told (0 None, 1 Sub, 2 Up, 4)."""
    height, width, _ = pixels.shape
    lines = []
    for y, kind in enumerate(filters):
        line = pixels[y].astype(np.int16)
        if kind == 1:
            line = line - np.concatenate([np.zeros((1, 4), np.int16), pixels[y, :-1].astype(np.int16)])
        elif kind == 2 and y:
            line = line - pixels[y - 1].astype(np.int16)
        lines.append(bytes([kind]) + (line % 256).astype(np.uint8).tobytes())
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(lines))), (b"IEND", b""))
    return SIGNATURE + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in parts
    )
