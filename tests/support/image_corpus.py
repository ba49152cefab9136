"""Image files of many kinds, small: Pillow's own and ones put together here.

Each function returns files by a name that says what is special about them.
"""

import io
import struct
import zlib

import numpy as np
from PIL import Image
from PIL import ImageOps

ORIENTATION = 0x0112
XMP = b"http://ns.adobe.com/xap/1.0/\0"


def photo(height: int = 23, width: int = 37) -> np.ndarray:
    """Returns smooth pixels without any symmetry, uint8 RGB."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    colors = [0.1 + 0.8 * x, 0.2 + 0.9 * y * x, 0.9 - 0.5 * y - 0.3 * x]
    return (255 * np.clip(np.stack(colors, -1), 0, 1)).astype(np.uint8)


def encode(image, kind: str, mode: str = "RGB", **options) -> bytes:
    """Returns a file of Pillow's, of pixels or of one of its images."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image).convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def by_pillow(contents: bytes, mode: str = "RGB") -> np.ndarray:
    """Returns the pixels that Pillow reads, the right way up."""
    image = Image.open(io.BytesIO(contents))
    return np.asarray(ImageOps.exif_transpose(image).convert(mode))


def tiff(
    orientation: int = 6,
    order: str = "<",
    kind: int = 3,
    at: int = 8,
    others: int = 0,
    count: int = 1,
) -> bytes:
    """Returns Exif's TIFF header with one directory.

    Args:
      orientation: the tag's value.
      order: "<" for little-endian, ">" for big-endian.
      kind: the tag's type: 1 byte, 3 short, 4 long and so on.
      at: where the directory is.
      others: tags before that of the orientation.
      count: how many values the tag claims.
    """
    value = {1: "B3x", 3: "H2x", 4: "I", 6: "b3x", 8: "h2x", 9: "i"}[kind]
    tags = b"".join(
        struct.pack(order + "HHIH2x", 1 + index, 3, 1, index)
        for index in range(others)
    )
    tags += struct.pack(order + "HHI" + value, ORIENTATION, kind, count,
                        orientation)  # fmt: skip
    start = {"<": b"II\x2a\0", ">": b"MM\0\x2a"}[order]
    return (
        (start + struct.pack(order + "I", at)).ljust(at, b"\0")
        + struct.pack(order + "H", others + 1)
        + tags
        + bytes(4)
    )


def xmp(orientation: int = 6, form: str = "attribute") -> bytes:
    """Returns an XMP packet that gives the orientation."""
    text = {
        "attribute": f'<rdf tiff:Orientation="{orientation}"/>',
        "element": f"<tiff:Orientation>{orientation}</tiff:Orientation>",
    }[form]
    return f"<x:xmpmeta>{text}</x:xmpmeta>".encode()


def segment(marker: int, body: bytes) -> bytes:
    """Returns a segment of a JPEG."""
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body


def exif_segment(**options) -> bytes:
    """Returns an Exif segment; the options are those of `tiff`."""
    return segment(0xE1, b"Exif\0\0" + tiff(**options))


def chunk(name: bytes, body: bytes) -> bytes:
    """Returns a chunk of a PNG."""
    crc = zlib.crc32(name + body)
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", crc)


def jpegs() -> dict[str, bytes]:
    """Returns JPEGs of all arrangements of segments around Exif."""
    pixels = photo()
    jfif = encode(pixels, "jpeg", quality=92)
    start, rest = jfif[:20], jfif[20:]
    bare = jfif[:2], jfif[20:]
    icc = segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(range(256)) * 2)
    large_icc = segment(0xE2, b"ICC_PROFILE\0\1\1" + b"\xff\xe1Exif" * 9000)
    photoshop = segment(0xED, b"Photoshop 3.0\0")
    comment = segment(0xFE, b"\xff\xd8\xff\xe1 a comment Exif\0\0")
    xmp_segment = segment(0xE1, XMP + xmp(8))
    files = {
        "jfif": jfif,
        "no segments": b"".join(bare),
        "comment that looks like exif": start + comment + rest,
        "exif at once": bare[0] + exif_segment() + bare[1],
        "exif behind jfif": start + exif_segment() + rest,
        "jfif behind exif": bare[0] + exif_segment() + jfif[2:],
        "icc before exif": start + icc + exif_segment() + rest,
        "icc of 64 KB before exif": bare[0] + large_icc + exif_segment()
        + bare[1],
        "xmp before exif": bare[0] + xmp_segment + exif_segment() + bare[1],
        "xmp behind exif": start + exif_segment() + xmp_segment + rest,
        "xmp alone": start + xmp_segment + rest,
        "xmp alone, as an element": start
        + segment(0xE1, XMP + xmp(3, "element")) + rest,
        "xmp beside exif without the tag": start
        + segment(0xE1, b"Exif\0\0II\x2a\0\x08\0\0\0" + bytes(6))
        + xmp_segment + rest,
        "xmp out of range": start + segment(0xE1, XMP + xmp(9)) + rest,
        "two of exif": start + exif_segment() + exif_segment(orientation=3)
        + rest,
        "exif in two segments": start
        + segment(0xE1, b"Exif\0\0" + tiff(at=40)[:44])
        + segment(0xE1, b"Exif\0\0" + tiff(at=40)[44:]) + rest,
        "app1 of another kind first": start
        + segment(0xE1, b"http://other/\0") + exif_segment() + rest,
        "exif that is no TIFF": start
        + segment(0xE1, b"Exif\0\0XX" + tiff()[2:]) + rest,
        "exif in another app": start
        + segment(0xE3, b"Exif\0\0" + tiff()) + rest,
        "several apps": start + photoshop + icc + comment + exif_segment()
        + segment(0xEE, b"Adobe\0\x64\0\0\0\0\1") + rest,
        "fill bytes": start + b"\xff\xff\xff" + icc + b"\xff" + exif_segment()
        + b"\xff\xff" + rest,
        "empty segments": start + segment(0xE5, b"") + segment(0xFE, b"")
        + exif_segment() + rest,
        "exif before the scan": rest_before_scan(jfif, exif_segment()),
        "exif mark doubled": start
        + segment(0xE1, b"Exif\0\0Exif\0\0" + tiff()) + rest,
        "exif in the thumbnail": start + exif_segment(orientation=1)
        + segment(0xE2, b"thumb" + bare[0] + exif_segment(orientation=3))
        + rest,
        "junk behind the end": start + exif_segment() + rest + b"junk" * 9,
    }  # fmt: skip
    for options in (
        *({"orientation": number} for number in range(10)),
        *({"orientation": n, "order": ">"} for n in (1, 3, 6, 8)),
        {"at": 9}, {"at": 300}, {"at": 300, "order": ">"},
        {"others": 64}, {"others": 200}, {"others": 200, "order": ">"},
        {"kind": 4}, {"kind": 4, "order": ">"}, {"kind": 1},
        {"kind": 6}, {"kind": 8}, {"kind": 9}, {"kind": 9, "order": ">"},
        {"count": 2}, {"count": 0}, {"count": 0, "kind": 4},
        {"orientation": 65542, "kind": 4},
        {"orientation": 262, "order": ">"}, {"orientation": 1536},
    ):  # fmt: skip
        name = " ".join(f"{key}={value}" for key, value in options.items())
        files[name] = start + exif_segment(**options) + rest
    for mode in ("L", "CMYK"):
        files[mode] = encode(pixels, "jpeg", mode, quality=92)
    for subsampling in range(3):
        files[f"subsampling {subsampling}"] = encode(
            pixels, "jpeg", quality=92, subsampling=subsampling
        )
    files["progressive"] = encode(pixels, "jpeg", progressive=True)
    files["optimized"] = encode(pixels, "jpeg", optimize=True)
    files["restarts"] = encode(pixels, "jpeg", restart_marker_blocks=1)
    files["progressive with exif"] = encode(
        pixels, "jpeg", progressive=True, exif=exif_segment()[4:]
    )
    files["CMYK with exif"] = encode(
        pixels, "jpeg", "CMYK", exif=exif_segment()[4:]
    )
    # Pillow writes CMYK with Adobe's marker: transform 2 says YCCK.
    cmyk = files["CMYK"]
    at = cmyk.index(b"\xff\xee")
    files["CMYK without adobe"] = cmyk[:at] + cmyk[at + 16 :]
    comment = segment(0xFE, b"x" * 2**15)
    files["CMYK without adobe, far behind"] = b"".join(
        (cmyk[:2], comment, files["CMYK without adobe"][2:])
    )
    files["YCCK"] = _changed(cmyk, cmyk.index(b"Adobe") + 11, b"\2")
    rgb = segment(0xEE, b"Adobe\0\x64\0\0\0\0\0")
    files["RGB by adobe"] = b"".join((bare[0], rgb, bare[1]))
    images = [Image.fromarray(photo()), Image.fromarray(photo()[::-1])]
    files["MPO"] = encode(
        images[0], "mpo", save_all=True, append_images=images[1:]
    )
    files["MPO with exif"] = encode(
        images[0], "mpo", save_all=True, append_images=images[1:],
        exif=exif_segment()[4:],
    )  # fmt: skip
    return files


def rest_before_scan(jfif: bytes, added: bytes) -> bytes:
    """Returns a JPEG with segments put in right before its scan."""
    at = jfif.index(b"\xff\xda")
    return jfif[:at] + added + jfif[at:]


def _png(bits, color, rows, width, height, *chunks, interlace=0):
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0,
                         interlace)  # fmt: skip
    data = b"".join(b"\0" + row for row in rows)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + b"".join(chunks)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def _packed(indices, bits):
    """Returns rows of indices in so many bits each, high bits first."""
    shifts = np.arange(bits - 1, -1, -1)
    planes = (indices[..., None] >> shifts & 1).astype(np.uint8)
    return [row.tobytes() for row in
            np.packbits(planes.reshape(len(indices), -1), axis=1)]  # fmt: skip


def pngs() -> dict[str, bytes]:
    """Returns PNGs of all depths and colors, and with orientations."""
    pixels = photo()
    height, width, _ = pixels.shape
    rng = np.random.default_rng(0)
    palette = rng.integers(0, 256, (256, 3), np.uint8)
    alpha = rng.integers(0, 256, (height, width, 1), np.uint8)
    plain = encode(pixels, "png")
    start, rest = plain[:33], plain[33:]
    end = plain[:-12], plain[-12:]
    exif = chunk(b"eXIf", tiff())
    packet = b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(8)
    packed = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp(8))
    profile = f"\nexif\n{len(tiff()) + 6:8}\n" + (b"Exif\0\0" + tiff()).hex()
    text = b"Raw profile type exif\0"
    files = {
        "RGB": plain,
        "RGBA": encode(np.concatenate([pixels, alpha], -1), "png", "RGBA"),
        "LA": encode(pixels, "png", "LA"),
        "L": encode(pixels, "png", "L"),
        "1": encode(pixels, "png", "1"),
        "P": encode(pixels, "png", "P"),
        "P with transparency": encode(
            Image.fromarray(pixels).quantize(64), "png",
            transparency=bytes(range(64)),
        ),
        "RGB with a transparent color": encode(
            pixels, "png", transparency=tuple(pixels[3, 3].tolist())
        ),
        "L with a transparent color": encode(
            pixels, "png", "L", transparency=100
        ),
        "eXIf": start + exif + rest,
        "eXIf with its mark": start + chunk(b"eXIf", b"Exif\0\0" + tiff())
        + rest,
        "eXIf big-endian": start + chunk(b"eXIf", tiff(order=">", others=70))
        + rest,
        "eXIf behind the pixels": end[0] + exif + end[1],
        "eXIf named in a text": start + chunk(b"tEXt", b"Comment\0eXIf")
        + rest,
        "eXIf and a text": start
        + chunk(b"tEXt", b"Comment\0eXIf" + tiff(3)) + exif + rest,
        "xmp": start + chunk(b"iTXt", packet) + rest,
        "xmp compressed": start + chunk(b"iTXt", packed) + rest,
        "xmp and eXIf": start + chunk(b"iTXt", packet) + exif + rest,
        "raw profile": start + chunk(b"tEXt", text + profile.encode()) + rest,
        "raw profile compressed": start
        + chunk(b"zTXt", text + b"\0" + zlib.compress(profile.encode()))
        + rest,
        "raw profile and eXIf": start
        + chunk(b"tEXt", text + profile.encode())
        + chunk(b"eXIf", tiff(3)) + rest,
        "gamma": start + chunk(b"gAMA", struct.pack(">I", 100000)) + rest,
        "animated": encode(
            Image.fromarray(pixels), "png", save_all=True,
            append_images=[Image.fromarray(pixels[::-1].copy())],
        ),
        "animated, poster not in it": encode(
            Image.fromarray(pixels), "png", save_all=True, default_image=True,
            append_images=[Image.fromarray(pixels[::-1].copy())] * 2,
        ),
    }  # fmt: skip
    for bits in (1, 2, 4, 8):
        indices = rng.integers(0, 2**bits, (height, width))
        rows = _packed(indices, bits)
        colors = chunk(b"PLTE", palette[: 2**bits].tobytes())
        files[f"gray of {bits} bits"] = _png(bits, 0, rows, width, height)
        files[f"palette of {bits} bits"] = _png(
            bits, 3, rows, width, height, colors
        )
        files[f"palette of {bits} bits with transparency"] = _png(
            bits, 3, rows, width, height, colors, chunk(b"tRNS", b"\0\x80")
        )
    for color, channels in ((2, 3), (4, 2), (6, 4)):
        wide = rng.integers(0, 65536, (height, width * channels))
        rows = [row.astype(">u2").tobytes() for row in wide]
        files[f"16 bits, color {color}"] = _png(16, color, rows, width, height)
    return files


def others() -> dict[str, tuple[bytes, np.ndarray]]:
    """Returns files that Pillow does not write, or reads otherwise.

    Each comes with its pixels.
    """
    pixels = photo()
    height, width, _ = pixels.shape
    rows = []
    for top, left, down, right in ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4),
                                   (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
                                   (1, 0, 2, 1)):  # fmt: skip
        part = pixels[top::down, left::right]
        rows += [row.tobytes() for row in part]
    gray = np.random.default_rng(3).integers(0, 65536, (height, width))
    high = [row.astype(">u2").tobytes() for row in gray]
    upper = np.repeat((gray >> 8).astype(np.uint8)[..., None], 3, axis=-1)
    swapped = b"".join(
        np.pad(row, ((0, 0), (0, 1))).tobytes() for row in pixels[::-1]
    )
    masks = struct.pack("<III", 0xFF, 0xFF00, 0xFF0000)
    return {
        "interlaced PNG": (
            _png(8, 2, rows, width, height, interlace=1), pixels,
        ),
        "gray PNG of 16 bits": (_png(16, 0, high, width, height), upper),
        "BMP with red first": (
            _bmp(32, 3, swapped, width, height, masks=masks), pixels,
        ),
    }  # fmt: skip


def _changed(contents: bytes, at: int, new: bytes) -> bytes:
    return contents[:at] + new + contents[at + len(new) :]


def bombs() -> dict[str, bytes]:
    """Returns small files that declare absurd sizes."""
    pixels = photo()
    files = {}
    for name, progressive in (("jpeg", False), ("progressive jpeg", True)):
        contents = encode(pixels, "jpeg", progressive=progressive)
        at = contents.index(b"\xff\xc2" if progressive else b"\xff\xc0") + 5
        sides = struct.pack(">HH", 65000, 65000)
        files[name] = _changed(contents, at, sides)
        files[f"{name} with exif"] = (
            files[name][:20] + exif_segment() + files[name][20:]
        )
    png = encode(pixels, "png")
    for side in (14000, 60000, 2**31 - 1):
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        files[f"png of {side}"] = png[:8] + chunk(b"IHDR", header) + png[33:]
    bmp = encode(pixels, "bmp")
    for sides in ((60000, 60000), (60000, -60000), (-100, 100)):
        files[f"bmp of {sides}"] = _changed(bmp, 18, struct.pack("<ii", *sides))
    gif = gifs()["P"]
    sides = struct.pack("<HH", 60000, 60000)
    files["gif's screen"] = _changed(gif, 6, sides)
    files["gif's frame"] = _changed(gif, gif.index(b"\x2c\0\0\0\0") + 5, sides)
    kinds = webps()
    three = struct.pack("<I", 59999)[:3]
    files["webp"] = _changed(kinds["lossy"], 26,
                             struct.pack("<HH", 16383, 16383))  # fmt: skip
    files["webp, lossless"] = _changed(kinds["lossless"], 21, b"\xff" * 4)
    files["webp's canvas"] = _changed(kinds["exif"], 24, 2 * three)
    frames = kinds["frames"]
    large = struct.pack("<I", 9999)[:3]
    files["webp's frames"] = _changed(frames, 24, 2 * large)
    return files


def _bmp(bits, compression, rows, width, height, palette=b"", masks=b"",
         colors=0, header=40):  # fmt: skip
    info = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits,
                       compression, len(rows), 0, 0, colors, 0)  # fmt: skip
    info += masks
    at = 14 + len(info) + len(palette)
    return (
        b"BM"
        + struct.pack("<IHHI", at + len(rows), 0, 0, at)
        + info
        + palette
        + rows
    )


def _rows(rows):
    """Returns rows padded to four bytes, the bottom one first."""
    return b"".join(row + bytes(-len(row) % 4) for row in rows[::-1])


def bmps() -> dict[str, bytes]:
    """Returns uncompressed BMPs of all depths."""
    pixels = photo()
    height, width, _ = pixels.shape
    rng = np.random.default_rng(1)
    image = Image.fromarray(pixels)
    bgr = [row[:, ::-1].tobytes() for row in pixels]
    bgrx = [
        np.concatenate([row[:, ::-1], row[:, :1]], -1).tobytes()
        for row in pixels
    ]
    files = {
        "RGB": encode(pixels, "bmp"),
        "L": encode(pixels, "bmp", "L"),
        "1": encode(pixels, "bmp", "1"),
        "P": encode(image.quantize(256), "bmp"),
        "P of few colors": encode(image.quantize(5), "bmp"),
        "RGBA": encode(pixels, "bmp", "RGBA"),
        "32 bits": _bmp(32, 0, _rows(bgrx), width, height),
        "24 bits, top first": _bmp(24, 0, _rows(bgr[::-1]), width, -height),
        "32 bits, top first": _bmp(32, 0, _rows(bgrx[::-1]), width, -height),
        "header of 1990": b"BM" + struct.pack("<IHHI", 0, 0, 0, 26)
        + struct.pack("<IHHHH", 12, width, height, 1, 24) + _rows(bgr),
    }  # fmt: skip
    for bits in (1, 4, 8):
        palette = rng.integers(0, 256, (2**bits, 4), np.uint8).tobytes()
        indices = rng.integers(0, 2**bits, (height, width))
        rows = _packed(indices, bits)
        files[f"{bits} bits"] = _bmp(
            bits, 0, _rows(rows), width, height, palette
        )
        files[f"{bits} bits, top first"] = _bmp(
            bits, 0, _rows(rows[::-1]), width, -height, palette
        )
        files[f"{bits} bits, count of colors"] = _bmp(
            bits, 0, _rows(rows), width, height, palette, colors=2**bits
        )
        short = b"".join(palette[4 * i : 4 * i + 3] for i in range(2**bits))
        files[f"{bits} bits, header of 1990"] = (
            b"BM"
            + struct.pack("<IHHI", 0, 0, 0, 26 + len(short))
            + struct.pack("<IHHHH", 12, width, height, 1, bits)
            + short
            + _rows(rows)
        )
    wide = [row.tobytes() for row in
            rng.integers(0, 65536, (height, width), np.uint16)]  # fmt: skip
    full = [row.tobytes() for row in
            rng.integers(0, 2**32, (height, width), np.uint32)]  # fmt: skip
    files["16 bits"] = _bmp(16, 0, _rows(wide), width, height)
    for name, bits, rows, masks in (
        ("5-6-5", 16, wide, (0xF800, 0x7E0, 0x1F)),
        ("5-5-5", 16, wide, (0x7C00, 0x3E0, 0x1F)),
        ("RGBX", 32, full, (0xFF000000, 0xFF0000, 0xFF00)),
        ("BGRX", 32, full, (0xFF0000, 0xFF00, 0xFF)),
    ):
        stored = struct.pack("<III", *masks)
        files[f"fields {name}"] = _bmp(
            bits, 3, _rows(rows), width, height, masks=stored
        )
        files[f"fields {name}, long header"] = _bmp(
            bits, 3, _rows(rows), width, height,
            masks=(stored + struct.pack("<I", 0)).ljust(84, b"\0"), header=124,
        )  # fmt: skip
    return files


def run_length_bmps() -> dict[str, bytes]:
    """Returns BMPs with run-length codes, of two pixels in two rows."""
    palette = bytes(range(256)) * 4
    codes = b"\2\1\0\0\2\2\0\1"
    return {
        "RLE8": _bmp(8, 1, codes, 2, 2, palette),
        "RLE4": _bmp(4, 2, codes, 2, 2, palette[:64]),
    }


def gifs() -> dict[str, bytes]:
    """Returns GIFs: palettes, transparency, frames that are parts."""
    pixels = photo()
    image = Image.fromarray(pixels).quantize(64)
    other = Image.fromarray(pixels[::-1].copy()).quantize(64)
    return {
        "P": encode(image, "gif"),
        "L": encode(pixels, "gif", "L"),
        "interlaced": encode(image, "gif", interlace=1),
        "not interlaced": encode(image, "gif", interlace=0),
        "transparent": encode(image, "gif", transparency=int(
            np.asarray(image)[3, 3])),
        "frames": encode(image, "gif", save_all=True, append_images=[other]),
    }  # fmt: skip


def partial_gifs() -> dict[str, bytes]:
    """Returns GIFs whose first frame does not fill the screen."""
    pixels = photo(8, 9)
    frame = encode(Image.fromarray(pixels).quantize(4), "gif")
    at = frame.index(b"\x2c", 13 + 12)
    files = {}
    for name, screen, corner in (
        ("first frame below the corner", (12, 14), (2, 3)),
        ("first frame in the corner", (12, 14), (0, 0)),
    ):
        changed = bytearray(frame)
        changed[6:10] = struct.pack("<HH", *screen)
        changed[at + 1 : at + 5] = struct.pack("<HH", *corner)
        files[name] = bytes(changed)
    return files


def webps() -> dict[str, bytes]:
    """Returns WebP files: lossy, lossless, alpha, frames, orientation."""
    pixels = photo()
    rng = np.random.default_rng(2)
    alpha = rng.integers(0, 256, (*pixels.shape[:2], 1), np.uint8)
    alpha[:5] = 0
    layered = np.concatenate([pixels, alpha], -1)
    other = [Image.fromarray(pixels[::-1].copy())]
    exif = encode(pixels, "webp", exif=tiff())
    return {
        "exif that the header does not count": _changed(exif, 20, b"\0"),
        "lossy": encode(pixels, "webp"),
        "lossless": encode(pixels, "webp", lossless=True),
        "lossy with alpha": encode(layered, "webp", "RGBA"),
        "lossless with alpha": encode(layered, "webp", "RGBA", lossless=True),
        "exact alpha": encode(layered, "webp", "RGBA", lossless=True,
                              exact=True),
        "exif": encode(pixels, "webp", exif=b"Exif\0\0" + tiff()),
        "exif without its mark": encode(pixels, "webp", exif=tiff(8)),
        "exif big-endian": encode(
            pixels, "webp", lossless=True, exif=tiff(order=">", others=70)
        ),
        "xmp": encode(pixels, "webp", xmp=xmp(3)),
        "profile": encode(pixels, "webp", icc_profile=b"EXIF" * 9,
                          exif=tiff()),
        "frames": encode(Image.fromarray(pixels), "webp", save_all=True,
                         append_images=other, lossless=True),
        "frames with exif": encode(
            Image.fromarray(pixels), "webp", save_all=True,
            append_images=other, lossless=True, exif=tiff()),
    }  # fmt: skip
