"""Reading a conf: plain data in, a typed Conf and every mistake out.

Here: which key is what, lists and sections, wording, keys nobody knows. Not here: files, environment, the machine
(edge/conf_file.py), whether a named plugin is installed (plugins/selection.py).

A mistake is a :class:`Problem`: its text says what was expected and what was found, and its key where.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import attrs

from discomputify_core.errors import BadConf
from discomputify_core.model.conf import Conf
from discomputify_core.model.conf_fields import Problem, Values, conf_fields
from discomputify_core.model.conf_kinds import shown

#: Section -> the attrs class that describes it, of each plugin that was loaded; None where it has no options.
Options = Mapping[str, type | None]

#: So many signs of life have to fit into a lease: one of them may be late.
BEATS = 3
#: Keys that say where the services are.
SERVICES = ("FTP_NODE", "QUERY_NODE", "MASTER_NODE", "FTP_PORT", "QUERY_PORT", "MASTER_PORT", "COMPUTING_PORT")


@attrs.frozen
class Reading:
    """What was read. Where there are problems, ``conf`` has defaults in place of the wrong values."""

    conf: Conf
    #: Keys (``MASTER_PORT``) and options (``tcp.NAME``) that the data gave; the others are at their defaults.
    given: frozenset[str] = frozenset()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def wrong(self) -> frozenset[str]:
        """Keys that have a problem."""
        return frozenset(problem.key for problem in self.problems)

    def also(self, problems: Iterable[Problem], warnings: Iterable[str]) -> Reading:
        """This reading with what somebody else found."""
        return attrs.evolve(self, problems=(*self.problems, *problems), warnings=(*self.warnings, *warnings))


def parse(text: str, name: str) -> tuple[dict[str, Any], tuple[Problem, ...]]:
    """The JSON object in *text*, and a problem for each key that it gives twice.

    Raises:
        BadConf: *text*, the content of the file *name*, is not a JSON object; says where it goes wrong.
    """
    problems: list[Problem] = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        data = dict(found)
        for key in data:
            times = sum(1 for name, _ in found if name == key)
            if times > 1:
                problems.append(Problem(key, f"expected the key once, found it {times} times"))
        return data

    try:
        data = json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        raise _not_json(name, _hint(error)) from error
    except RecursionError as error:
        raise _not_json(name, "it is nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits
        raise _not_json(name, str(error)) from error
    if not isinstance(data, dict):
        raise _not_json(name, f"expected an object {{…}}, got {shown(data)}")
    return data, tuple(problems)


def _not_json(name: str, why: str) -> BadConf:
    return BadConf(f"{name} is not a conf: {why}.", path=name, problems=[why])


def _hint(error: json.JSONDecodeError) -> str:
    """The parser's message with its place, in plain words where the usual cause is known."""
    text, at = error.doc, error.pos
    if not text.strip():
        return "the file is empty"
    # Some Pythons point at a comma too many, others at what follows it.
    comma = at if text[at : at + 1] == "," else len(text[:at].rstrip()) - 1
    if text[comma : comma + 1] == "," and text[comma + 1 :].lstrip()[:1] in ("}", "]"):
        return f"{_place(text, comma)}: a comma before the closing bracket, where JSON allows none"
    if text.startswith(("//", "/*", "#"), at):
        return f"{_place(text, at)}: a comment, which JSON does not have"
    return f"{_place(text, at)}: {error.msg[:1].lower()}{error.msg[1:]}"


def _place(text: str, at: int) -> str:
    return f"line {text.count(chr(10), 0, at) + 1}, column {at - text.rfind(chr(10), 0, at)}"


def read(data: Mapping[str, Any], options: Options, installed: Collection[str] = ()) -> Reading:
    """*data* as a conf.

    Args:
        data: the file's content, or any plain data.
        options: the options classes of the plugins that were loaded, by section.
        installed: names of plugins that are installed but were not loaded: their sections are kept as they are.
    """
    values, warnings = Values(), list[str]()
    fields = conf_fields()
    sections: dict[str, Any] = {}
    for key, value in data.items():
        if key in fields:
            values.take(fields[key], value, key)
        elif key in options:
            _section(key, options[key], value, values, sections)
        elif key in installed:
            if isinstance(value, Mapping):
                sections[key] = dict(value)
            else:
                values.problem(key, f"expected an object of this plugin's options, got {shown(value)}")
        elif not key.startswith("$"):  # "$schema" and its like are for editors
            warnings.append(_unknown(key, value, [*fields, *options, *installed]))
    for name in options:
        if name not in data:
            _section(name, options[name], {}, values, sections)
    conf = Conf(**values.arguments, sections=sections)
    between = _between(conf, frozenset(problem.key for problem in values.problems))
    return Reading(conf, frozenset(values.given), (*values.problems, *between), tuple(warnings))


def with_sections(conf: Conf, options: Options) -> Reading:
    """*conf*, made in memory, with the sections of *options* read: given as plain data, as instances or not at all."""
    values, sections = Values(), dict(conf.sections)
    for name, cls in options.items():
        given = conf.sections.get(name, {})
        if cls is None or not isinstance(given, cls):
            _section(name, cls, given, values, sections)
    return Reading(attrs.evolve(conf, sections=sections), frozenset(values.given), tuple(values.problems))


def _section(name: str, described: type | None, value: Any, values: Values, sections: dict[str, Any]) -> None:
    """One plugin's section into *sections*; an unknown key in it is a mistake."""
    if not isinstance(value, Mapping):
        values.problem(name, f"expected an object of this plugin's options, got {shown(value)}")
    elif described is not None:
        sections[name] = values.instance(described, value, name)
    elif value:
        values.problem(name, f"expected nothing: the plugin {name!r} has no options, got {', '.join(value)}")


def _unknown(key: str, value: object, known: Sequence[str]) -> str:
    by_case = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(key.casefold(), by_case, 1)
    if near:
        return f"unknown key {key!r} is ignored; did you mean {by_case[near[0]]!r}?"
    if isinstance(value, Mapping):
        return f"the section {key!r} is ignored: no plugin of that name is installed here"
    return f"unknown key {key!r} is ignored"


def _between(conf: Conf, wrong: frozenset[str]) -> list[Problem]:
    """Mistakes that right values make together; values that are wrong by themselves are left out."""
    found = []
    if wrong.isdisjoint(("INPUT_PATH", "OUTPUT_PATH")) and f"{conf.input_path}/".startswith(f"{conf.output_path}/"):
        found.append(
            Problem(
                "OUTPUT_PATH",
                f"expected a folder that does not hold INPUT_PATH ({conf.input_path!r}), got {conf.output_path!r}: "
                "outputs are never uploaded, so no part would see its inputs",
            )
        )
    if wrong.isdisjoint(("BEAT", "LEASE")) and conf.lease < BEATS * conf.beat:
        found.append(
            Problem(
                "LEASE",
                f"expected at least {BEATS} times BEAT ({conf.beat:g} s), got {conf.lease:g} s: a node that is well "
                "would be given up between two signs of life",
            )
        )
    if not wrong.isdisjoint(SERVICES):
        return found
    taken: dict[tuple[str, int], str] = {}
    for key, host, port in (
        ("FTP_PORT", conf.ftp_node, conf.ftp_port),
        ("QUERY_PORT", conf.query_node_or_default, conf.query_port),
        ("MASTER_PORT", conf.master_node, conf.master_port_or_default),
    ):
        other = taken.setdefault((host, port), key)
        if other != key:
            text = f"expected a port of its own, got {port}, which {other} has on the same host {host!r}"
            found.append(Problem(key, text))
    return found
