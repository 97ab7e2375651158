"""The strict configuration that every command and every method derives from."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ulfine_cache.errors import UsageError


class StrictConfig(BaseModel):
    """Frozen pydantic model: unknown keys are refused and nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True)

    @classmethod
    def checked(cls, **values: Any) -> Self:
        """Build the configuration, or say in one line which value is wrong.

        Raises:
            UsageError: A key is unknown or a value has the wrong type or range.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            message = first["msg"][:1].lower() + first["msg"][1:]
            raise UsageError(f"{name}={first['input']!r} cannot be used: {message}") from None
