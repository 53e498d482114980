"""The blocking client: the methods of :class:`~discomputify_core.client.client.Client`, one thread behind them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from discomputify_core.client.client import Client
from discomputify_core.client.predecessors import Jobs
from discomputify_core.client.results import Cleared, Fetched, Submitted, Upload
from discomputify_core.errors import ChannelClosed
from discomputify_core.interfaces.files import Moved, StoreStatus
from discomputify_core.model.job import AttemptReport, JobStatus, Request
from discomputify_core.model.memory import Listing
from discomputify_core.model.message import MasterInfo, Sentence
from discomputify_core.model.node import NodeStatus

T = TypeVar("T")

#: Seconds for the thread to end.
JOIN = 10.0


class BlockingClient:
    """A client of one cluster for programs without asyncio. A context manager; safe to use from several threads.

    Args:
        conf: path of a discomputify_conf.json; None searches as the command line does.

    Raises:
        BadConf: the conf cannot be used, or there is none.
    """

    def __init__(self, conf: Path | str | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="discomputify-client", daemon=True)
        self._thread.start()
        try:
            self._client = self._run(_made(conf))
        except BaseException:
            # Also when interrupted: no thread is left behind.
            self._end()
            raise

    def __enter__(self) -> BlockingClient:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections. Jobs go on. Idempotent."""
        if self._loop.is_closed():
            return
        try:
            self._run(self._client.close())
        finally:
            self._end()

    def _end(self) -> None:
        """End what still runs in the loop (followed logs, interrupted calls), then the thread."""
        tidied = asyncio.run_coroutine_threadsafe(_tidied(), self._loop)
        tidied.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._loop.stop))
        self._thread.join(JOIN)
        if not self._thread.is_alive():
            self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._loop.is_closed():
            coroutine.close()
            raise ChannelClosed("This client was closed; make a new one.", reason="closed by this side")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            # An interrupt in this thread must end the work in the other.
            future.cancel()
            raise

    def _iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        async def following() -> tuple[T] | None:
            try:
                return (await items.__anext__(),)
            except StopAsyncIteration:
                return None

        while (item := self._run(following())) is not None:
            yield item[0]

    def submit(
        self,
        folder: Path | str,
        parts: int | None = None,
        *,
        process_id: str | None = None,
        request: Request | None = None,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        inputs: str = "all",
        collect: Sequence[str] = (),
        retries: int = 2,
        lost_retries: int = 5,
        time_limit: float = 0.0,
        deadline: float = 0.0,
        memory_limit: int = 0,
        max_failures: int = 0,
        priority: int = 0,
        second_attempts: bool = False,
        require: Sequence[str] = (),
        after: Jobs = (),
        after_any: Jobs = (),
        inputs_from: Jobs = (),
        together: bool = False,
        moved: Moved | None = None,
    ) -> Submitted:
        """See :meth:`Client.submit`."""
        return self._run(
            self._client.submit(
                folder,
                parts,
                process_id=process_id,
                request=request,
                args=args,
                env=env,
                inputs=inputs,
                collect=collect,
                retries=retries,
                lost_retries=lost_retries,
                time_limit=time_limit,
                deadline=deadline,
                memory_limit=memory_limit,
                max_failures=max_failures,
                priority=priority,
                second_attempts=second_attempts,
                require=require,
                after=after,
                after_any=after_any,
                inputs_from=inputs_from,
                together=together,
                moved=moved,
            )
        )

    def resubmit(self, process_id: str, folder: Path | str | None = None, *, moved: Moved | None = None) -> Submitted:
        """See :meth:`Client.resubmit`."""
        return self._run(self._client.resubmit(process_id, folder, moved=moved))

    def upload(self, folder: Path | str, process_id: str, moved: Moved | None = None) -> Upload:
        """See :meth:`Client.upload`."""
        return self._run(self._client.upload(folder, process_id, moved))

    def discard(self, process_id: str) -> None:
        """See :meth:`Client.discard`."""
        self._run(self._client.discard(process_id))

    def start(
        self,
        process_id: str,
        parts: int | None = None,
        *,
        per_node: int = 0,
        request: Request | None = None,
        replace: bool = False,
    ) -> JobStatus:
        """See :meth:`Client.start`."""
        return self._run(self._client.start(process_id, parts, per_node=per_node, request=request, replace=replace))

    def status(self, process_id: str) -> JobStatus:
        """See :meth:`Client.status`."""
        return self._run(self._client.status(process_id))

    def jobs(self) -> tuple[JobStatus, ...]:
        """See :meth:`Client.jobs`."""
        return self._run(self._client.jobs())

    def changes(self, process_id: str, since: int = -1) -> Iterator[JobStatus]:
        """See :meth:`Client.changes`."""
        return self._iterate(self._client.changes(process_id, since))

    def wait(
        self,
        process_id: str,
        timeout: float | None = None,
        changed: Callable[[JobStatus], None] | None = None,
        *,
        check: bool = False,
    ) -> JobStatus:
        """See :meth:`Client.wait`. *changed* is called in the client's own thread."""
        return self._run(self._client.wait(process_id, timeout, changed, check=check))

    def why(self, process_id: str, part: int = 0) -> Sentence:
        """See :meth:`Client.why`."""
        return self._run(self._client.why(process_id, part))

    def memory(self, process_id: str, name: str = "") -> Listing:
        """See :meth:`Client.memory`."""
        return self._run(self._client.memory(process_id, name))

    def attempts(self, process_id: str, part: int) -> tuple[AttemptReport, ...]:
        """See :meth:`Client.attempts`."""
        return self._run(self._client.attempts(process_id, part))

    def nodes(self, packages: bool = False) -> tuple[NodeStatus, ...]:
        """See :meth:`Client.nodes`."""
        return self._run(self._client.nodes(packages))

    def drain(self, node: str, *, undo: bool = False) -> NodeStatus:
        """See :meth:`Client.drain`."""
        return self._run(self._client.drain(node, undo=undo))

    def info(self) -> MasterInfo:
        """See :meth:`Client.info`."""
        return self._run(self._client.info())

    def store_status(self) -> StoreStatus:
        """See :meth:`Client.store_status`."""
        return self._run(self._client.store_status())

    def logs(
        self, process_id: str, part: int, *, attempt: int = 0, stream: str = "out", follow: bool = False
    ) -> Iterator[bytes]:
        """See :meth:`Client.logs`."""
        return self._iterate(self._client.logs(process_id, part, attempt=attempt, stream=stream, follow=follow))

    def stop(self, process_id: str, timeout: float = 10.0) -> JobStatus:
        """See :meth:`Client.stop`."""
        return self._run(self._client.stop(process_id, timeout))

    def fetch(
        self,
        process_id: str,
        out: Path | str = ".",
        part: int | None = None,
        *,
        follow: bool = False,
        moved: Moved | None = None,
        below: str = "",
        logs: bool = True,
    ) -> Fetched:
        """See :meth:`Client.fetch`."""
        return self._run(self._client.fetch(process_id, out, part, follow=follow, moved=moved, below=below, logs=logs))

    def clear(self, process_id: str) -> None:
        """See :meth:`Client.clear`."""
        self._run(self._client.clear(process_id))

    def clear_older(self, seconds: float) -> Cleared:
        """See :meth:`Client.clear_older`."""
        return self._run(self._client.clear_older(seconds))


async def _tidied() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=JOIN / 2)
    loop = asyncio.get_running_loop()
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()


async def _made(conf: Path | str | None) -> Client:
    """Made inside the loop, because its connections belong to it."""
    return Client.from_conf(conf)
