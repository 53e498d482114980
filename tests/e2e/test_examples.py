"""The examples through the command line, as their READMEs say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .cluster_kit import Commands

MANDELBROT = Path(__file__).resolve().parents[2] / "examples" / "mandelbrot"


def merge(*arguments: object) -> None:
    command = [sys.executable, "-B", str(MANDELBROT / "merge.py"), *map(str, arguments)]
    subprocess.run(command, capture_output=True, timeout=60, check=True)


def test_mandelbrot_on_this_machine_is_the_serial_picture(commands: Commands) -> None:
    ran = commands.cli("submit", MANDELBROT, "--local", 2, "-n", 8, "--process-id", "mandelbrot", "--out", "out").ok()
    assert "8 of 8 parts done" in ran.out
    out = commands.here / "out" / "mandelbrot"
    assert [path.name for path in sorted(out.glob("mandelbrot_*"))] == [f"mandelbrot_{k}_8" for k in range(1, 9)]
    merge(out, commands.here / "parts.png")
    merge("--serial", commands.here / "serial.png")
    assert (commands.here / "parts.png").read_bytes() == (commands.here / "serial.png").read_bytes()
    assert list(commands.temporary.iterdir()) == []
