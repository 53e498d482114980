"""What all parts of a job do together: barrier, gather, broadcast, and reduce, which is made of the two before it.

The node counts the rounds of each name. A part that runs again is given the results of those that are complete.
"""

from __future__ import annotations

from discomputify_core.errors import BadValue, MemoryLost
from discomputify_core.program.agent_line import MAX_BODY
from discomputify_core.program.arguments import name_of, root_of, seconds_of, shown
from discomputify_core.program.asking import Reply, ask
from discomputify_core.program.values import LARGE, Encoded, decode, encode

TYPE_CHECKING = False  # typing's own constant would cost an import
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

#: Bytes of all contributions together up to which every part computes the result by itself.
EVERYWHERE = 64 * 1024
#: Bytes from which an array for reduce is left with the node: only part 1 reads it.
LARGE_SHARE = LARGE // 4
#: Bytes up to which a contribution is never left with the node.
SMALL_SHARE = 4 * 1024

_NAMED = ("sum", "min", "max", "prod")


class Collectives:
    """The part of ``Memory`` in which all parts of the job take part."""

    def __init__(self, part: int, total: int) -> None:
        self._part = part
        self._total = total
        #: Bytes from which arrays and bytes are left with the node: what all give together has to fit into an answer.
        self._share = max(SMALL_SHARE, min(LARGE, MAX_BODY // total))

    def barrier(self, name: str, timeout: float = 600) -> None:
        """Wait until all parts of the job have come here.

        ::

            write_my_share()
            memory.barrier("written")     # from here on, the shares of all parts are there

        The same name can be used again and again: each call is a round of its own.

        Raises:
            TooLate: not all came within *timeout* seconds; ``fields["parts"]`` lists parts that did not.
            PartGone: a part can never come: it is done, has failed, or was stopped.
            RoundForgotten: this part runs again, and what it needs is not kept any more. All parts start again.
        """
        self._meet("barrier", name, timeout, sign="barrier")

    def gather(self, name: str, value: Any, timeout: float = 600) -> list[Any]:
        """What each part has given, in the order of the parts; every part gets it.

        ::

            sizes = memory.gather("sizes", len(rows))     # [12, 9, 14]

        Raises:
            BadValue: the value cannot be shared.
            MemoryFull: the values together are over a limit.
            TooLate, PartGone, RoundsDiffer, RoundForgotten: as for :meth:`barrier`.
        """
        return _values(self._meet("gather", name, timeout, encode(value), sign="gather", large=self._share), name)

    def broadcast(self, name: str, value: Any = None, root: int = 1, timeout: float = 600) -> Any:
        """What part *root* has given; what the others give is not looked at. *root* itself does not wait.

        ::

            weights = memory.broadcast("weights", start() if program.part() == 1 else None)

        Raises:
            BadValue: the value of *root* cannot be shared, or the job has no part *root*.
            MemoryFull: the value is over a limit.
            TooLate, PartGone, RoundsDiffer, RoundForgotten: as for :meth:`barrier`.
        """
        root = root_of(root, self._total)
        mine = encode(value) if root == self._part else None
        return self._spread(name, mine, root, timeout, f"broadcast from part {root}")

    def reduce(self, name: str, value: Any, op: str | Callable[[Any, Any], Any] = "sum", timeout: float = 600) -> Any:
        """The values of all parts made into one, in the order of the parts; every part gets the same.

        ::

            total = memory.reduce("gradient", array)                  # arrays: element by element
            best = memory.reduce("loss", loss, op="min")              # numbers
            words = memory.reduce("words", mine, op=lambda a, b: a + b)

        Args:
            name: each call with it is a round of its own.
            value: a number or an array of numbers; with a function as *op*, anything that can be shared.
            op: "sum", "min", "max", "prod", or a function of two values that gives one; the same in all parts.
            timeout: seconds to wait for the others.

        Raises:
            BadValue: the value is not one that *op* takes.
            RoundsDiffer: the parts disagree about *op*, or about type and shape of the arrays.
            MemoryFull, TooLate, PartGone, RoundForgotten: as for :meth:`gather`.
        """
        mine = encode(value)
        sign = f"reduce {op} {_terms(mine, op)}" if isinstance(op, str) else "reduce by a function"
        if not isinstance(op, str) and not callable(op):
            raise BadValue(f"op is one of {', '.join(_NAMED)}, or a function of two values, not {shown(op)}.")
        # All parts must come to the same decision: arrays with the same sign have the same size.
        by_one = isinstance(op, str) and mine.kind == "array" and self._total * mine.size > EVERYWHERE
        quiet = by_one and self._part != 1
        large = min(LARGE_SHARE, self._share) if by_one else self._share
        reply = self._meet("gather", name, timeout, mine, sign=sign, quiet=quiet, large=large)
        if not isinstance(op, str):
            by_one = reply.size > EVERYWHERE
        if by_one:
            result = _result(reply, name, op) if self._part == 1 else None
            return self._spread(name, result, 1, timeout, sign)
        result = _result(reply, name, op)  # encoded and back, so that it is the same however it was made
        return decode({"kind": result.kind, "meta": result.meta}, result.raw())

    def _spread(self, name: str, mine: Encoded | None, root: int, timeout: float, sign: str) -> Any:
        reply = self._meet("broadcast", name, timeout, mine, sign=sign, root=root)
        try:
            return reply.value()
        except FileNotFoundError as error:
            raise _removed(name) from error

    def _meet(
        self,
        kind: str,
        name: str,
        timeout: float,
        value: Encoded | None = None,
        *,
        sign: str,
        root: int = 1,
        quiet: bool = False,
        large: int = LARGE,
    ) -> Reply:
        fields: dict[str, Any] = {"kind": kind, "name": name_of(name), "wait": seconds_of(timeout, "timeout")}
        fields["sign"] = sign
        if kind == "broadcast":
            fields["root"] = root
        if quiet:
            fields["quiet"] = True
        return ask("meet", value, large, **fields)


def _values(reply: Reply, name: str) -> list[Any]:
    try:
        return reply.values()
    except FileNotFoundError as error:
        raise _removed(name) from error


def _removed(name: str) -> MemoryLost:
    return MemoryLost(
        f"A large value of the round {name!r} was removed before this part had read it, since later ones needed the "
        "room. Raise SHARED_ARRAYS_LIMIT, or let the parts meet more often.",
        name=name,
    )


def _terms(value: Encoded, op: str) -> str:
    """What parts that reduce with *op* have to agree on.

    Raises:
        BadValue: *op* is unknown, or does not take such a value.
    """
    if op not in _NAMED:
        raise BadValue(f"op is one of {', '.join(_NAMED)}, or a function of two values, not {shown(op)}.")
    if value.kind == "json" and value.data[:1] in b"-0123456789":
        return "number"
    if value.kind == "array":
        dtype, shape = value.meta["dtype"], tuple(value.meta["shape"])
        kinds = "biufc" if op in ("min", "max") else "iufc"
        if dtype[0] != "[" and dtype[1] in kinds:
            return f"{dtype} {shape}"
        raise BadValue(
            f"reduce with {op!r} does not take arrays of dtype {dtype}; convert it, or give a function as op."
        )
    raise BadValue(
        f"reduce with {op!r} takes a number or an array of numbers; make a list an array: numpy.array(values). "
        "For anything else give a function of two values as op."
    )


def _result(reply: Reply, name: str, op: str | Callable[[Any, Any], Any]) -> Encoded:
    """What the values of all parts come to.

    Raises:
        BadValue: that cannot be shared: a number that has grown too large, an object that a function has made.
    """
    result = _fold(_values(reply, name), op)
    try:
        return encode(result)
    except BadValue as error:
        raise BadValue(f"What {name!r} comes to cannot be shared. {error}") from None


def _fold(values: Sequence[Any], op: str | Callable[[Any, Any], Any]) -> Any:
    """*values* made into one, from the first to the last."""
    if not isinstance(op, str):
        result = values[0]
        for value in values[1:]:
            result = op(result, value)
        return result
    if not isinstance(values[0], (int, float)):
        from discomputify_core.program.arrays import fold

        return fold(values, op)
    result = values[0]
    for value in values[1:]:  # not sum(): its rounding is not the same in all versions of Python
        if op == "sum":
            result += value
        elif op == "prod":
            result *= value
        else:
            result = min(result, value) if op == "min" else max(result, value)
    return result
