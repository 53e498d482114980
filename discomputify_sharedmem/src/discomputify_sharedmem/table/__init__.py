"""The table as a value: commands in, answers and wake-ups out; time arrives as an argument. Pure.

Not here: who asks over which connection, and how (service.py, wire.py).
"""

from discomputify_sharedmem.table.scope import Outcome
from discomputify_sharedmem.table.table import Table
from discomputify_sharedmem.table.waiting import Ticket

__all__ = ["Outcome", "Table", "Ticket"]
