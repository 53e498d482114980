"""docs/conf.md and docs/cli.md say what the code does: every key, command, option and JSON field."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import click
import pytest

from discomputify_core.cli import doctoring
from discomputify_core.cli.main import COMMANDS, cli
from discomputify_core.client.results import Fetched, Upload
from discomputify_core.errors import DiscomputifyError
from discomputify_core.model.conf import Conf
from discomputify_core.model.conf_fields import Field, conf_fields, expected, fields_of
from discomputify_core.model.job import AttemptReport, JobStatus, PartCounts
from discomputify_core.model.memory import Listing, Row
from discomputify_core.model.message import Sentence
from discomputify_core.model.node import NodeFacts, NodeLoad, NodeStatus
from discomputify_core.plugins.manager import Listed, Plugins
from discomputify_core.plugins.selection import select

DOCS = Path(__file__).resolve().parents[2] / "docs"
#: Heading of a table in docs/cli.md -> what `--json` prints there.
SHAPES = {
    "A job": JobStatus,
    "Counts of parts": PartCounts,
    "A failed attempt": AttemptReport,
    "An upload": Upload,
    "A node": NodeStatus,
    "Load of a node": NodeLoad,
    "Facts of a node": NodeFacts,
    "A sentence": Sentence,
    "A listing": Listing,
    "A row of a listing": Row,
    "A fetch": Fetched,
    "A finding": doctoring.Finding,
    "A plugin": Listed,
}


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """What stands below *heading*, up to the next one."""
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, f"there is no heading {heading!r}"
    return re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """The rows of the tables in *text*, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    stripped = [[cell.strip().replace("\\|", "|") for cell in row] for row in cells]
    breaks = [number for number, row in enumerate(stripped) if set("".join(row)) <= set("-: ")]
    return [row for number, row in enumerate(stripped) if number not in breaks and number + 1 not in breaks]


# --- conf.md ----------------------------------------------------------------------------------------


def described(key: str, field: Field) -> list[str]:
    """The row that docs/conf.md should have for *key*."""
    if isinstance(field.default, bool):
        default = str(field.default).lower()
    elif isinstance(field.default, float):
        default = f"`{field.default:g}`"
    else:
        default = f"`{field.default}`" if field.default else "-"
    return [f"`{key}`", expected(field.type), default, field.doc]


def test_every_key_of_the_conf_is_described() -> None:
    expected_rows = [described(key, field) for key, field in conf_fields().items()]
    assert rows(section(page("conf.md"), "## Every key")) == expected_rows


def test_every_option_of_a_plugin_is_described() -> None:
    text = section(page("conf.md"), "## Sections of plugins")
    plugins = Plugins.load()
    found: dict[str, Field] = {}
    for kind in ("transport", "store", "shared_mem", "scheduler"):
        for name in plugins.names(kind):
            options = getattr(select(plugins, kind, name), "options", None)
            if options is not None and name != "memory":  # the fakes of the testkit have a page of their own
                found |= {f"{name}.{option}": field for option, field in fields_of(options).items()}
    assert rows(text) == [described(key, field) for key, field in found.items()]


def test_the_defaults_that_the_page_names_are_those_of_an_empty_conf() -> None:
    conf = Conf()
    assert (conf.master_port_or_default, conf.query_node_or_default) == (11111, "127.0.0.1")
    assert "`MASTER_PORT`" in page("conf.md")


# --- cli.md -----------------------------------------------------------------------------------------


def commands() -> dict[str, click.Command]:
    """Every command of core, those in groups as `config check`."""
    found: dict[str, click.Command] = {}
    with click.Context(cli) as context:
        for name in COMMANDS:
            command = cli.get_command(context, name)
            assert command is not None
            inner = getattr(command, "commands", {})
            found |= {f"{name} {each}": inner[each] for each in inner}
            if not inner or getattr(command, "invoke_without_command", False):
                found[name] = command
    return found


def option_rows(command: click.Command) -> list[list[str]]:
    """The rows of options that docs/cli.md should have for *command*; ``--conf`` and ``--help`` are everywhere."""
    found = []
    for option in command.params:
        if not isinstance(option, click.Option) or option.expose_value is False:
            continue
        metavar = "" if option.is_flag else option.metavar or _values(option)
        written = ", ".join(f"`{each}`" for each in option.opts[:-1]) + ", " * (len(option.opts) > 1)
        found.append([f"{written}`{f'{option.opts[-1]} {metavar}'.strip()}`", option.help or ""])
    return found


def _values(option: click.Option) -> str:
    return "|".join(option.type.choices) if isinstance(option.type, click.Choice) else option.type.name


@pytest.mark.parametrize("name", commands())
def test_every_command_is_described_with_its_options(name: str) -> None:
    command = commands()[name]
    text = section(page("cli.md"), f"### {name}")
    assert rows(text) == option_rows(command)
    usage = next(line for line in text.splitlines() if line.startswith(f"`discomputify {name}"))
    for argument in command.params:
        if isinstance(argument, click.Argument):
            assert (argument.metavar or str(argument.name).upper()).strip("[]") in usage


def test_no_command_is_described_that_does_not_exist() -> None:
    text = page("cli.md").partition("\n## Commands\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) == set(commands())


@pytest.mark.parametrize("heading", SHAPES)
def test_every_field_of_the_json_is_described(heading: str) -> None:
    named = [row[0].strip("`") for row in rows(section(page("cli.md"), f"### {heading}"))]
    assert named == [field.name for field in attrs.fields(SHAPES[heading])]


def test_every_exit_code_of_an_error_is_in_the_table() -> None:
    codes = {row[0] for row in rows(section(page("cli.md"), "## Exit codes"))}
    assert {str(code) for code in _codes(DiscomputifyError)} <= codes
    assert codes == {"0", "1", "2", "3", "4", "130"}


def _codes(cls: type[DiscomputifyError]) -> set[int]:
    return {cls.exit_code}.union(*map(_codes, cls.__subclasses__()))
