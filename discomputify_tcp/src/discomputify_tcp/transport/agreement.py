"""What the two ends say to each other when they do not fit, in sentences for people. Pure.

Not here: when it is noticed (dialling.py, listening.py).
"""

from __future__ import annotations

from discomputify_core.errors import KeysDiffer, Refused, VersionsDiffer
from discomputify_core.interfaces.transport import Address
from discomputify_core.model.message import Hello

UPDATE = "pip install -U discomputify-core discomputify-tcp"


def versions_differ(address: str, ours: Hello, theirs: Hello) -> VersionsDiffer:
    """The two ends are of different major versions."""
    return VersionsDiffer(
        f"{address} runs {_release(theirs)}, this side runs {_release(ours)}. Releases of one major version work "
        f"together: update the older side with '{UPDATE}'.",
        address=address,
        ours=ours.version,
        theirs=theirs.version,
    )


def _release(hello: Hello) -> str:
    # Quoted: what a peer says may hold anything.
    return f"{hello.software[:40]!r} version {hello.version[:40]!r}"


def roles_differ(address: Address, wanted: str, found: str) -> Refused:
    """Another service listens there than the one that was dialled."""
    return Refused(
        f"The service at {address} is {found[:40]!r}, not {wanted!r}, which was dialled. "
        "Check the addresses and ports in discomputify_conf.json.",
        address=str(address),
        wanted=wanted,
        found=found,
    )


def keys_differ(address: Address, what: str) -> KeysDiffer:
    """The service does not take our key; *what* it did."""
    return KeysDiffer(
        f"{address} {what}: most likely the keys differ. Compare ENCRYPTION_KEY and DECRYPTION_KEY in the "
        "discomputify_conf.json of both machines. Else an old service (CYPHER/1) listens there, or it is not a "
        "discomputify port.",
        address=str(address),
    )


def not_ours(address: Address, why: str) -> Refused:
    """Something else than CYPHER/2 answered."""
    return Refused(
        f"What listens at {address} is not a discomputify service of this generation: {why} "
        "Check the addresses and ports in discomputify_conf.json.",
        address=str(address),
    )
