"""The transport ``tcp``: sockets, deadlines and logs around the codecs.

Here: everything asyncio. Not here: what the bytes mean (cypher1/, cypher2/).
"""

from discomputify_tcp.transport.options import TcpOptions
from discomputify_tcp.transport.tcp import TcpTransport

__all__ = ["TcpOptions", "TcpTransport"]
