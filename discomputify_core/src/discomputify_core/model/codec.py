"""The one converter between frozen values and plain data (what MessagePack and JSON hold).

Strict: a value of another type is an error, never coerced, since the data comes from files
that people write and from peers. Unknown fields are ignored in messages, so that releases of
one major version work together.
"""

from __future__ import annotations

import enum
from typing import Any, TypeVar

import attrs
import cattrs
from cattrs.gen import make_dict_unstructure_fn

from discomputify_core.errors import PeerBroke

T = TypeVar("T")


def _exactly(kind: type, name: str) -> Any:
    def structure(value: Any, target: Any) -> Any:
        if isinstance(target, type) and issubclass(target, enum.Enum):
            return target(value)
        if type(value) is kind:
            return value
        raise TypeError(f"expected {name}, got {shown(value)}")

    return structure


def _float(value: Any, _: Any) -> float:
    if type(value) in (int, float) and value == value:  # NaN is not a number to compute with
        return float(value)
    raise TypeError(f"expected a number, got {shown(value)}")


def shown(value: Any) -> str:
    """*value* for an error message: its type in the user's words and a short form."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def make_converter() -> cattrs.Converter:
    """A fresh strict converter; plugins that have their own messages use one too."""
    converter = cattrs.Converter(forbid_extra_keys=False)
    converter.register_structure_hook(int, _exactly(int, "a whole number"))
    converter.register_structure_hook(str, _exactly(str, "text"))
    converter.register_structure_hook(bool, _exactly(bool, "true or false"))
    converter.register_structure_hook(bytes, _exactly(bytes, "bytes"))
    converter.register_structure_hook(float, _float)
    converter.register_unstructure_hook_factory(
        attrs.has, lambda cls: make_dict_unstructure_fn(cls, converter, _cattrs_omit_if_default=True)
    )
    return converter


CONVERTER = make_converter()


def to_plain(value: Any) -> Any:
    """*value* (attrs instances, lists, maps…) as plain data; fields at their default are left out."""
    return CONVERTER.unstructure(value)


def from_plain(data: Any, kind: type[T]) -> T:
    """*data* that came from a peer as a *kind*.

    Raises:
        PeerBroke: *data* does not describe one; the message lists every mistake with its path.
    """
    try:
        return CONVERTER.structure(data, kind)
    except Exception as error:  # cattrs raises groups of whatever the hooks and validators raise
        text = "; ".join(cattrs.transform_error(error, path=kind.__name__, format_exception=said))
        raise PeerBroke(f"The peer sent a malformed {kind.__name__}: {text}", clause="message") from error


def said(error: BaseException, kind: type | None) -> str:
    """One structuring error in words."""
    if isinstance(error, KeyError):
        return f"missing {error}"
    if isinstance(error, (TypeError, ValueError)):
        return str(error)
    return f"{type(error).__name__}: {error}"
