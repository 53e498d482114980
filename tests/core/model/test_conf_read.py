"""Reading a conf: what is taken, and how every mistake is told."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discomputify_core.errors import BadConf, PluginBroke
from discomputify_core.model.conf import Conf, Count, Key, key
from discomputify_core.model.conf_fields import conf_fields
from discomputify_core.model.conf_read import parse, read, with_sections

KEY = "an0ther-Fresh-Key-of-32-letters!"

#: The form of a conf of the published package: the facts of its example, with a key of its own.
OLD: dict[str, Any] = {
    "RECV_BUFFER": 8388608,
    "TRANSMISSION_BUFFER": 1048576,
    "RECV_CHUNK_SIZE": 2097152,
    "TRANSMISSION_CHUNK_SIZE": 2097152,
    "TIMEOUT": 60,
    "DEBUG1": True,
    "DEBUG2": False,
    "ENCRYPTION_KEY": KEY,
    "DECRYPTION_KEY": KEY,
    "INPUT_PATH": "INPUT_PATH",
    "OUTPUT_PATH": "OUTPUT_PATH",
    "FTP_NODE": "127.0.0.4",
    "QUERY_NODE": "127.0.0.5",
    "MASTER_NODE": "127.0.0.6",
    "SHARED_MEM_NODE": "127.0.0.7",
    "COMPUTING_PORT": 11111,
    "FTP_PORT": 11112,
    "QUERY_PORT": 11113,
    "SHARED_MEM_PORT": 11114,
    "COMP_NODE": "127.0.0.2",
    "FTP_BASE_PATH": "COMPUTING_DATA",
    "COMPUTING_NODES": ["127.0.0.1", "127.0.0.2", "127.0.0.3"],
}


@attrs.frozen
class Inner:
    depth: int = 1


class Colour(enum.Enum):
    RED = "red"


@attrs.frozen
class Options:
    weight: float = key(1.0, doc="How much.", most=10)
    mode: Literal["fast", "safe"] = "fast"
    colour: Colour = Colour.RED
    names: Sequence[str] = ()
    limits: Mapping[str, Count] = attrs.field(factory=dict)
    token: str | None = key(None, doc="A secret.", secret=True)
    folder: Path | None = None
    inner: Inner = attrs.field(factory=Inner)


def problems(data: Mapping[str, Any], options: Mapping[str, type | None] | None = None) -> list[str]:
    return [str(each) for each in read(data, options or {}).problems]


def test_a_conf_of_the_published_package_loads_unchanged() -> None:
    reading = read(OLD, {})
    assert (reading.problems, reading.warnings) == ((), ())
    conf = reading.conf
    assert conf.master_port_or_default == 11111
    assert conf.computing_nodes == ("127.0.0.1", "127.0.0.2", "127.0.0.3")
    assert (conf.timeout, conf.debug1, conf.encryption_key) == (60.0, True, KEY)
    assert (conf.transport, conf.store, conf.scheduler, conf.shared_mem) == ("tcp", "ftp", "fifo", None)
    assert reading.given == set(OLD)


def test_an_empty_conf_is_all_defaults() -> None:
    reading = read({}, {})
    assert reading.conf == Conf()
    assert (reading.problems, reading.warnings, reading.given) == ((), (), frozenset())
    assert (Conf().input_path, Conf().output_path, Conf().ftp_base_path) == (
        "INPUT_PATH",
        "OUTPUT_PATH",
        "COMPUTING_DATA",
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MASTER_PORT", "abc", "expected a port (1 to 65535), got 'abc' @ MASTER_PORT"),
        ("MASTER_PORT", "11111", "expected a port (1 to 65535), got '11111' @ MASTER_PORT"),
        ("FTP_PORT", 0, "expected a port (1 to 65535), got 0 @ FTP_PORT"),
        ("FTP_PORT", 65536, "expected a port (1 to 65535), got 65536 @ FTP_PORT"),
        ("FTP_PORT", True, "expected a port (1 to 65535), got true @ FTP_PORT"),
        ("FTP_PORT", None, "expected a port (1 to 65535), got null @ FTP_PORT"),
        ("RECV_BUFFER", 1.5, "expected a number of bytes above 0, got 1.5 @ RECV_BUFFER"),
        ("RECV_BUFFER", 2**40, f"expected at most 2147483647, got {2**40} @ RECV_BUFFER"),
        ("TIMEOUT", 0, "expected seconds, a number above 0, got 0 @ TIMEOUT"),
        ("TIMEOUT", float("nan"), "expected seconds, a number above 0, got nan @ TIMEOUT"),
        ("DEBUG1", 1, "expected true or false, got 1 @ DEBUG1"),
        ("ENCRYPTION_KEY", "short", "expected 32 ASCII characters, got 5 characters @ ENCRYPTION_KEY"),
        (
            "ENCRYPTION_KEY",
            "é" * 32,
            "expected 32 ASCII characters, got 32 characters, not all of them ASCII @ ENCRYPTION_KEY",
        ),
        ("ENCRYPTION_KEY", 5, "expected 32 ASCII characters, got something that is not text @ ENCRYPTION_KEY"),
        ("MASTER_NODE", "", "expected a host name or address, got '' @ MASTER_NODE"),
        ("MASTER_NODE", "127.0.0.300", "expected a host name or address, got '127.0.0.300' @ MASTER_NODE"),
        ("MASTER_NODE", "http://alpha", "expected a host name or address, got 'http://alpha' @ MASTER_NODE"),
        (
            "MASTER_NODE",
            "alpha:80",
            "expected a host name or address without a port (ports have keys of their own), got 'alpha:80' "
            "@ MASTER_NODE",
        ),
        ("COMPUTING_NODES", "alpha", "expected a list (each a host name or address), got 'alpha' @ COMPUTING_NODES"),
        ("COMPUTING_NODES", ["a", 5], "expected a host name or address, got 5 @ COMPUTING_NODES[1]"),
        ("RESOURCES", {"gpu": 0}, "expected a whole number above 0, got 0 @ RESOURCES.gpu"),
        ("SLOTS", -1, "expected a whole number above 0, got -1 @ SLOTS"),
        (
            "INPUT_PATH",
            "../x",
            "expected a folder inside the program directory, got '../x': it goes up with '..' @ INPUT_PATH",
        ),
        (
            "OUTPUT_PATH",
            "/x",
            "expected a folder inside the program directory, got '/x': it is absolute @ OUTPUT_PATH",
        ),
        ("WORK_PATH", " ", "expected a path, got ' ' @ WORK_PATH"),
        ("SCHEDULER", "../x", "expected the name of a plugin, got '../x' @ SCHEDULER"),
        ("tcp", 5, "expected an object of this plugin's options, got 5 @ tcp"),
    ],
)
def test_a_wrong_value_is_told_with_what_is_expected(name: str, value: object, said: str) -> None:
    assert problems({name: value}, {"tcp": Options}) == [said]


def test_every_mistake_is_told_at_once() -> None:
    data = {**OLD, "MASTER_PORT": "abc", "TIMEOUT": -1, "ENCRYPTION_KEY": "x", "tcp": {"weigt": 1, "mode": "slow"}}
    assert set(problems(data, {"tcp": Options})) == {
        "expected a port (1 to 65535), got 'abc' @ MASTER_PORT",
        "unknown option 'weigt'; did you mean 'weight'? @ tcp.weigt",
        "expected one of 'fast', 'safe', got 'slow' @ tcp.mode",
        "expected seconds, a number above 0, got -1 @ TIMEOUT",
        "expected 32 ASCII characters, got 1 character @ ENCRYPTION_KEY",
    }


@pytest.mark.parametrize("host", ["alpha", "alpha.example.org", "10.0.0.1", "::1", "fe80::1%eth0", "my_host", "größe"])
def test_hosts_are_names_or_addresses(host: str) -> None:
    assert read({"MASTER_NODE": host}, {}).conf.master_node == host


def test_brackets_of_an_address_are_taken_off() -> None:
    assert read({"MASTER_NODE": "[::1]"}, {}).conf.master_node == "::1"


def test_paths_in_the_program_folder_may_be_written_as_old_users_did() -> None:
    conf = read({"INPUT_PATH": "./in/", "OUTPUT_PATH": "out/"}, {}).conf
    assert (conf.input_path, conf.output_path) == ("in", "out")


def test_absent_and_null_are_the_same_where_a_key_may_be_absent() -> None:
    assert read({"QUERY_NODE": None, "SLOTS": None}, {}).conf == Conf()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("MASTR_NODE", "unknown key 'MASTR_NODE' is ignored; did you mean 'MASTER_NODE'?"),
        ("master_port", "unknown key 'master_port' is ignored; did you mean 'MASTER_PORT'?"),
        ("tpc", "unknown key 'tpc' is ignored; did you mean 'tcp'?"),
        ("QQQ", "unknown key 'QQQ' is ignored"),
    ],
)
def test_an_unknown_key_is_a_warning(name: str, hint: str) -> None:
    reading = read({name: 5}, {"tcp": Options})
    assert (reading.problems, reading.warnings) == ((), (hint,))


def test_a_section_of_nobody_is_a_warning_and_one_of_an_idle_plugin_is_kept() -> None:
    reading = read({"dashboard": {"x": 1}, "leastload": {"y": 2}}, {}, installed=("leastload",))
    assert reading.warnings == ("the section 'dashboard' is ignored: no plugin of that name is installed here",)
    assert reading.conf.sections == {"leastload": {"y": 2}}


def test_keys_for_editors_are_no_mistake() -> None:
    reading = read({"$schema": "conf.schema.json"}, {})
    assert (reading.problems, reading.warnings) == ((), ())


def test_a_section_becomes_the_plugins_options() -> None:
    data = {
        "weight": 2,
        "mode": "safe",
        "colour": "red",
        "names": ["a"],
        "limits": {"x": 3},
        "token": "s3cret",
        "folder": "/tmp",
        "inner": {"depth": 4},
    }
    reading = read({"tcp": data}, {"tcp": Options})
    assert reading.problems == ()
    assert reading.conf.sections["tcp"] == Options(
        2.0, "safe", Colour.RED, ("a",), {"x": Count(3)}, "s3cret", Path("/tmp"), Inner(4)
    )
    assert {"tcp.weight", "tcp.inner.depth"} <= reading.given
    assert read({}, {"tcp": Options}).conf.sections["tcp"] == Options()


def test_mistakes_in_sections_are_told_with_their_path() -> None:
    data = {"inner": {"dpth": 4}, "limits": {"x": 0}, "token": 5, "names": "a", "weight": 11}
    assert set(problems({"tcp": data}, {"tcp": Options})) == {
        "unknown option 'dpth'; did you mean 'depth'? @ tcp.inner.dpth",
        "expected a whole number above 0, got 0 @ tcp.limits.x",
        "expected text, got something that is not text @ tcp.token",
        "expected a list (each text), got 'a' @ tcp.names",
        "expected at most 10, got 11 @ tcp.weight",
    }


def test_a_plugin_without_options_takes_none() -> None:
    assert problems({"fifo": {}}, {"fifo": None}) == []
    assert problems({"fifo": {"x": 1}}, {"fifo": None}) == [
        "expected nothing: the plugin 'fifo' has no options, got x @ fifo"
    ]


def test_an_option_without_default_has_to_be_given() -> None:
    @attrs.frozen
    class Needs:
        url: str

    assert problems({}, {"needs": Needs}) == ["expected text, but it is missing @ needs.url"]


def test_validators_of_a_plugin_are_mistakes_of_the_user() -> None:
    @attrs.frozen
    class Even:
        number: int = attrs.field(default=2)

        @number.validator
        def _even(self, _: object, value: int) -> None:
            if value % 2:
                raise ValueError("expected an even number")

    assert problems({"even": {"number": 3}}, {"even": Even}) == ["expected an even number @ even"]


def test_an_options_class_that_no_conf_can_hold_names_the_plugin() -> None:
    @attrs.frozen
    class Odd:
        when: complex = 0j

    class Plain:
        pass

    with pytest.raises(PluginBroke, match=r"odd\.when"):
        read({"odd": {"when": 1}}, {"odd": Odd})
    with pytest.raises(PluginBroke, match="not an attrs class"):
        read({}, {"plain": Plain})


def test_inputs_inside_the_outputs_would_never_arrive() -> None:
    for inputs in ("out", "out/in"):
        assert [each.key for each in read({"INPUT_PATH": inputs, "OUTPUT_PATH": "out"}, {}).problems] == ["OUTPUT_PATH"]
    assert problems({"INPUT_PATH": "outer", "OUTPUT_PATH": "out"}) == []


def test_two_services_cannot_share_one_port_of_one_host() -> None:
    assert problems({"FTP_PORT": 4000, "QUERY_PORT": 4000}) == [
        "expected a port of its own, got 4000, which FTP_PORT has on the same host '127.0.0.1' @ QUERY_PORT"
    ]
    assert problems({"FTP_PORT": 4000, "QUERY_PORT": 4000, "QUERY_NODE": "127.0.0.5"}) == []


def test_sections_of_a_conf_made_in_memory() -> None:
    made = with_sections(Conf(sections={"a": Options(weight=3.0), "b": {"weight": 4}}), {"a": Options, "b": Options})
    assert (made.problems, made.conf.sections["a"].weight, made.conf.sections["b"].weight) == ((), 3.0, 4.0)
    assert with_sections(Conf(), {"c": Options}).conf.sections["c"] == Options()
    assert [str(each) for each in with_sections(Conf(sections={"b": {"x": 4}}), {"b": Inner}).problems] == [
        "unknown option 'x'; known are: depth @ b.x"
    ]


def test_keys_are_not_in_what_is_printed() -> None:
    assert KEY not in repr(Conf(encryption_key=Key(KEY), decryption_key=Key(KEY)))


def test_every_key_has_a_meaning() -> None:
    assert all(field.doc.endswith((".", ")")) for field in conf_fields().values())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"A": 1,\n "B": 2,\n}', "line 2, column 8: a comma before the closing bracket"),
        ('{"A": 1\n "B": 2}', "line 2, column 2: expecting ',' delimiter"),
        ('{\n// me\n"A": 1}', "line 2, column 1: a comment, which JSON does not have"),
        ("", "the file is empty"),
        ("[1]", "expected an object {…}, got a list of 1"),
        ('{"A": ' + "9" * 5000 + "}", "is not a conf"),
        ("[" * 100_000, "is not a conf"),
    ],
)
def test_what_is_not_json_is_told_with_its_line(text: str, said: str) -> None:
    with pytest.raises(BadConf) as caught:
        parse(text, "conf.json")
    assert str(caught.value).startswith("conf.json is not a conf")
    assert said in str(caught.value)


def test_a_key_that_is_given_twice_is_a_mistake() -> None:
    data, found = parse('{"A": 1, "A": 2, "tcp": {"B": 1, "B": 1}}', "conf.json")
    assert data["A"] == 2
    assert {str(each) for each in found} == {
        "expected the key once, found it 2 times @ A",
        "expected the key once, found it 2 times @ B",
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*conf_fields(), "tcp", "other"]) | st.text(), JSON, max_size=6))
def test_whatever_a_file_holds_is_told_and_never_raises(data: dict[str, Any]) -> None:
    reading = read(data, {"tcp": Options})
    assert isinstance(reading.conf, Conf)
    assert all(each.text and each.key for each in reading.problems) or "" in data
    for each in (*reading.problems, *reading.warnings):
        str(each)


@pytest.mark.parametrize(("beat", "lease", "good"), [(2, 20, True), (0.5, 1.5, True), (6, 3, False), (2, 5.9, False)])
def test_a_lease_holds_several_signs_of_life(beat: float, lease: float, good: bool) -> None:
    assert [each.key for each in read({"BEAT": beat, "LEASE": lease}, {}).problems] == ([] if good else ["LEASE"])
