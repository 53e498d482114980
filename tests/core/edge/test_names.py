"""What a node is called, and names that lead nowhere."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from discomputify_core.edge import names
from discomputify_core.edge.names import Here, check_services, is_loopback, node_name, resolve, this_machine
from discomputify_core.errors import BadInput
from discomputify_core.model.conf import Conf, Host


def here(name: str = "alpha", known: Mapping[str, tuple[str, ...]] | None = None) -> Here:
    hosts: Mapping[str, tuple[str, ...]] = {"localhost": ("127.0.0.1",), **(known or {})}

    def resolved(host: str) -> tuple[str, ...]:
        return (host,) if names.is_address(host) else hosts.get(host, ())

    return Here(name, resolved, lambda: frozenset(("127.0.0.1", "10.0.0.1")))


REMOTE: dict[str, Any] = {"master_node": "10.0.0.9"}


@pytest.mark.parametrize(
    ("keys", "said", "expected"),
    [
        (REMOTE, "chosen", "chosen"),
        ({**REMOTE, "comp_node": "10.0.0.1"}, None, "10.0.0.1"),
        # A conf of one machine: COMP_NODE on loopback is a name like any other.
        ({"master_node": "127.0.0.6", "comp_node": "127.0.0.2"}, None, "127.0.0.2"),
        ({"master_node": "localhost", "comp_node": "127.0.0.2"}, None, "127.0.0.2"),
        # Copied to a cluster of several, it would name them all alike.
        ({**REMOTE, "comp_node": "127.0.0.1"}, None, "alpha"),
        ({**REMOTE, "comp_node": "localhost", "computing_nodes": ("10.0.0.3", "10.0.0.1")}, None, "10.0.0.1"),
        ({**REMOTE, "computing_nodes": ("beta", "ALPHA", "10.0.0.1")}, None, "ALPHA"),
        ({**REMOTE, "computing_nodes": ("beta", "mine")}, None, "mine"),
        ({**REMOTE, "computing_nodes": ("127.0.0.1", "localhost", "10.0.0.1")}, None, "10.0.0.1"),
        ({**REMOTE, "computing_nodes": ("10.0.0.3",)}, None, "alpha"),
        ({"computing_nodes": ("127.0.0.1", "127.0.0.2")}, None, "127.0.0.1"),
        (REMOTE, None, "alpha"),
    ],
)
def test_the_name_of_a_node(keys: dict[str, Any], said: str | None, expected: str) -> None:
    assert node_name(Conf(**keys), here(known={"beta": ("10.0.0.2",), "mine": ("10.0.0.1",)}), said) == expected


def test_a_host_name_that_leads_to_loopback_is_still_a_good_name() -> None:
    machine = here("alpha.example.org", {"alpha": ("127.0.1.1",)})
    assert node_name(Conf(**REMOTE, computing_nodes=(Host("alpha"),)), machine) == "alpha"


def test_a_name_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(BadInput, match="node name"):
        node_name(Conf(), here(), "not a name")


def told(keys: dict[str, Any], **known: tuple[str, ...]) -> tuple[list[str], list[str]]:
    problems, warnings = check_services(Conf(**keys), here(known=known))
    return [str(each) for each in problems], warnings


def test_a_service_whose_name_leads_to_loopback_while_the_master_is_elsewhere() -> None:
    problems, warnings = told({"master_node": "10.0.0.9", "ftp_node": "beta"}, beta=("127.0.1.1",))
    assert problems == [
        "'beta' leads to 127.0.1.1 on this machine, which no other machine reaches, while the master is elsewhere "
        "(10.0.0.9); write the machine's network address instead, or take 'beta' off the line 127.0.1.1 of the hosts "
        "file @ FTP_NODE"
    ]
    assert warnings == []
    problems, _ = told({"master_node": "10.0.0.9", "ftp_node": "10.0.0.9", "query_node": "localhost"})
    assert [each.rpartition(" @ ")[2] for each in problems] == ["QUERY_NODE"]


def test_a_master_whose_name_leads_to_loopback_while_nodes_are_elsewhere() -> None:
    keys = {"master_node": "beta", "ftp_node": "beta", "computing_nodes": ("10.0.0.1", "10.0.0.7")}
    problems, _ = told(keys, beta=("127.0.1.1",))
    assert "COMPUTING_NODES has another machine (10.0.0.7)" in problems[0]
    assert problems[0].endswith("@ MASTER_NODE")


def test_a_name_that_leads_to_loopback_on_its_own_is_a_warning() -> None:
    problems, warnings = told({"master_node": "beta", "ftp_node": "127.0.0.1"}, beta=("127.0.1.1",))
    assert problems == []
    assert len(warnings) == 1
    assert warnings[0].endswith("@ MASTER_NODE")
    assert told({"master_node": "localhost", "ftp_node": "localhost"}) == ([], [])


def test_an_address_on_loopback_was_meant() -> None:
    problems, warnings = told({"master_node": "10.0.0.9"})
    assert problems == []
    assert warnings == [
        "FTP_NODE is 127.0.0.1, which means each machine itself, while the master is elsewhere (10.0.0.9) @ FTP_NODE"
    ]


def test_confs_of_one_machine_and_names_nobody_knows_are_fine() -> None:
    assert told({"master_node": "127.0.0.6", "ftp_node": "127.0.0.4", "query_node": "127.0.0.5"}) == ([], [])
    assert told({"master_node": "nobody", "ftp_node": "nobody"}) == ([], [])


def test_loopback_addresses() -> None:
    assert is_loopback("127.8.9.1")
    assert is_loopback("::1")
    assert not is_loopback("10.0.0.1")
    assert not is_loopback("localhost")


def test_the_systems_resolver() -> None:
    assert "127.0.0.1" in resolve("localhost") or "::1" in resolve("localhost")
    assert resolve("10.0.0.1") == ("10.0.0.1",)
    assert resolve("no such name.invalid") == ()


def test_a_resolver_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def stuck(*_: Any, **__: Any) -> list[Any]:
        release.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    assert resolve("slow.example.org", timeout=0.05) == ()
    machine = this_machine(budget=0.05)
    assert machine.resolve("slow.example.org") == ()
    assert machine.resolve("other.example.org") == ()
    release.set()


def test_this_machine_owns_its_own_name() -> None:
    machine = this_machine()
    assert machine.owns(socket.gethostname())
    assert machine.owns("127.0.0.1")
    assert not machine.owns("192.0.2.77")
