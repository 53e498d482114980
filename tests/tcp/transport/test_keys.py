"""Keys: what is refused, what is warned about, and that they never show."""

from __future__ import annotations

import logging
import traceback

import pytest

from discomputify_core.errors import BadConf
from discomputify_core.model.conf import Conf, Key
from discomputify_tcp.transport import TcpOptions, TcpTransport
from discomputify_tcp.transport.keys import PUBLISHED
from discomputify_testkit.confs import fresh_key, make_conf

#: The example key of the old package, written backwards so that nobody copies it from here.
OLD_EXAMPLE = Key("U3X8fJdHM7VfYhIS1ZE1s0mfQdC1KpZ2"[::-1])


def conf(encryption: str | None, decryption: str | None) -> Conf:
    return make_conf(encryption_key=encryption, decryption_key=decryption)


def test_good_keys_have_no_problems(caplog: pytest.LogCaptureFixture) -> None:
    good = make_conf()
    assert TcpTransport.check(good, TcpOptions()) == []
    assert TcpTransport.check(good, None) == []
    TcpTransport(good)
    assert not caplog.records


@pytest.mark.parametrize(
    ("key", "found"),
    [(None, "nothing"), ("", "0"), ("short", "5"), ("x" * 33, "33"), ("é" * 32, "others")],
)
def test_a_key_is_32_ascii_characters(key: str | None, found: str) -> None:
    (problem,) = TcpTransport.check(conf(fresh_key(), key), TcpOptions())
    assert "expected 32 ASCII characters" in problem
    assert found in problem
    assert problem.endswith(" @ DECRYPTION_KEY")


def test_all_problems_come_at_once() -> None:
    with pytest.raises(BadConf) as caught:
        TcpTransport(conf("abcdefgh", None))
    problems = caught.value.fields["problems"]
    assert [problem.rpartition(" @ ")[2] for problem in problems] == ["ENCRYPTION_KEY", "DECRYPTION_KEY"]
    assert all(problem in str(caught.value) for problem in problems)
    assert caught.value.exit_code == 2


def test_the_published_example_key_is_refused_unless_allowed() -> None:
    published = conf(OLD_EXAMPLE, OLD_EXAMPLE)
    problems = TcpTransport.check(published, TcpOptions())
    assert len(problems) == len(PUBLISHED) + 1 == 2
    assert all("README" in problem and '"tcp": {"allow_published_key": true}' in problem for problem in problems)
    with pytest.raises(BadConf):
        TcpTransport(published, TcpOptions())
    TcpTransport(published, TcpOptions(allow_published_key=True))


def test_a_key_of_few_different_characters_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "discomputify.tcp"):
        TcpTransport(conf("abcdefghi" + "a" * 23, fresh_key()))
    (record,) = caplog.records
    assert "ENCRYPTION_KEY has only 9 different characters" in record.getMessage()


def test_problems_and_errors_do_not_show_the_key() -> None:
    secret = "secret-secret-secret"
    try:
        TcpTransport(conf(secret, secret))
    except BadConf as error:
        shown = "".join(traceback.format_exception(error)) + repr(error.fields)
    assert secret not in shown
    good = make_conf()
    assert str(good.encryption_key) not in repr(vars(TcpTransport(good))["_psk"])
