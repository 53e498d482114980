"""NumPy arrays as bytes and back: dtype, shape and order are kept. Imports NumPy, so loaded only for an array."""

from __future__ import annotations

import json

import numpy as np

from discomputify_core.errors import BadValue

TYPE_CHECKING = False  # typing's own constant would cost an import
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import NDArray

#: Most characters of a dtype's text.
_LONGEST = 1000
#: Kinds of elements that are what their bytes say, everywhere.
_KINDS = "biufcmMSUV"


def describe(value: NDArray[Any]) -> tuple[NDArray[Any], dict[str, Any]]:
    """*value* as a plain array, and what another process needs to know of it: ``dtype``, ``shape``, ``order``.

    Raises:
        BadValue: it is masked, or its elements are objects.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise BadValue("A masked array cannot be shared: share its data and its mask, or array.filled(...).")
    array = np.asarray(value)
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    return array, {"dtype": _dtype_text(array.dtype), "shape": list(array.shape), "order": order}


def array_of(meta: dict[str, Any], data: bytes | memoryview | Any) -> NDArray[Any]:
    """The array that *meta* describes over *data*, without a copy: it keeps *data*, and is read-only if that is."""
    array: NDArray[Any] = np.ndarray(tuple(meta["shape"]), _dtype(meta["dtype"]), data, order=meta["order"])
    return array


def raw_bytes(array: NDArray[Any], order: str) -> bytes:
    """The elements of *array* in *order*, as a copy: it may change while they are under way."""
    return array.tobytes("F" if order == "F" else "C")


def flat(array: NDArray[Any], order: str) -> memoryview | None:
    """The elements as they lie in memory, without a copy; None where they do not lie side by side in *order*."""
    if order == "F":
        array = array.T
    if not array.flags.c_contiguous:
        return None
    return array.reshape(-1).view(np.uint8).data


def copy_into(room: Any, array: NDArray[Any], order: str) -> None:
    """Copy the elements into *room*, a writable buffer, in *order*."""
    target = np.ndarray(array.shape, array.dtype, room, order="F" if order == "F" else "C")
    np.copyto(target, array)


def same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether both have the same type, shape and bytes."""
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def _dtype_text(dtype: np.dtype[Any]) -> str:
    if dtype.hasobject or dtype.kind not in _KINDS:
        raise BadValue(
            f"An array of dtype {dtype!s:.100} cannot be shared: its elements are Python objects. Give it another "
            "dtype (array.astype(float), astype('U20')…), or share a list: array.tolist()."
        )
    try:
        text = dtype.str if dtype.names is None else json.dumps(dtype.descr, separators=(",", ":"))
        if len(text) <= _LONGEST and _dtype(text) == dtype:
            return text
    except (TypeError, ValueError):  # fields that overlap, or are not in their order
        pass
    raise BadValue(
        f"An array of dtype {dtype!s:.100} cannot be shared: that type has no (short) name that other machines know. "
        "Share it with another dtype; fields with gaps: numpy.lib.recfunctions.repack_fields(array)."
    )


def _dtype(text: str) -> np.dtype[Any]:
    found: np.dtype[Any] = np.dtype(_fields(json.loads(text)) if text.startswith("[") else text)
    return found


def _fields(described: list[Any]) -> list[Any]:
    """Fields as NumPy wants them: JSON has made lists of its tuples."""
    return [
        (
            tuple(name) if isinstance(name, list) else name,
            _fields(kind) if isinstance(kind, list) else kind,
            *(tuple(shape) for shape in more),
        )
        for name, kind, *more in described
    ]


def fold(arrays: Sequence[NDArray[Any]], op: str) -> NDArray[Any]:
    """*arrays* made into one, element by element, from the first to the last."""
    function = {"sum": np.add, "prod": np.multiply, "min": np.minimum, "max": np.maximum}[op]
    result: NDArray[Any] = arrays[0].copy(order="K")
    for array in arrays[1:]:
        function(result, array, out=result)
    return result
