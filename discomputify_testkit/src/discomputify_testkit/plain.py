"""What travels between processes is plain data: here it is made so, by the same packing that real messages use."""

from __future__ import annotations

from typing import Any

import msgpack

from discomputify_core.errors import OurBug


def round_trip(data: Any) -> Any:
    """*data* as a peer would receive it: packed and unpacked, so tuples become lists and nothing is shared.

    Raises:
        OurBug: *data* holds something that cannot travel.
    """
    try:
        return msgpack.unpackb(msgpack.packb(data), strict_map_key=False)
    except (TypeError, ValueError, OverflowError) as error:
        raise OurBug(f"This data cannot travel in a message: {error}. Only plain values can.") from error
