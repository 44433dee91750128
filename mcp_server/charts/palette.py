"""PNG with a palette: a chart has few colours, so one byte a pixel looks the same at a sixth of the size."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NONE, _SUB, _UP = 0, 1, 2
_TRUECOLOUR_ALPHA, _INDEXED = 6, 3

Pixels = NDArray[np.uint8]


def quantise(png: bytes, colours: int = 128) -> bytes:
    """The picture with at most `colours` colours, each of them one that it had.

    Args:
        png: opaque, 8 bits, RGBA, not interlaced, rows filtered with None, Sub or Up (what the renderer writes).
        colours: 2 to 256.
    Returns:
        an indexed PNG of the same size; `png` itself where it's written in another way (larger, not worse).
    """
    pixels = decode(png)
    if pixels is None:
        return png
    packed = pixels[..., :3].astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    flat = packed.ravel()
    # Runs first: neighbours are mostly equal, and sorting 100,000 runs is ten times quicker than sorting all pixels.
    starts = np.flatnonzero(np.concatenate(([True], flat[1:] != flat[:-1])))
    lengths = np.diff(np.append(starts, flat.size))
    values, which = np.unique(flat[starts], return_inverse=True)
    counts = np.bincount(which.ravel(), weights=lengths).astype(np.float64)
    table = np.stack([values >> 16, values >> 8 & 255, values & 255], axis=1)
    chosen, nearest = _choose(table.astype(np.float64), counts, colours)
    indices = np.repeat(nearest[which].astype(np.uint8), lengths).reshape(packed.shape)
    return _encode(indices, table[chosen].astype(np.uint8))


def decode(png: bytes) -> Pixels | None:
    """Pixels, shape (height, width, 4), or None where the file is written in a way that this doesn't read."""
    header, body = b"", b""
    at = len(SIGNATURE)
    while at < len(png):
        size, kind = struct.unpack_from(">I4s", png, at)
        content = png[at + 8 : at + 8 + size]
        header, body = (content, body) if kind == b"IHDR" else (header, body + content if kind == b"IDAT" else body)
        at += size + 12
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if (depth, colour, interlaced) != (8, _TRUECOLOUR_ALPHA, 0):
        return None
    rows = np.frombuffer(zlib.decompress(body), dtype=np.uint8).reshape(height, 1 + 4 * width)
    filters, pixels = rows[:, 0], rows[:, 1:].reshape(height, width, 4).copy()
    if np.any(filters > _UP):
        return None
    across = filters == _SUB
    pixels[across] = np.add.accumulate(pixels[across], axis=1, dtype=np.uint8)
    for y in np.flatnonzero(filters == _UP):
        pixels[y] += pixels[y - 1] if y else 0
    return pixels


def _choose(
    table: NDArray[np.float64], counts: NDArray[np.float64], colours: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pick colours one by one: each time the one whose pixels are, together, furthest from any picked before.

    The most frequent colour comes first, so plain areas keep their exact colour. Farthest-point clustering after
    Gonzalez (1985), Theoretical Computer Science 38, weighted by the root of the count.

    Returns:
        rows of `table` chosen, shape (k,), and for every row the position in them of its nearest, shape (n,).
    """
    weight = np.sqrt(counts)
    chosen = [int(np.argmax(counts))]
    distance = ((table - table[chosen[0]]) ** 2).sum(axis=1)
    nearest = np.zeros(len(table), dtype=np.intp)
    while len(chosen) < colours and distance.any():
        chosen.append(int(np.argmax(weight * distance)))
        candidate = ((table - table[chosen[-1]]) ** 2).sum(axis=1)
        closer = candidate < distance
        nearest[closer] = len(chosen) - 1
        distance = np.minimum(distance, candidate)
    return np.array(chosen), nearest


def _encode(indices: Pixels, palette: Pixels) -> bytes:
    height, width = indices.shape
    rows = np.zeros((height, width + 1), dtype=np.uint8)
    rows[:, 1:] = indices
    header = struct.pack(">IIBBBBB", width, height, 8, _INDEXED, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"PLTE", palette.tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 6)),
        (b"IEND", b""),
    )
    return SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
