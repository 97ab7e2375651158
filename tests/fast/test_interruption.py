import signal
import subprocess
import sys
import threading

import pytest

from ulfine_fast.interruption import first_interrupt_noted


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def number(request):
    """A signal that raises KeyboardInterrupt, whatever the shell that started the tests made of it."""
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    for each in before:
        signal.signal(each, signal.default_int_handler)
    yield request.param
    for each, handler in before.items():
        signal.signal(each, handler)


def test_first_interrupt_noted__first_is_a_flag_and_the_second_raises(number):
    reached = False
    with pytest.raises(KeyboardInterrupt), first_interrupt_noted() as interruption:
        assert not interruption.requested
        signal.raise_signal(number)
        assert interruption.requested
        reached = True
        signal.raise_signal(number)
    assert reached


def test_first_interrupt_noted__the_other_signal_counts_as_the_second(number):
    other = signal.SIGTERM if number == signal.SIGINT else signal.SIGINT
    with pytest.raises(KeyboardInterrupt), first_interrupt_noted():
        signal.raise_signal(number)
        signal.raise_signal(other)


def test_first_interrupt_noted__handlers_come_back(number):
    with first_interrupt_noted():
        assert signal.getsignal(number) is not signal.default_int_handler
    assert signal.getsignal(number) is signal.default_int_handler
    with pytest.raises(ValueError, match="body"), first_interrupt_noted():
        raise ValueError("body")
    assert signal.getsignal(number) is signal.default_int_handler


def test_first_interrupt_noted__nested(number):
    with first_interrupt_noted() as outer:
        with first_interrupt_noted() as inner:
            signal.raise_signal(number)
        assert (outer.requested, inner.requested) == (False, True)
        signal.raise_signal(number)
        assert outer.requested


def test_first_interrupt_noted__ignored_signals_stay_ignored(number):
    signal.signal(number, signal.SIG_IGN)
    with first_interrupt_noted() as interruption:
        signal.raise_signal(number)
        assert not interruption.requested
        assert signal.getsignal(number) is signal.SIG_IGN


def test_first_interrupt_noted__in_a_thread_nothing_is_heard(number):
    requested, failed = [], []

    def body():
        try:
            with first_interrupt_noted() as interruption:
                requested.append(interruption.requested)
        except ValueError as error:
            failed.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert (requested, failed) == ([False], [])


def test_first_interrupt_noted__a_second_sigterm_kills_a_plain_script():
    code = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_DFL)
from ulfine_fast.interruption import first_interrupt_noted
with first_interrupt_noted() as interruption:
    signal.raise_signal(signal.SIGTERM)
    assert interruption.requested
    signal.raise_signal(signal.SIGTERM)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGTERM
