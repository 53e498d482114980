"""The mandelbrot example: its parts give, joined, what one process gives."""

from __future__ import annotations

import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

RunByHand = Callable[[Path, Path, Path, str, int], None]


def merge(examples: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", str(examples / "mandelbrot" / "merge.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory, examples: Path, run_by_hand: RunByHand) -> Path:
    """Outputs of a job of three parts, and serial.png beside them."""
    folder = tmp_path_factory.mktemp("mandelbrot")
    run_by_hand(examples / "mandelbrot", folder / "INPUT_PATH", folder, "picture", 3)
    assert merge(examples, "--serial", folder / "serial.png").returncode == 0
    return folder


def pixels(png: bytes) -> bytes:
    """The decompressed rows of a PNG that has one IDAT chunk."""
    start = png.index(b"IDAT")
    length = int.from_bytes(png[start - 4 : start], "big")
    return zlib.decompress(png[start + 4 : start + 4 + length])


def test_parts_joined_are_the_serial_picture(rendered: Path, examples: Path) -> None:
    done = merge(examples, rendered / "picture", rendered / "joined.png")
    assert done.returncode == 0, done.stderr
    assert (rendered / "joined.png").read_bytes() == (rendered / "serial.png").read_bytes()


def test_a_missing_part_is_named(rendered: Path, examples: Path, tmp_path: Path) -> None:
    for part in (1, 3):
        target = tmp_path / f"picture_{part}_3" / "tile.pgm"
        target.parent.mkdir()
        target.write_bytes((rendered / "picture" / f"picture_{part}_3" / "tile.pgm").read_bytes())
    done = merge(examples, tmp_path, tmp_path / "joined.png")
    assert done.returncode == 1
    assert "parts [2]" in done.stderr
    assert not (tmp_path / "joined.png").exists()


def test_a_folder_without_tiles_is_refused(examples: Path, tmp_path: Path) -> None:
    done = merge(examples, tmp_path, tmp_path / "joined.png")
    assert done.returncode == 1
    assert str(tmp_path) in done.stderr


def test_the_picture_in_the_docs_is_what_the_example_paints(rendered: Path, examples: Path) -> None:
    shown = pixels((examples.parent / "docs" / "images" / "mandelbrot.png").read_bytes())
    painted = pixels((rendered / "serial.png").read_bytes())
    assert len(shown) == len(painted)
    # Another machine's logarithm may round a pixel to the neighbouring shade.
    different = sum(a != b for a, b in zip(shown, painted, strict=True))
    assert different < len(painted) / 1000


def test_more_parts_than_rows_leave_empty_tiles(examples: Path, run_by_hand: RunByHand, tmp_path: Path) -> None:
    source = (examples / "mandelbrot" / "picture.py").read_text(encoding="utf-8")
    small = re.sub(r"^WIDTH, HEIGHT = .*$", "WIDTH, HEIGHT = 8, 2", source, flags=re.MULTILINE)
    program = tmp_path / "mandelbrot"
    program.mkdir()
    (program / "picture.py").write_text(small, encoding="utf-8")
    for name in ("main.py", "merge.py", "png.py"):
        (program / name).write_bytes((examples / "mandelbrot" / name).read_bytes())
    run_by_hand(program, tmp_path / "INPUT_PATH", tmp_path, "tiny", 3)
    assert (tmp_path / "tiny" / "tiny_3_3" / "tile.pgm").read_bytes() == b"P5 8 0 255\n"
    done = merge(tmp_path, tmp_path / "tiny", tmp_path / "tiny.png")
    assert done.returncode == 0, done.stderr
    assert len(pixels((tmp_path / "tiny.png").read_bytes())) == 2 * (1 + 8)
