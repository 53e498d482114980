"""Values on the command line that are more than text."""

import contextlib
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discomputify_core.cli.values import (
    DurationType,
    IdsType,
    LocalCommand,
    NeedType,
    SizeType,
    VariableType,
    job_and_part,
)
from discomputify_core.errors import BadInput


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1500000", 1_500_000),
        ("2G", 2 * 1024**3),
        ("512M", 512 * 1024**2),
        ("512MiB", 512 * 1024**2),
        ("1.5GB", 1_500_000_000),
        ("1kb", 1000),
        ("10b", 10),
        (" 3T ", 3 * 1024**4),
        ("0.5k", 512),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert SizeType().convert(text, None, None) == size


@pytest.mark.parametrize(
    "text", ["", "G", "-1", "1,5G", "1e9", "1 2", "1P", "0x10", "nan", "9" * 400 + "G", "2000000T"]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(click.BadParameter):
        SizeType().convert(text, None, None)


@given(st.text(max_size=12))
def test_any_text_is_a_size_or_wrong_usage(text: str) -> None:
    for kind in (SizeType(), DurationType(), NeedType(), VariableType()):
        with contextlib.suppress(click.BadParameter):
            kind.convert(text, None, None)


def test_ids_of_jobs() -> None:
    assert IdsType().convert("a", None, None) == ("a",)
    assert IdsType().convert("a, b,c-1.x", None, None) == ("a", "b", "c-1.x")
    assert IdsType().convert((), None, None) == ()


@pytest.mark.parametrize("text", ["", "a,", ",a", "a b", "../x", "a,,b"])
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(BadInput, match="PROCESS_ID"):
        IdsType().convert(text, None, None)


def test_needs() -> None:
    assert NeedType().convert("gpu=2", None, None) == ("gpu", 2)


@pytest.mark.parametrize(
    "text", ["gpu", "gpu=", "=1", "gpu=0", "gpu=-1", "gpu=x", "gpu=1.5", "gpu=²", "gpu=" + "9" * 5000]
)
def test_what_is_no_need(text: str) -> None:
    with pytest.raises(click.BadParameter):
        NeedType().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "pair"), [("A=1", ("A", "1")), ("A=", ("A", "")), ("A=b=c", ("A", "b=c")), ("A= x ", ("A", " x "))]
)
def test_variables(text: str, pair: tuple[str, str]) -> None:
    assert VariableType().convert(text, None, None) == pair


@pytest.mark.parametrize("text", ["A", "=1", "", "A=\x00"])
def test_what_is_no_variable(text: str) -> None:
    with pytest.raises(click.BadParameter):
        VariableType().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("job", ("job", 0)),
        ("job.7", ("job", 7)),
        ("a.b.3", ("a.b", 3)),
        ("job.x", ("job.x", 0)),
        ("12", ("12", 0)),
        ("job.", ("job.", 0)),
        ("job." + "9" * 5000, ("job." + "9" * 5000, 0)),
    ],
)
def test_a_job_and_its_part(text: str, found: tuple[str, int]) -> None:
    assert job_and_part(text) == found


@pytest.mark.parametrize(
    ("args", "local", "folder", "rest"),
    [
        (["DIR"], None, "DIR", ()),
        (["DIR", "--local"], 0, "DIR", ()),
        (["--local", "DIR"], 0, "DIR", ()),
        (["--local", "3", "DIR"], 3, "DIR", ()),
        (["--local=3", "DIR"], 3, "DIR", ()),
        (["DIR", "--local", "--", "--local", "5"], 0, "DIR", ("--local", "5")),
        (["DIR", "--", "--local"], None, "DIR", ("--local",)),
    ],
)
def test_local_may_stand_alone(args: list[str], local: int | None, folder: str, rest: tuple[str, ...]) -> None:
    seen: dict[str, Any] = {}

    @click.command(cls=LocalCommand)
    @click.argument("folder")
    @click.argument("rest", nargs=-1, type=click.UNPROCESSED)
    @click.option("--local", type=click.IntRange(0))
    def command(**values: Any) -> None:
        seen.update(values)

    command.main(args, standalone_mode=False)
    assert seen == {"local": local, "folder": folder, "rest": rest}


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5400), ("2d", 172800), ("0.5", 0.5)]
)
def test_lengths_of_time(text: str, seconds: float) -> None:
    assert DurationType().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "0", "10 weeks", "1e3", "nan", "99999999d"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(click.BadParameter, match="length of time"):
        DurationType().convert(text, None, None)
