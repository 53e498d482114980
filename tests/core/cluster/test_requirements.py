"""What jobs require of nodes: how it is read, who fits, what is said, and that nobody else gets a part."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discomputify_core.cluster import requirements, why
from discomputify_core.errors import BadInput
from discomputify_core.model import events as ev
from discomputify_core.model.ids import NodeName, ProcessId
from discomputify_core.model.job import JobSpec
from discomputify_core.model.node import NodeFacts

from .test_machine import DIGEST, Driver, facts


def has(python: str = "3.12.4", **packages: str) -> NodeFacts:
    return NodeFacts(NodeName("a"), 1, python=python, packages=packages)


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("numpy>=2", has(numpy="2.1.0")),
        ("numpy", has(numpy="0.1")),
        ("numpy", has(numpy="built at home")),
        ("numpy >= 1, < 2", has(numpy="1.26")),
        ("numpy>=2", has(numpy="2.1rc1")),
        ("Py_YAML>=5", has(**{"py-yaml": "6"})),
        ("py.yaml", has(Py_YAML="6")),
        ("python==3.12", has("3.12.4")),
        ("python==3.12", has("3.12.0+")),
        ("python==3", has("3.12.4")),
        ("Python>=3.10,<3.13", has("3.12.4")),
        ("python~=3.10", has("3.12.4")),
        ("python!=3.11", has("3.12.4")),
    ],
)
def test_a_node_fits(text: str, node: NodeFacts) -> None:
    assert not requirements.lacking(node, (text,))


@pytest.mark.parametrize(
    ("text", "node", "instead"),
    [
        ("numpy>=2", has(numpy="1.26"), "numpy 1.26"),
        ("numpy>=2", has(), "none"),
        ("numpy>=2", has(numpy="built at home"), "numpy built at home"),
        ("python==3.12", has("3.11.9"), "Python 3.11.9"),
        ("python==3.12.1", has("3.12.4"), "Python 3.12.4"),
        ("python!=3.12", has("3.12.4"), "Python 3.12.4"),
        ("python", has(""), "none"),
    ],
)
def test_a_node_does_not_fit(text: str, node: NodeFacts, instead: str) -> None:
    assert requirements.lacking(node, (text,)) == (requirements.Lack(text, instead),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no requirement"),
        ("numpy>>2", "no requirement"),
        ("numpy==", "no requirement"),
        ("-r more.txt", "no requirement"),
        ("numpy[extra]>=2", "extras"),
        ("numpy @ https://example.org/numpy.whl", "nothing is installed"),
        ("numpy>=2; python_version < '3.12'", "after the ';'"),
        ("x" * 501, "at most 500"),
    ],
)
def test_what_is_no_requirement_is_refused_with_a_sentence(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        requirements.parse(text)


def test_a_job_with_a_bad_requirement_is_refused() -> None:
    spec = JobSpec(ProcessId("job"), "k", 1, DIGEST, require=("numpy>=2", "numpy>>3"))
    with pytest.raises(BadInput, match="numpy>>3"):
        Driver().cluster.check_submit(spec)
    with pytest.raises(BadInput, match="1001"):
        requirements.check(["numpy"] * 1001)


@given(st.text(max_size=30))
def test_any_text_is_understood_or_refused(text: str) -> None:
    try:
        found = requirements.parse(text)
    except BadInput:
        return
    assert requirements.canonical(found.name) == found.name
    assert requirements.lacking(has(), (text,)) or found.name == requirements.PYTHON


@given(st.tuples(st.integers(2, 4), st.integers(0, 20), st.integers(0, 20)), st.integers(2, 4), st.integers(0, 20))
def test_two_numbers_of_python_stand_for_all_of_that_release(
    python: tuple[int, int, int], major: int, minor: int
) -> None:
    node = has(".".join(map(str, python)))
    assert bool(requirements.lacking(node, (f"python=={major}.{minor}",))) == (python[:2] != (major, minor))
    assert bool(requirements.lacking(node, (f"python!={major}.{minor}",))) == (python[:2] == (major, minor))


def test_only_nodes_that_fit_get_parts() -> None:
    driver = Driver(facts("a", packages={"numpy": "1.26"}), facts("b", packages={"numpy": "2.0"}), facts("c"))
    driver.submit(6, require=("numpy>=2",))
    assert [start.node for start in driver.starts] == ["b", "b"]
    said = why.why_job(driver.cluster.state, driver.job)
    assert said == (
        "4 parts are ready; waiting for a free slot on b, in use by running parts; "
        "not every node has numpy>=2: a has numpy 1.26, c has none"
    )


def test_why_says_what_no_node_has() -> None:
    driver = Driver(facts("a", packages={"numpy": "1.26"}), facts("b"))
    driver.submit(2, require=("numpy>=2",))
    assert not driver.starts
    said = why.why_job(driver.cluster.state, driver.job)
    assert said == "2 parts are ready; no node has numpy>=2: a has numpy 1.26, b has none"
    driver.do(ev.NodeJoined(facts("b", session="s2", packages={"numpy": "2"})))
    assert [start.node for start in driver.starts] == ["b", "b"]


def test_why_says_what_each_node_lacks() -> None:
    driver = Driver(facts("a", packages={"numpy": "2"}), facts("b", packages={"scipy": "1"}))
    driver.submit(2, require=("numpy", "scipy"))
    assert not driver.starts
    said = why.why_job(driver.cluster.state, driver.job)
    assert said == (
        "2 parts are ready, but no node could ever run one: "
        "a part needs scipy, a has none; a part needs numpy, b has none"
    )


def test_only_a_few_nodes_are_named() -> None:
    driver = Driver(*(facts(f"n{number}") for number in range(8)))
    driver.submit(1, require=("numpy",))
    said = why.why_job(driver.cluster.state, driver.job)
    assert said.endswith("n4 has none (and 3 more nodes)")


def test_parts_that_start_together_start_on_nodes_that_fit() -> None:
    driver = Driver(facts("a", slots=4), facts("b", slots=4, python="3.12.1"))
    driver.submit(5, require=("python==3.12",), together=True)
    assert not driver.starts
    assert "start together" in why.why_job(driver.cluster.state, driver.job)
    driver.do(ev.NodeJoined(facts("c", slots=1, python="3.12.9")))
    assert sorted(start.node for start in driver.starts) == ["b", "b", "b", "b", "c"]
