"""The strict configuration that every command and every method derives from."""

from pydantic import BaseModel, ConfigDict


class StrictConfig(BaseModel):
    """Frozen pydantic model: unknown keys are refused and nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True)
