"""The section ``"sharedmem"`` of the conf. Nothing else."""

from __future__ import annotations

import attrs

from discomputify_core.model.conf import Count, Seconds, Size, key
from discomputify_core.model.memory import Limits

#: A value has to fit into one message, with what is said of it.
MOST_VALUE = 15 * 1024 * 1024


@attrs.frozen(kw_only=True)
class SharedMemOptions:
    """What a conf may say under ``"sharedmem"``. The limits are those of one job; the service's conf counts."""

    job_bytes: Size = key(Size(256 * 1024 * 1024), doc="Bytes of all entries of a job.")
    job_entries: Count = key(
        Count(100_000), doc="Entries and locks of a job; also values of all of its lists together."
    )
    value_bytes: Size = key(Size(8 * 1024 * 1024), doc="Bytes of one value.", most=MOST_VALUE)
    history_bytes: Size = key(
        Size(64 * 1024 * 1024), doc="Bytes of results of a job's complete rounds, kept for parts that run again."
    )
    history_rounds: Count = key(Count(10_000), doc="Results of a job's complete rounds that are kept.")
    forget_after: Seconds = key(
        Seconds(7 * 24 * 3600.0), doc="Seconds after which what nobody has asked about is freed.", most=31_536_000
    )

    def limits(self) -> Limits:
        """What one scope may hold."""
        return Limits(
            job_bytes=self.job_bytes,
            job_entries=self.job_entries,
            value_bytes=self.value_bytes,
            history_bytes=self.history_bytes,
            history_rounds=self.history_rounds,
        )
