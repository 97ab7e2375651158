"""What the estimator refuses, as the ValueError that scikit-learn's callers expect."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from ulfine_cache.errors import UlfineError, UsageError


class UnusableInput(UlfineError, ValueError):
    """An `UlfineError` about X, y, text or the device."""


class UnusableParameter(UsageError, ValueError):
    """A `UsageError` about a parameter of the estimator."""


@contextmanager
def as_value_errors() -> Generator[None]:
    """Raise each `UlfineError` as one that is a ValueError too.

    Raises:
        UnusableParameter: For a `UsageError`.
        UnusableInput: For any other `UlfineError`.
    """
    try:
        yield
    except UsageError as error:
        raise UnusableParameter(str(error)) from error
    except UlfineError as error:
        raise UnusableInput(str(error)) from error
