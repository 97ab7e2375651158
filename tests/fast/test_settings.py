from typing import Literal

import pytest
from pydantic import Field

from ulfine_cache.config import StrictConfig
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_fast.method import Method
from ulfine_fast.settings import resolve_settings


class TrySettings(StrictConfig):
    rate: float = Field(default=0.1, gt=0)
    steps: int = 100
    adjust: bool = True
    head: Literal["cosine", "linear"] = "cosine"
    weights: tuple[float, ...] = (1.0,)
    threshold: float | None = 0.7


def not_called(*_):
    raise AssertionError


METHOD = Method(name="try", settings=TrySettings, fit_seeds=not_called, build=not_called)


def test_resolve_settings__defaults():
    assert resolve_settings(METHOD) == TrySettings()


def test_resolve_settings__assignments_are_yaml():
    settings = resolve_settings(
        METHOD,
        assignments=["rate=1e-3", "steps=7", "adjust=false", "head=linear", "weights=[1, 2e-1]", "threshold=null"],
    )
    assert settings == TrySettings(rate=0.001, steps=7, adjust=False, head="linear", weights=(1.0, 0.2), threshold=None)


def test_resolve_settings__whole_numbers_serve_as_floats():
    assert resolve_settings(METHOD, assignments=["rate=2"]).rate == 2.0


def test_resolve_settings__file_then_assignment(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("rate: 0.5\nsteps: 3\n")
    assert resolve_settings(METHOD, file=file, assignments=["steps=4"]) == TrySettings(rate=0.5, steps=4)


def test_resolve_settings__a_runs_config_can_be_handed_back(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("method: try\nseed: 3\nsettings: {rate: 0.5}\n")
    assert resolve_settings(METHOD, file=file).rate == 0.5
    file.write_text("method: other\nsettings: {rate: 0.5}\n")
    with pytest.raises(UsageError, match="method other, not of try"):
        resolve_settings(METHOD, file=file)


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("speed=1", "unknown setting 'speed' of method try: choose one of rate, steps"),
        ("steps", "write it as key=value"),
        ("=3", "write it as key=value"),
        ("steps=1.5", "steps=1.5"),
        ("steps=fast", "steps='fast'"),
        ("rate=0", "greater than 0"),
        ("rate=true", "rate=True"),
        ("head=round", "'cosine' or 'linear'"),
        ("steps=[1", "cannot read the value"),
        ("steps=2020-01-01", "plain numbers"),
    ],
)
def test_resolve_settings__mistakes_are_one_line(assignment, words):
    with pytest.raises(UsageError) as error:
        resolve_settings(METHOD, assignments=[assignment])
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["- 1\n- 2\n", "a: [1", "just words", "1: 2\n", "\x00"])
def test_resolve_settings__file_that_is_no_mapping(tmp_path, content):
    file = tmp_path / "settings.yaml"
    file.write_text(content)
    with pytest.raises(UlfineError) as error:
        resolve_settings(METHOD, file=file)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_resolve_settings__missing_or_empty_file(tmp_path):
    with pytest.raises(UlfineError, match="cannot read the settings file"):
        resolve_settings(METHOD, file=tmp_path / "none.yaml")
    (tmp_path / "empty.yaml").write_text("")
    assert resolve_settings(METHOD, file=tmp_path / "empty.yaml") == TrySettings()
