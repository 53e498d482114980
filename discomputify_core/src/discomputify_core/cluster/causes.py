"""Why an attempt ended, in a sentence, where its node did not say it."""

from __future__ import annotations

from collections.abc import Mapping

from discomputify_core.model.job import End, Outcome

SENTENCES: Mapping[End, str] = {
    End.DONE: "its outputs came with a digest that cannot be read",
    End.EXIT: "its program ended with exit code {code}",
    End.SIGNAL: "its program was killed by signal {code}",
    End.BROKEN: "its node could not run it",
    End.TIME_LIMIT: "it ran for longer than its time limit",
    End.MEMORY_LIMIT: "it used more memory than its limit",
    End.STOPPED: "it was stopped",
    End.RETURNED: "its node stopped as planned",
    End.LOST: "its node was lost",
}


def sentence(outcome: Outcome) -> str:
    """Why the attempt ended, as far as is known."""
    return SENTENCES[outcome.end].format(code=outcome.code)
