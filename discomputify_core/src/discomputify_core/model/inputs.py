"""Which files of a program's tree one part needs in place before it starts. Pure.

``all``: everything. ``lazy``: all but INPUT_PATH, whose files are fetched when first opened. A pattern
such as ``INPUT_PATH/{part}/**``: all but INPUT_PATH, and of that only what matches.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from discomputify_core.errors import BadInput
from discomputify_core.model.files import Entry, Manifest

#: How many parts are looked at, at most, to find the one that needs most; and paths for all of them together.
LOOKED_AT = 1000
PATHS_LOOKED_AT = 2_000_000

_WORDS = re.compile(r"\*\*/|\*\*|\*|\?|\{part\}|\{total\}|[^*?{]+|\{")
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")


def check_inputs(inputs: str, input_path: str) -> str:
    """*inputs* if it is a way to bring inputs that exists.

    Raises:
        BadInput: says what is allowed.
    """
    if inputs in ("all", "lazy") or inputs.startswith(input_path.rstrip("/") + "/"):
        return inputs
    raise BadInput(
        f"--inputs {inputs!r}: allowed are 'all', 'lazy', or a pattern below the inputs folder such as "
        f"'{input_path}/{{part}}/**'."
    )


def check_inputs_from(manifest: Manifest, input_path: str, process_ids: Collection[str]) -> None:
    """See that a program has nothing where the outputs of other jobs are to appear.

    Raises:
        BadInput: it has; names it.
    """
    start, taken = input_path.rstrip("/") + "/", frozenset(process_ids)
    for entry in manifest.entries if taken else ():
        name = entry.path[len(start) :].partition("/")[0] if entry.path.startswith(start) else ""
        if name in taken:
            raise BadInput(
                f"The program has '{start}{name}' itself, where the outputs of the job '{name}' are to appear "
                f"(--inputs-from {name}). Remove or rename it."
            )


def matcher(pattern: str, part: int, total: int) -> re.Pattern[str]:
    """*pattern* for one part: ``{part}`` and ``{total}`` are numbers, ``*`` and ``?`` stay within a
    component, ``**`` crosses them."""
    words = {
        "**/": "(?:.*/)?",
        "**": ".*",
        "*": "[^/]*",
        "?": "[^/]",
        "{part}": str(part),
        "{total}": str(total),
    }
    return re.compile("".join(words.get(word, re.escape(word)) for word in _WORDS.findall(pattern)))


def entries_for(manifest: Manifest, input_path: str, inputs: str, part: int, total: int) -> tuple[Entry, ...]:
    """The entries that *part* needs in place before it starts."""
    if inputs == "all":
        return manifest.entries
    start = input_path.rstrip("/") + "/"
    if inputs == "lazy":
        return tuple(entry for entry in manifest.entries if not entry.path.startswith(start))
    wanted = matcher(inputs, part, total)
    return tuple(
        entry for entry in manifest.entries if not entry.path.startswith(start) or wanted.fullmatch(entry.path)
    )


def size_of(entries: Iterable[Entry]) -> int:
    """Bytes of *entries*, each blob once."""
    return sum({entry.digest: entry.size for entry in entries}.values())


def most_bytes_of_a_part(manifest: Manifest, input_path: str, inputs: str, parts: int) -> int:
    """The most bytes that one part needs in place; of very many parts the first are looked at, a thousand at most."""
    if "{part}" not in inputs:
        return size_of(entries_for(manifest, input_path, inputs, 1, parts))
    looked_at = min(parts, LOOKED_AT, max(PATHS_LOOKED_AT // max(len(manifest.entries), 1), 1))
    return max(size_of(entries_for(manifest, input_path, inputs, part, parts)) for part in range(1, looked_at + 1))


def requirements_in(text: str) -> tuple[str, ...]:
    """Names of the packages in a requirements.txt, in lower case with dashes; options and comments are skipped."""
    names = []
    for line in text.splitlines():
        found = _REQUIREMENT.match(line.partition("#")[0])
        if found:
            names.append(re.sub(r"[-_.]+", "-", found[1]).lower())
    return tuple(dict.fromkeys(names))
