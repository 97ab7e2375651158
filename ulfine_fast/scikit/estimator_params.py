"""The part of the estimator that lets searches vary single settings of a method: ``settings__NAME``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from sklearn.base import BaseEstimator

from ulfine_fast.registry import METHODS, get_method

_PREFIX = "settings__"


class SettingsMixin(BaseEstimator):
    """What `ULFineClassifier` inherits: the settings of its method as parameters of their own."""

    method: str
    settings: Mapping[str, Any] | None

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters, as in scikit-learn.

        Args:
            deep: Add each setting of the method as ``settings__NAME``, defaults included.
        """
        params: dict[str, Any] = super().get_params(deep=deep)
        if deep:
            values = {**self._default_settings(), **(self.settings if isinstance(self.settings, Mapping) else {})}
            params |= {f"{_PREFIX}{name}": value for name, value in values.items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters, as in scikit-learn.

        Args:
            **params: ``settings__NAME`` replaces one setting and leaves the others.

        Raises:
            ValueError: There is no such parameter.

        Example:
            >>> from ulfine_fast import ULFineClassifier
            >>> ULFineClassifier("knn", settings={"folds": 3}).set_params(settings__temperature=0.1).settings
            {'folds': 3, 'temperature': 0.1}
        """
        single = {name: params.pop(name) for name in list(params) if name.startswith(_PREFIX)}
        super().set_params(**params)
        # After the others: which settings there are depends on the method.
        known = self.get_params()
        for name in single:
            if name not in known and self.method in METHODS:
                names = [each.removeprefix(_PREFIX) for each in known if each.startswith(_PREFIX)]
                raise ValueError(
                    f"Invalid parameter {name!r} for method {self.method}: its settings are {', '.join(names)}."
                )
        if single:
            former = self.settings if isinstance(self.settings, Mapping) else {}
            self.settings = {**former, **{name.removeprefix(_PREFIX): value for name, value in single.items()}}
        return self

    def _default_settings(self) -> dict[str, Any]:
        method: Any = self.method
        if not isinstance(method, str) or method not in METHODS:
            return {}  # `fit` says what is wrong with it
        fields = get_method(method).settings.model_fields
        return {name: field.get_default(call_default_factory=True) for name, field in fields.items()}
