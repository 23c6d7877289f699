"""What `residiff.data.images` does with bad, hostile and unreadable files: one exception tree, no output, no delay."""

import contextlib
import io
import os
import resource
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib

import numpy as np
import pytest
import pyvips
import torch
from PIL import Image

from residiff import files
from residiff.data import images
from residiff.data.images import Format, ImageWarning, Metadata, Picture
from residiff.errors import (
    ImageDecodeError,
    ImageError,
    ImageTooLargeError,
    ImageUnsupportedError,
    ResourceError,
)

FORMATS = ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"]
KINDS = ["cut", "noise", "header", "empty", "text", "swap"]


def photo(seed=0, size=(48, 40)):
    """Smooth colour and a little noise, so that every format has real data to damage."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    base = np.stack([rows * 4, columns * 5, rows + columns], -1) + rng.integers(0, 20, (*size, 3))
    return Image.fromarray(base.clip(0, 255).astype(np.uint8))


def encoded(format, seed=0, **options):
    buffer = io.BytesIO()
    photo(seed).save(buffer, format, **options)
    return buffer.getvalue()


def damaged(format, kind, seed):
    rng = np.random.default_rng([seed, FORMATS.index(format), KINDS.index(kind)])
    data = bytearray(encoded(format, seed))
    if kind == "cut":
        return bytes(data[: rng.integers(12, len(data) - 1)])
    if kind == "noise":
        for place in rng.integers(0, len(data), 8):
            data[place] = rng.integers(256)
        return bytes(data)
    if kind == "header":
        return bytes(data[: rng.integers(2, 34)])
    if kind == "empty":
        return bytes(seed % 2 * 16)
    if kind == "text":
        return [b"<!DOCTYPE html><html>404</html>", b"BMW drives", b"GIF89a is a format", b"II*\0 tiff"][seed % 4]
    return bytes(data[:12]) + encoded(FORMATS[(seed + FORMATS.index(format) + 1) % len(FORMATS)])


def png(width, height, chunks=(), data=b""):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))
    middle = b"".join(chunk(kind, body) for kind, body in chunks)
    return b"\x89PNG\r\n\x1a\n" + header + middle + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


# ---------------------------------------------------------------- corrupt files


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("format", FORMATS)
def test_corrupt_files_decode_or_are_refused(tmp_path, format, kind):
    """Nothing but an `ImageError` escapes, within 2 s, and whatever does decode can be encoded again."""
    for seed in range(17):
        path = tmp_path / f"{seed}.png"  # whatever the contents
        path.write_bytes(damaged(format, kind, seed))
        start = time.process_time()
        with contextlib.suppress(ImageError), warnings.catch_warnings():
            warnings.simplefilter("ignore", ImageWarning)
            images.write(tmp_path / "out" / "x.png", images.read(path))
        assert time.process_time() - start < 2
    if kind in ("header", "empty", "text"):
        assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_many_corrupt_files(format):
    for seed in range(17, 185):
        for kind in KINDS:
            with contextlib.suppress(ImageError), warnings.catch_warnings():
                warnings.simplefilter("ignore", ImageWarning)
                images.encode(images.read(damaged(format, kind, seed)), Format.PNG)


@pytest.mark.parametrize("format", FORMATS)
def test_truncation_is_always_refused(format):
    data = encoded(format)
    for share in (0.3, 0.5, 0.7, 0.9, 0.97):
        with pytest.raises(ImageDecodeError, match="image data: .*get it again"):
            images.read(data[: int(len(data) * share)])


def test_truncated_progressive_and_striped_files_are_refused():
    for data in (
        encoded("JPEG", progressive=True),
        encoded("TIFF", compression="tiff_lzw"),
        encoded("TIFF", compression="jpeg"),
        encoded("WEBP", lossless=True),
    ):
        assert images.read(data).pixels.shape == (3, 48, 40)
        with pytest.raises(ImageDecodeError):
            images.read(data[: len(data) * 3 // 4])


def test_messages_name_the_file_and_the_cause(tmp_path):
    path = tmp_path / "holiday.png"
    path.write_bytes(encoded("PNG")[:200])
    with pytest.raises(ImageDecodeError, match=r"holiday\.png: damaged or cut short \(.*png.*\)") as caught:
        images.read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [OSError, SyntaxError, ValueError, RuntimeError, struct.error, KeyError])
def test_every_exception_of_a_decoder_is_a_decode_error(monkeypatch, error):
    def fail(*_args, **_options):
        raise error("broken")

    monkeypatch.setattr(pyvips.Image, "numpy", fail)
    with pytest.raises(ImageDecodeError, match="broken"):
        images.read(encoded("PNG"))


def test_lack_of_memory_is_not_called_damage(monkeypatch):
    def fail(*_args, **_options):
        raise MemoryError

    monkeypatch.setattr(pyvips.Image, "numpy", fail)
    with pytest.raises(MemoryError):
        images.read(encoded("PNG"))


@pytest.mark.parametrize("exif", [b"II*\0\x08\0\0\0\xff\xff", b"II*\0" + b"\xff" * 40, b"MM\0*" + bytes(256)])
def test_damaged_exif_never_stops_a_write(exif):
    picture = Picture(torch.zeros(3, 8, 8), metadata=Metadata(exif=exif))
    for format in (Format.PNG, Format.JPEG, Format.WEBP, Format.AVIF):
        assert images.read(images.encode(picture, format)).pixels.shape == (3, 8, 8)


# ---------------------------------------------------------------- cut short, and wanted all the same


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_a_hundred_files_that_are_cut_are_refused_or_marked(format):
    """By default each is refused; where what is left is asked for, what can be decoded says that it is not whole."""
    rng, decoded = np.random.default_rng(FORMATS.index(format)), 0
    for seed in range(100):
        data = encoded(format, seed)
        cut = data[: rng.integers(len(data) * 3 // 4, len(data) - 2)]
        with pytest.raises(ImageDecodeError):
            images.read(cut)
        with contextlib.suppress(ImageDecodeError), warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            picture = images.read(cut, allow_truncated=True)
            decoded += 1
            assert not picture.whole and picture.pixels.shape == (3, 48, 40)
            assert any("cut short; the rest of it is restored" in str(each.message) for each in said)
        whole = images.read(data, allow_truncated=True)
        assert whole.whole and torch.equal(whole.pixels, images.read(data).pixels)
    assert decoded == (100 if format == "JPEG" else 0), "a WebP that is cut is nothing to its decoder"


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF"])
def test_the_part_that_is_there_is_kept(format):
    buffer = io.BytesIO()
    photo(size=(300, 200)).save(buffer, format, interlace=0)
    data = buffer.getvalue()
    with pytest.warns(ImageWarning, match="cut short"):
        cut = images.read(data[: len(data) * 2 // 3], allow_truncated=True).pixels
    pixels = images.read(data).pixels
    assert torch.equal(cut[:, :90], pixels[:, :90]) and not torch.equal(cut[:, 90:], pixels[:, 90:])


def test_what_has_nothing_left_is_refused_all_the_same():
    for data in (b"", b"text", encoded("PNG")[:20], encoded("BMP")[:-50]):
        with pytest.raises(ImageError):
            images.read(data, allow_truncated=True)


def test_a_file_that_is_being_written_to_is_refused(tmp_path, monkeypatch):
    path, data = tmp_path / "a.png", encoded("PNG")
    path.write_bytes(data)
    real, calls = os.fstat, []

    def growing(handle):
        calls.append(handle)
        with path.open("ab") as file:
            file.write(b"x")
        return real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", growing)
        with pytest.raises(ImageDecodeError, match="is being written to; restore it when that is done"):
            images.read(path)
    assert len(calls) == 2 and images.read(path).pixels.shape == (3, 48, 40)


@pytest.mark.parametrize("format", FORMATS)
def test_the_size_is_that_of_the_header(tmp_path, format):
    data = encoded(format)
    path = tmp_path / "a.png"
    path.write_bytes(data)
    assert images.size_of(data) == images.size_of(path) == (48, 40)
    path.write_bytes(data[:11])
    with pytest.raises(ImageError):
        images.size_of(path)


def test_the_size_of_a_file_whose_header_comes_late(tmp_path):
    """Of a large file only the beginning is read, unless the header is not in it."""
    path, big = tmp_path / "a.tif", pyvips.Image.black(900, 700, bands=3) + 5
    path.write_bytes(big.cast("uchar").tiffsave_buffer())
    assert path.stat().st_size > 1 << 20 and images.size_of(path) == (700, 900)
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(ImageDecodeError):
        images.size_of(path)


# ---------------------------------------------------------------- kinds that are not read


FOREIGN = {
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n",
    "dos eps": b"\xc5\xd0\xd3\xc6" + bytes(40),
    "pdf": b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\n",
    "svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "wmf": b"\xd7\xcd\xc6\x9a" + bytes(60),
    "emf": b"\x01\0\0\0" + bytes(36) + b" EMF",
    "msp": b"DanM" + bytes(40),
    "ico": b"\0\0\x01\0\x01\0" + bytes(40),
    "ppm": b"P6 2 2 255\n" + bytes(12),
    "psd": b"8BPS\0\x01" + bytes(40),
    "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "jp2": b"\0\0\0\x0cjP  \r\n\x87\n",
    "jxl": b"\xff\x0a" + bytes(20),
    "exr": b"\x76\x2f\x31\x01" + bytes(40),
    "fits": b"SIMPLE  =                    T",
    "hdr": b"#?RADIANCE\n\n-Y 1 +X 1\n",
    "mp4": b"\0\0\0\x18ftypisom\0\0\2\0isomiso2",
    "zip": b"PK\3\4" + bytes(40),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_other_kinds_are_refused_by_content(tmp_path, kind):
    path = tmp_path / "innocent.png"
    path.write_bytes(FOREIGN[kind])
    with pytest.raises(ImageUnsupportedError, match="convert it"):
        images.read(path)


def test_no_other_decoder_and_no_program_is_started(tmp_path):
    """The same files, in a child that may not start programs; libvips blocks its untrusted decoders there."""
    for kind, data in FOREIGN.items():
        (tmp_path / f"{kind}.png").write_bytes(data)
    script = (
        "import sys, pathlib\n"
        "sys.addaudithook(lambda event, args: sys.exit(9) if event in "
        "('subprocess.Popen', 'os.exec', 'os.posix_spawn', 'os.system', 'socket.connect') else None)\n"
        "from residiff.data import images\n"
        "from residiff.errors import ImageUnsupportedError\n"
        "from residiff.data.images.codecs import libvips\n"
        "for path in images.list_images(pathlib.Path(sys.argv[1])):\n"
        "    try:\n"
        "        images.read(path)\n"
        "    except ImageUnsupportedError:\n"
        "        continue\n"
        "    sys.exit(8)\n"
        "try:\n"
        "    libvips().Image.svgload(sys.argv[1] + '/svg.png')\n"
        "except AttributeError:\n"
        "    sys.exit(0)\n"
        "except libvips().Error as error:\n"
        "    sys.exit(0 if 'blocked' in str(error) else 7)\n"
        "sys.exit(6)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_importing_does_not_load_libvips():
    script = "import sys, residiff.data.images; sys.exit('pyvips' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("tag", [0x00FE, 0xC612, 0x828D])
def test_previews_of_raw_files_are_refused(tag):
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    tags = ImageFileDirectory_v2()
    tags[tag] = 1
    if tag != 0x00FE:
        tags.tagtype[tag] = 3
    with pytest.raises(ImageUnsupportedError, match="raw"):
        images.read(encoded("TIFF", tiffinfo=tags))


def test_the_name_does_not_matter(tmp_path):
    for format in FORMATS:
        path = tmp_path / "picture.pdf"
        path.write_bytes(encoded(format))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert images.read(path).pixels.shape == (3, 48, 40)


# ---------------------------------------------------------------- too large, too small


def jpeg_claiming(width, height):
    data = bytearray(encoded("JPEG"))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">2H", height, width)
    return bytes(data)


def gif_claiming(width, height):
    data = bytearray(encoded("GIF"))
    frame = data.index(b"\x2c\0\0\0\0" + data[6:10])
    data[6:10] = data[frame + 5 : frame + 9] = struct.pack("<2H", width, height)
    return bytes(data)


def bmp_claiming(width, height):
    data = bytearray(encoded("BMP"))
    data[18:26] = struct.pack("<2i", width, height)
    return bytes(data)


def tiff_claiming(width, height):
    entries = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (279, 9)]
    body = b"".join(struct.pack("<2H2I", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4)


BOMBS = {
    "png": lambda: png(20000, 20000),
    "png, all zeros": lambda: png(20000, 20000, data=bytes(20_000_000)),
    "jpeg": lambda: jpeg_claiming(65500, 65500),
    "gif": lambda: gif_claiming(65535, 65535),
    "bmp": lambda: bmp_claiming(40000, 40000),
    "tiff": lambda: tiff_claiming(60000, 60000),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_are_refused_by_their_header(kind):
    data = BOMBS[kind]()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    with pytest.raises(ImageTooLargeError, match="--max-pixels"):
        images.read(data)
    assert time.process_time() - start < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def deflated(count):
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1_000_000)) for _ in range(count)) + packer.flush()


def tiff_loop():
    loop = bytearray(encoded("TIFF"))
    (start,) = struct.unpack_from("<I", loop, 4)
    (count,) = struct.unpack_from("<H", loop, start)
    struct.pack_into("<I", loop, start + 2 + 12 * count, start)
    return bytes(loop)


def webp_claiming(width, height):
    data = bytearray(encoded("WEBP"))
    data[26:30] = struct.pack("<2H", width, height)
    return bytes(data)


def avif_claiming(width, height):
    data = bytearray(encoded("AVIF"))
    place = data.index(b"ispe") + 8
    data[place : place + 8] = struct.pack(">2I", width, height)
    return bytes(data)


def gif_of_frames(count):
    """So many frames of one pixel each."""
    head, frame = b"GIF89a\1\0\1\0\x80\0\0" + bytes(6), b"\x2c\0\0\0\0\1\0\1\0\0\2\2\x44\1\0"
    return head + frame * count + b";"


# Files that claim, or unpack to, far more than they hold; those that nothing is wrong with may be read
WORST = {
    "png": BOMBS["png"],
    "png, all zeros": BOMBS["png, all zeros"],
    "jpeg": BOMBS["jpeg"],
    "gif": BOMBS["gif"],
    "bmp": BOMBS["bmp"],
    "tiff": BOMBS["tiff"],
    "webp": lambda: webp_claiming(16383, 16383),
    "avif": lambda: avif_claiming(65535, 65535),
    "tiff loop": tiff_loop,
    "ico": lambda: b"\0\0\1\0\1\0" + bytes([0, 0, 0, 0, 1, 0, 32, 0]) + struct.pack("<2I", 2**31, 22) + bytes(99),
    "a gigabyte of text": lambda: png(2, 2, [(b"zTXt", b"k\0\0" + deflated(1000))], bytes(14)),
    "100,000 frames": lambda: gif_of_frames(100_000),
}
MEASURE = """
import pathlib, resource, sys, time, warnings
from residiff.data import images
from residiff.errors import ImageError
warnings.simplefilter("ignore")
images.read(pathlib.Path(sys.argv[1]))
path = pathlib.Path(sys.argv[2])
memory, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
try:
    said = str(images.read(path).pixels.shape)
except ImageError as error:
    said = type(error).__name__
print(said, time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory, sep="|")
"""


@pytest.mark.parametrize("kind", WORST)
def test_bombs_cost_nothing(tmp_path, kind):
    """Each in a process of its own: at most a second, and 64 MB and the file more than a small picture takes."""
    data = WORST[kind]()
    (tmp_path / "good.png").write_bytes(encoded("PNG"))
    (tmp_path / "bomb.png").write_bytes(data)
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "good.png"), str(tmp_path / "bomb.png")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    said, seconds, memory = done.stdout.split("|")
    assert float(seconds) < 1 and int(memory) < 64 * 1024 + len(data) // 1024, done.stdout + done.stderr
    if kind in BOMBS or kind in ("webp", "avif"):
        assert said in ("ImageTooLargeError", "ImageDecodeError")
    assert len(WORST) == 12


@pytest.mark.parametrize("format", FORMATS)
def test_the_limit_is_exact(format):
    data = encoded(format)
    assert images.read(data, max_pixels=48 * 40).pixels.shape == (3, 48, 40)
    with pytest.raises(ImageTooLargeError, match="40 x 48"):
        images.read(data, max_pixels=48 * 40 - 1)


def test_empty_sizes_are_refused():
    empty = [png(0, 5), png(5, 0), jpeg_claiming(0, 9), jpeg_claiming(9, 0), bmp_claiming(0, 0), tiff_claiming(0, 9)]
    for data in empty:
        with pytest.raises(ImageDecodeError):
            images.read(data)


def test_sizes_that_a_format_cannot_hold_are_refused():
    with pytest.raises(ImageUnsupportedError, match="20000 x 1 pixels as webp .*use png or tiff"):
        images.encode(Picture(torch.zeros(3, 1, 20000)), Format.WEBP)


# ---------------------------------------------------------------- places


def test_things_that_are_no_files_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", tmp_path, tmp_path / "none.png"):
        with pytest.raises(ImageDecodeError, match="no such file"):
            images.read(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_refused(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded("PNG"))
    path.chmod(0)
    with pytest.raises(ImageDecodeError, match="permissions"):
        images.read(path)


def test_a_failing_encoder_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.webp"
    images.write(path, Picture(torch.zeros(3, 4, 4)))
    old = path.read_bytes()
    for bad in (Picture(torch.zeros(3, 1, 20000)), Picture(torch.full((3, 4, 4), float("nan")))):
        with pytest.raises(ImageUnsupportedError):
            images.write(path, bad)
    assert path.read_bytes() == old and os.listdir(tmp_path) == ["a.webp"]


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    images.write(path, Picture(torch.zeros(3, 4, 4)))
    old = path.read_bytes()

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(ResourceError, match="disk is full"):
        images.write(path, Picture(torch.ones(3, 4, 4)))
    assert path.read_bytes() == old and os.listdir(tmp_path) == ["a.png"]


def test_threads_read_the_same_picture():
    data = encoded("PNG")
    expected, seen = images.read(data).pixels, []
    workers = [threading.Thread(target=lambda: seen.append(images.read(data).pixels)) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(seen) == 8 and all(torch.equal(pixels, expected) for pixels in seen)
