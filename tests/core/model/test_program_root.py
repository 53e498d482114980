"""Where the program is in what was uploaded."""

import pytest

from discomputify_core.errors import BadInput
from discomputify_core.model.files import Entry, Manifest
from discomputify_core.model.program_root import program_in, program_root

DIGEST = "blake3:" + "0" * 64


def tree(*paths: str) -> Manifest:
    return Manifest(
        Entry(path[:-1], folder=True) if path.endswith("/") else Entry(path, 1, DIGEST, executable="run" in path)
        for path in paths
    )


@pytest.mark.parametrize(
    ("paths", "root"),
    [
        (["main.py"], ""),
        (["main.py", "a/main.py"], ""),
        (["qwe/main.py", "qwe/lib/main.py", "other/x.py"], "qwe"),
        (["home/me/qwe/main.py", "home/me/qwe/a/b/main.py"], "home/me/qwe"),
        (["zz/main.py", "a/b/main.py"], "zz"),
        (["b/main.py", "a/main.py"], "a"),
        (["a/main.py/x", "a/xmain.py", "b/c/main.py"], "b/c"),
        (["a/main.py/", "b/c/main.py"], "b/c"),
    ],
)
def test_the_root_is_the_nearest_folder_that_holds_main_py(paths: list[str], root: str) -> None:
    assert program_root(tree(*paths)) == root


@pytest.mark.parametrize("paths", [[], ["x.py"], ["a/MAIN.PY", "main.pyc", "xmain.py"], ["main.py/"]])
def test_without_main_py_there_is_no_program(paths: list[str]) -> None:
    with pytest.raises(BadInput, match=r"no main\.py"):
        program_root(tree(*paths))
    with pytest.raises(BadInput, match=r"no main\.py"):
        program_in(tree(*paths))


def test_the_program_is_what_is_below_its_root_without_the_conf_there() -> None:
    uploaded = tree(
        "qwe/main.py",
        "qwe/run.sh",
        "qwe/empty/",
        "qwe/INPUT_PATH/discomputify_conf.json",
        "qwe/discomputify_conf.json",
        "qwert/x.py",
        "y.py",
    )
    found = program_in(uploaded)
    assert [entry.path for entry in found.entries] == [
        "INPUT_PATH/discomputify_conf.json",
        "empty",
        "main.py",
        "run.sh",
    ]
    assert [entry.path for entry in found.entries if entry.executable] == ["run.sh"]


def test_a_program_at_the_top_stays_as_it_is_but_for_the_conf() -> None:
    found = program_in(tree("main.py", "lib/a.py", "discomputify_conf.json"))
    assert [entry.path for entry in found.entries] == ["lib/a.py", "main.py"]
