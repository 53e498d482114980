"""Every exception of discomputify, as one tree that says whose fault it is.

Plain classes without dependencies: parts of jobs import this module, so it must
stay light. Each error carries a sentence for people and its facts as ``fields``
for programs; both travel between machines (:func:`to_wire`, :func:`from_wire`).

::

    DiscomputifyError
    ├── OurBug                      a promise of this library broke: please report it
    ├── UserError          exit 2   something the user can mend: conf, program, arguments
    │   ├── BadConf                 discomputify_conf.json, every mistake at once
    │   ├── BadInput                a wrong argument or program directory
    │   │   ├── BadPath             a path that may not be used
    │   │   ├── FileChanged         a file changed while it was being uploaded
    │   │   └── JobExists           the process id is in use
    │   ├── PluginMissing           a plugin named in the conf is not installed
    │   ├── AddressInUse            a service cannot bind its address
    │   └── DiskError               a disk is full or a folder unwritable (names the path)
    ├── TheirFault         exit 3   a peer or the network
    │   ├── Unreachable             nothing answered at host:port in time
    │   ├── Refused                 the peer answered and said no
    │   │   ├── KeysDiffer
    │   │   ├── VersionsDiffer
    │   │   └── NameTaken           a second live node of one name
    │   ├── PeerBroke               the peer broke the protocol
    │   ├── ChannelClosed           the connection went away
    │   └── PluginBroke             a plugin raised or returned nonsense
    ├── JobError           exit 1
    │   ├── NoSuchJob      exit 2
    │   ├── JobFailed               a job ended failed or stopped
    │   └── JobForgotten            a job that was being watched is not known any more
    ├── StoreError         exit 1
    │   ├── BlobMissing             the store does not hold a blob it was asked for
    │   ├── BlobDamaged             bytes do not have the digest they claim
    │   └── NoSuchTree              no manifest of that name
    ├── ProgramError       exit 1   raised inside a part by discomputify_core.program
    └── SharedMemoryError  exit 1   raised inside a part by program.memory(); each names the entry, lock or round
        ├── NoSharedMemory          the conf names no shared memory
        ├── NoSuchName              nothing is there under that name (a KeyError, too)
        ├── BadName                 a name that is empty, no text or over 256 bytes
        ├── BadValue                a value that is neither JSON-able nor bytes nor a plain array
        ├── WrongKind               the entry is of another kind: no number, no list
        ├── MemoryFull              a value or the job's memory would be over a limit
        ├── LockLost                the lease of a lock ended before it was given back
        ├── TooLate                 something did not come within the time given
        ├── PartGone                a part that is waited for can never come
        ├── RoundsDiffer            parts take part in a round with different things
        ├── RoundForgotten          the result of a round is not kept any more: all parts start again
        ├── AttemptOver             this attempt is over: another one runs, or the job was stopped
        └── MemoryLost              what the memory held is lost: the parts that used it run again
"""

from __future__ import annotations

TYPE_CHECKING = False  # the module typing costs ten milliseconds, which every part would pay
if TYPE_CHECKING:
    from typing import Any, ClassVar

__all__ = [
    "AddressInUse",
    "AttemptOver",
    "BadConf",
    "BadInput",
    "BadName",
    "BadPath",
    "BadProgress",
    "BadValue",
    "BlobDamaged",
    "BlobMissing",
    "CanNotGoUpInDirectory",
    "CanNotOpenFileAtOutputPath",
    "ChannelClosed",
    "DiscomputifyError",
    "DiskError",
    "FileChanged",
    "FileNotFound",
    "FileNotFoundAtInputPath",
    "JobError",
    "JobExists",
    "JobFailed",
    "JobForgotten",
    "KeysDiffer",
    "LockLost",
    "MemoryFull",
    "MemoryLost",
    "NameTaken",
    "NoSharedMemory",
    "NoSuchJob",
    "NoSuchName",
    "NoSuchTree",
    "NotInAPart",
    "OurBug",
    "PartGone",
    "PeerBroke",
    "PluginBroke",
    "PluginMissing",
    "ProgramError",
    "Refused",
    "RoundForgotten",
    "RoundsDiffer",
    "SharedMemoryError",
    "StoreError",
    "StoreFull",
    "TheirFault",
    "TooLate",
    "Unreachable",
    "UserError",
    "VersionsDiffer",
    "WrongKind",
    "from_wire",
    "to_wire",
]


class DiscomputifyError(Exception):
    """Base of all errors of this library.

    Args:
        message: one or two sentences: what is wrong, whose fault, what to do next.
        **fields: the facts of this case (JSON-able), also in ``self.fields``.

    ``exit_code`` is what the command line exits with.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str = "", **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields

    def __str__(self) -> str:
        return self.message or type(self).__name__


class OurBug(DiscomputifyError):
    """A promise of this library broke. Please report it."""


class UserError(DiscomputifyError):
    """Something that the user can mend."""

    exit_code = 2


class BadConf(UserError):
    """The conf cannot be used. ``fields["problems"]`` lists every mistake, one sentence each."""


class BadInput(UserError):
    """A wrong argument or program directory."""


class BadPath(BadInput):
    """A path that may not be used: absolute, with ``..``, a link out of the tree, a device…"""


class FileChanged(BadInput):
    """A file changed while it was being uploaded (``fields["path"]``)."""


class JobExists(BadInput):
    """The process id is in use by another job."""


class PluginMissing(UserError):
    """A plugin named in the conf is not installed."""


class AddressInUse(UserError):
    """A service cannot bind its address: in use, or not an address of this machine."""


class DiskError(UserError):
    """A disk is full or a folder cannot be written (``fields["path"]``)."""


class TheirFault(DiscomputifyError):
    """A peer or the network."""

    exit_code = 3


class Unreachable(TheirFault):
    """Nothing answered in time at the addresses that were tried."""


class Refused(TheirFault):
    """The peer answered and refused."""


class KeysDiffer(Refused):
    """Both ends speak the protocol but hold different keys."""


class VersionsDiffer(Refused):
    """The two ends run versions that do not work together."""


class NameTaken(Refused):
    """A second live computing node asked for a name that is in use."""


class PeerBroke(TheirFault):
    """A peer broke the protocol (``fields["clause"]`` says which rule)."""


class ChannelClosed(TheirFault):
    """The connection went away."""


class PluginBroke(TheirFault):
    """A plugin raised, or returned what its interface forbids (``fields["plugin"]``)."""


class JobError(DiscomputifyError):
    """Base of errors about one job."""


class NoSuchJob(JobError):
    """The cluster knows no job of that id."""

    exit_code = 2


class JobFailed(JobError):
    """A job ended failed or stopped. The message is its reason."""


class JobForgotten(JobError):
    """The master does not know a job any more that it knew a moment ago."""


class StoreError(DiscomputifyError):
    """Base of errors of a file store."""


class BlobMissing(StoreError):
    """The store does not hold a blob (``fields["digests"]``)."""


class BlobDamaged(StoreError):
    """Bytes do not have the digest they claim (``fields["digest"]``)."""


class NoSuchTree(StoreError):
    """The store has no manifest of that name or digest."""


class StoreFull(StoreError):
    """The store's disk is too full to take more."""


class ProgramError(DiscomputifyError):
    """Base of misuse inside a part of a job."""


class NotInAPart(ProgramError):
    """The program API was used outside a part started by discomputify."""


class FileNotFound(ProgramError, FileNotFoundError):
    """No such file."""


class CanNotGoUpInDirectory(ProgramError, ValueError):
    """A path with ``..`` in it, or an absolute one."""


class FileNotFoundAtInputPath(FileNotFound):
    """No such input."""


class CanNotOpenFileAtOutputPath(ProgramError, OSError):
    """An output cannot be opened."""


class BadProgress(ProgramError, ValueError):
    """A progress that is not a number, or a note that is not text."""


class SharedMemoryError(DiscomputifyError):
    """Base of errors of ``program.memory()``."""


class NoSharedMemory(SharedMemoryError):
    """The conf of this part's cluster names no shared memory."""


class NoSuchName(SharedMemoryError, KeyError):
    """Nothing is there under that name (``fields["name"]``)."""

    __str__ = DiscomputifyError.__str__  # KeyError's own shows a repr


class BadName(SharedMemoryError, ValueError):
    """A name that is empty, no text, or longer than 256 bytes."""


class BadValue(SharedMemoryError, TypeError):
    """A value that is neither JSON-able nor bytes nor a plain array."""


class WrongKind(SharedMemoryError, TypeError):
    """The entry is of another kind than this needs (``fields["name"]``)."""


class MemoryFull(SharedMemoryError):
    """A limit would be exceeded, and nothing was changed. ``fields["limit"]`` names the option of the conf."""


class LockLost(SharedMemoryError):
    """The lock is not held any more: its lease ended (``fields["name"]``)."""


class TooLate(SharedMemoryError, TimeoutError):
    """Something did not come within the time given. Of a round, ``fields["parts"]`` lists parts that did not."""


class PartGone(SharedMemoryError):
    """A part that is waited for can never come (``fields["part"]``): it is done, failed, or was stopped."""


class RoundsDiffer(SharedMemoryError, ValueError):
    """Parts take part in the same round with different things: operations, types or shapes."""


class RoundForgotten(SharedMemoryError):
    """A part that runs again came to a round whose result is not kept any more. All parts of the job start again."""


class AttemptOver(SharedMemoryError):
    """The attempt that asks is over: a newer one of its part runs, or its job ended."""


class MemoryLost(SharedMemoryError):
    """What the shared memory held is lost. The parts that used it run again."""


def _tree(cls: type[DiscomputifyError]) -> dict[str, type[DiscomputifyError]]:
    found = {cls.__name__: cls}
    for sub in cls.__subclasses__():
        found.update(_tree(sub))
    return found


def to_wire(error: DiscomputifyError) -> dict[str, Any]:
    """*error* as a plain map: ``kind``, ``message``, ``fields``."""
    return {"kind": type(error).__name__, "message": str(error), "fields": error.fields}


def from_wire(data: Any) -> DiscomputifyError:
    """The error that :func:`to_wire` described; an unknown kind becomes a plain one.

    What a peer says is data: anything malformed becomes :class:`PeerBroke`.
    """
    if not isinstance(data, dict) or not isinstance(data.get("message"), str):
        return PeerBroke("The peer sent an error that cannot be read.", got=repr(data)[:200])
    cls = _tree(DiscomputifyError).get(str(data.get("kind")), DiscomputifyError)
    fields = data.get("fields")
    clean = {str(k): v for k, v in fields.items() if k != "message"} if isinstance(fields, dict) else {}
    return cls(data["message"], **clean)
