"""PNG and TIFF of 16 bits a channel, written by their specifications: Pillow writes none in colour."""

import struct
import zlib

import numpy as np


def png_of_16_bits(levels: np.ndarray) -> bytes:
    """Return the file of (H, W, C) whole numbers below 2^16: C = 1 grey, 2 with alpha, 3 RGB, 4 with alpha."""
    height, width, channels = levels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def tiff_of_16_bits(levels: np.ndarray, order: str, packed: bool) -> bytes:
    """Return the file of (H, W, 3) whole numbers below 2^16. order: "<" or ">", of bytes; packed: by deflate."""
    height, width, channels = levels.shape
    data = levels.astype(f"{order}u2").tobytes()
    data = zlib.compress(data) if packed else data
    short, long = 3, 4
    bits_at = 8 + len(data)  # three numbers do not fit into their entry
    entries = [
        (256, long, 1, width), (257, long, 1, height), (258, short, channels, bits_at),
        (259, short, 1, 8 if packed else 1), (262, short, 1, 2), (273, long, 1, 8), (277, short, 1, channels),
        (278, long, 1, height), (279, long, 1, len(data)), (284, short, 1, 1),
    ]  # fmt: skip
    table = struct.pack(f"{order}H", len(entries))
    for tag, kind, count, value in entries:
        inline = kind == short and count == 1
        table += struct.pack(f"{order}HHI", tag, kind, count)
        table += struct.pack(f"{order}HH", value, 0) if inline else struct.pack(f"{order}I", value)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", bits_at + 2 * channels)
    return head + data + struct.pack(f"{order}HHH", 16, 16, 16) + table + bytes(4)
