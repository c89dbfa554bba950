"""Writes a small slide: a tiled TIFF with one level, 0.5 µm per pixel, with a dark disk on white glass."""

import struct

TILE, TILES = 256, 4
SIZE = TILE * TILES


def write(path):
    """Write the slide."""
    offsets, position, content = [], 8, b""
    for row in range(TILES):
        for column in range(TILES):
            offsets.append(position + len(content))
            content += tile(row * TILE, column * TILE)
    after = position + len(content)
    count = TILES * TILES
    # The arrays and fractions follow the tiles, and the directory follows them.
    arrays = struct.pack(f"<{count}I", *offsets) + struct.pack(f"<{count}I", *[TILE * TILE * 3] * count)
    arrays += struct.pack("<3H", 8, 8, 8) + b"\0\0" + struct.pack("<2I", 20_000, 1)
    counts, bits, resolution = after + 4 * count, after + 8 * count, after + 8 * count + 8
    entries = [
        (256, 4, 1, SIZE), (257, 4, 1, SIZE), (258, 3, 3, bits), (259, 3, 1, 1), (262, 3, 1, 2), (277, 3, 1, 3),
        (282, 5, 1, resolution), (283, 5, 1, resolution), (284, 3, 1, 1), (296, 3, 1, 3), (322, 4, 1, TILE),
        (323, 4, 1, TILE), (324, 4, count, after), (325, 4, count, counts),
    ]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    with open(path, "wb") as file:
        file.write(b"II*\0" + struct.pack("<I", after + len(arrays)) + content + arrays + directory + b"\0\0\0\0")


def tile(top, left):
    """Return the pixels of a tile."""
    middle, radius = SIZE // 2, SIZE // 3
    rows = []
    for y in range(top, top + TILE):
        inside = [(x - middle) ** 2 + (y - middle) ** 2 < radius**2 for x in range(left, left + TILE)]
        rows.append(b"".join(b"\xb0\x60\x90" if dark else b"\xff\xff\xff" for dark in inside))
    return b"".join(rows)
