"""One question about shared memory: a value goes along, values come back. The words are those of the agent's protocol
(``roles/node/memory.py`` answers); what programs see of them is shared_memory.py's and collectives.py's business.
"""

from __future__ import annotations

from discomputify_core.errors import MemoryFull
from discomputify_core.program.agent_line import MAX_BODY, exchange
from discomputify_core.program.values import LARGE, Encoded, decode

TYPE_CHECKING = False  # typing's own constant would cost an import
if TYPE_CHECKING:
    from typing import Any


class Reply:
    """What was answered; the fields that are not there have their defaults."""

    __slots__ = ("_body", "_data")

    def __init__(self, data: dict[str, Any], body: bytes | memoryview) -> None:
        self._data = data
        self._body = body

    @property
    def found(self) -> bool:
        """Whether it was there, or was done."""
        return self._data.get("found", True) is True

    @property
    def version(self) -> int:
        """The entry's version."""
        version: int = self._data.get("version", 0)
        return version

    @property
    def number(self) -> Any:
        """A number, a length, or a lock's token."""
        return self._data.get("number", 0)

    @property
    def listed(self) -> bool:
        """Whether the entry is a list."""
        return self._data.get("listed", False) is True

    @property
    def names(self) -> list[str]:
        """Names of entries."""
        names: list[str] = self._data.get("names", [])
        return names

    @property
    def json(self) -> bytes | None:
        """The canonical text of the value, if it is JSON."""
        described = self._data.get("value")
        return bytes(self._body) if described and described["kind"] == "json" else None

    @property
    def has_value(self) -> bool:
        """Whether a value came."""
        return self._data.get("value") is not None

    @property
    def size(self) -> int:
        """Bytes of all values, those of large ones included."""
        values = self._data.get("values", [])
        kept: int = sum(each["meta"]["size"] for each in values if each["kind"] == "ref")
        return len(self._body) + kept

    def value(self) -> Any:
        """The value.

        Raises:
            FileNotFoundError: it is a large one, and was replaced meanwhile.
        """
        return decode(self._data["value"], self._body)

    def values(self) -> list[Any]:
        """The values, in order.

        Raises:
            FileNotFoundError: one of them is a large one, and was removed meanwhile.
        """
        body, at, values = memoryview(self._body), 0, []
        for each in self._data.get("values", []):
            end = at + each.get("size", 0)
            values.append(decode(each, bytes(body[at:end])))  # bytes of its own: where it begins suits any type
            at = end
        return values


def ask(do: str, value: Encoded | None = None, large: int = LARGE, **fields: Any) -> Reply:
    """Ask the node, with *value* if there is one; from *large* bytes on, arrays and bytes are left with the node.

    Raises:
        SharedMemoryError: as the operation says.
        ProgramError: the node does not answer.
    """
    data = {"do": do, **fields}
    if value is None:
        return Reply(*exchange(data))
    if value.size >= large and value.kind != "json":
        data["value"] = _left_with_node(value)
        return Reply(*exchange(data))
    if value.size > MAX_BODY:
        raise MemoryFull(
            f"The value has {value.size} bytes as JSON; at most {MAX_BODY} can be shared. "
            "Share it as bytes or an array, which may be larger, or in several pieces.",
            limit="value_bytes",
            size=value.size,
        )
    data["value"] = {"kind": value.kind, "meta": value.meta}
    return Reply(*exchange(data, value.raw()))


def _left_with_node(value: Encoded) -> dict[str, Any]:
    """A large value, written to a file of the node; what stands for it in shared memory."""
    room, _ = exchange({"do": "reserve", "size": value.size})
    from discomputify_core.program.large import write_file

    write_file(room["path"], value)
    meta = {"id": room["id"], "node": room["node"], "of": value.kind, "size": value.size, **value.meta}
    return {"kind": "ref", "meta": meta}
