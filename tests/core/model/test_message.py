"""The envelope, and that two versions of one message understand each other."""

import attrs
import pytest

from discomputify_core.model import message as messages
from discomputify_core.model.codec import from_plain, to_plain
from discomputify_core.model.ids import AttemptId, ProcessId
from discomputify_core.model.message import Message, RequestId


def test_request_ids_name_a_request_whoever_asks() -> None:
    assert RequestId(b"a", 1) == RequestId(b"a", 1)
    assert len({RequestId(b"a", 1), RequestId(b"a", 2), RequestId(b"b", 1), RequestId(b"a", 1)}) == 3


def test_a_message_wants_no_answer_unless_it_says_so() -> None:
    message = Message("push", [1])
    assert (message.request, message.settled, bytes(message.body)) == (None, 0, b"")


@pytest.mark.parametrize(
    ("old", "kind"),
    [
        ({}, messages.Statuses),
        ({}, messages.JobsAsked),
        ({}, messages.NodesAsked),
        ({"slots": 3}, messages.Nodes),
        ({"process_id": "job"}, messages.AboutJob),
        ({"process_id": "job"}, messages.Watch),
        ({"name": "n", "beat": 2.0}, messages.Joined),
        ({}, messages.Report),
        ({}, messages.Work),
    ],
)
def test_what_an_older_peer_leaves_out_has_a_default(old: object, kind: type) -> None:
    assert to_plain(from_plain(old, kind)) == old


def test_messages_are_values() -> None:
    start = messages.Start(ProcessId("job"), "key", AttemptId("job.1.1.key"), 1, 1)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        start.part = 2  # type: ignore[misc]
