"""The strict configuration: parameters of commands, settings of methods, and records that are stored."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ulfine_cache.errors import UsageError

_OUT_OF_CHOICE = {"literal_error", "greater_than", "greater_than_equal", "less_than", "less_than_equal"}
"""Pydantic's names of errors that are mended by choosing another value of the same type."""


class StrictConfig(BaseModel):
    """Frozen pydantic model: unknown keys are refused and nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True)

    @classmethod
    def checked(cls, **values: Any) -> Self:
        """Build the configuration, or say in one line which value is wrong.

        Raises:
            UsageError: A key is unknown or missing, or a value has the wrong type or range.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            raise UsageError(_line(error, cls)) from None


def _line(error: ValidationError, config: type[BaseModel]) -> str:
    """What is wrong with the first wrong value, and what may be given instead."""
    first = error.errors()[0]
    key = str(first["loc"][0])
    if first["type"] == "missing":
        return f"{config.__name__} needs {key}"
    if first["type"] == "extra_forbidden":
        return f"{config.__name__} has no parameter {key!r}: choose {_either(list(config.model_fields))}"
    # Behind the key stand places in lists, and names of the members of a union, which tell a user nothing.
    name = ".".join([key, *(str(place) for place in first["loc"][1:] if isinstance(place, int))])
    kinds = {item["type"] for item in error.errors() if item["loc"][0] == key}
    if kinds & _OUT_OF_CHOICE:
        schema = config.model_json_schema()["properties"][key]
        remedy = f"choose {_either(_choices(schema))}"
    else:
        remedy = first["msg"][:1].lower() + first["msg"][1:]
        remedy = remedy.replace("is not a valid path for <class 'pathlib.Path'>", "should be a path")
    return f"{name}={first['input']!r} cannot be used: {remedy}"


def _choices(schema: dict[str, Any]) -> list[str]:
    """What a JSON schema lets one choose from, in words."""
    if "anyOf" in schema:
        return [choice for member in schema["anyOf"] for choice in _choices(member)]
    if "items" in schema:
        return _choices(schema["items"])
    if "enum" in schema or "const" in schema:
        return [str(word) for word in schema.get("enum", [schema.get("const")])]
    if "minimum" in schema and "maximum" in schema:
        return [f"a number from {_number(schema['minimum'])} to {_number(schema['maximum'])}"]
    words = {
        "minimum": "of at least",
        "exclusiveMinimum": "above",
        "maximum": "of at most",
        "exclusiveMaximum": "below",
    }
    bounds = [f"{word} {_number(schema[bound])}" for bound, word in words.items() if bound in schema]
    return [f"a number {' and '.join(bounds)}"] if bounds else []


def _number(bound: float) -> str:
    """A bound as people write it: pydantic makes the 1 of a float's bound 1.0, or not, by its version."""
    return str(int(bound)) if bound == int(bound) else str(bound)


def _either(words: list[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last
