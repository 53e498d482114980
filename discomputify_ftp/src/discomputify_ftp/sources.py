"""Who has which blob, and who fetches it from whom: nodes that need the same are not all served by the store.

Whoever asks is sent to a node that has the blob and is least busy with it; else to the store, if it is not busy with
the blob itself; else asked to come again. Each that has it serves others, so a blob reaches n nodes in about log n
rounds. Nothing here has to be true: a node that has the blob no more says so, and bytes are known by their digest.

Pure: time is an argument. Not here: the operations (service.py), the nodes' side (core's roles/node/sharing.py).
"""

from __future__ import annotations

from collections import Counter, OrderedDict

import attrs

from discomputify_core.interfaces.files import Source

#: How many fetch a blob from one source at once.
AT_ONCE = 2
#: Seconds after which who was asked to come again does.
PAUSE = 0.5
#: Bytes per second at which a blob is fetched at least: who takes longer does not count as busy any more.
SLOW = 5e6
#: Seconds that a fetch may take beyond that.
GRACE = 10.0
#: Seconds for which a node is believed to have what it said it has.
KEEP = 3600.0
#: Most blobs that are remembered, and most nodes of each. The store itself stands for those that are not.
MOST_BLOBS, MOST_HOLDERS = 10_000, 1000
#: The store's own address.
STORE = ""


@attrs.define
class _Known:
    """One blob: until when which nodes are believed to have it, and who fetches it from where until when."""

    holders: dict[str, float] = attrs.field(factory=dict)
    busy: dict[str, tuple[str, float]] = attrs.field(factory=dict)

    def forget(self, now: float) -> None:
        """Leave out what is over by *now*."""
        self.holders = {address: until for address, until in self.holders.items() if until > now}
        self.busy = {who: (source, until) for who, (source, until) in self.busy.items() if until > now}


class Sources:
    """What the store knows of the nodes that share blobs."""

    def __init__(self) -> None:
        self._blobs: OrderedDict[str, _Known] = OrderedDict()

    def source(self, digest: str, size: int, who: str, failed: str, now: float) -> Source:
        """Where *who* fetches the blob from; *failed*: where it could not."""
        known = self._known(digest, now)
        known.busy.pop(who, None)
        for address in (who, failed):  # who asks has it no more
            known.holders.pop(address, None)
        loads = Counter(source for source, _ in known.busy.values())
        free = [address for address in known.holders if loads[address] < AT_ONCE]
        if free:
            chosen = min(free, key=lambda address: loads[address])
        elif loads[STORE] < AT_ONCE:
            chosen = STORE
        else:
            return Source(wait=PAUSE)
        known.busy[who] = chosen, now + size / SLOW + GRACE
        return Source(chosen)

    def shares(self, digest: str, who: str, now: float) -> None:
        """*who* has the blob now."""
        known = self._known(digest, now)
        known.busy.pop(who, None)
        if len(known.holders) < MOST_HOLDERS:
            known.holders[who] = now + KEEP

    def _known(self, digest: str, now: float) -> _Known:
        known = self._blobs.setdefault(digest, _Known())
        self._blobs.move_to_end(digest)
        if len(self._blobs) > MOST_BLOBS:
            self._blobs.popitem(last=False)
        known.forget(now)
        return known
