"""What an exported file says about itself: every key of its `metadata_props`, written and read in one place.

The keys and their meaning are specified in `exports/README.md`. No torch: the serving side reads them too.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from ulfine_cache.errors import UlfineError
from ulfine_cache.names.written import readable
from ulfine_cache.wording.counts import amount

if TYPE_CHECKING:
    from ulfine_fast.judging.accepted_rows import Thresholds

FORMAT = 1
"""Version of the file format; a reader refuses files with a higher one."""

InputKind = Literal["features", "pixels", "image"]

ACCEPTED = "accepted"
"""Name of the output, bool (N,), that says whether the largest probability reaches the threshold."""

OUTLIER_SCORE = "outlier_score"
"""Name of the output, float32 (N,), that is above 1 for what is unlike every class."""

VIEWS = ("center", "five-crop")
"""What an ``image`` graph looks at: the centre, or five crops whose logits are averaged."""

_FORMER_KEYS = {"variant": "recipe"}
"""What a key was called in files from before it got its name."""

_REQUIRED = ("ulfine_format", "input", "class_names", "n_features")


@dataclass(frozen=True)
class ExportMetadata:
    """The metadata of one exported file.

    Attributes:
        input: What the graph reads: ``"features"`` float32 (N, D), ``"pixels"`` float32 (N, 3, H, W) or ``"image"``
            uint8 (N, H, W, 3) of any size.
        class_names: The C class names in the order of the output columns.
        n_features: Width D of the CLIP features the classifier was fitted on.
        preprocess: JSON of `ulfine_cache.preprocess.Preprocess`, or ``""`` where the encoder is unknown.
        method: Name of the method that was fitted, such as ``"ulfine"``.
        temperature: What the logits were divided by inside the graph; ``softmax(logits)`` are the probabilities.
        logit_parts: Names of the logits that were fused, such as ``("text", "probe")``.
        model: open_clip name of the encoder, or ``""`` for imported features.
        pretrained: Its pretrained tag or checkpoint.
        weights_hash: Hash of the encoder's weights.
        cache_fingerprint: Fingerprint of the cache the run was fitted on.
        split: Name of the split, ``""`` for the cache's own sets.
        seed: Seed of the fit.
        opset: Version of the ONNX operator set.
        exporter: Which of torch's exporters made the graph, ``"dynamo"`` or ``"torchscript"``; ``"direct"``: none.
        precision: Numeric type of the weights: ``"fp32"``, ``"fp16"`` or ``"int8"``.
        variant: How they were quantised, ``"static"`` or ``"dynamic"``; ``""`` for floats.
        parity_tolerance: Largest difference in probability that was allowed between onnxruntime and torch.
        parity_largest_difference: Largest difference that was seen, rounded up to two digits.
        parity_rows: Number of rows compared.
        parity_source: Where the rows came from, such as ``"test rows"``.
        views: For ``image`` what the graph looks at, one of `VIEWS`; ``""`` otherwise.
        preparation_tolerance: Largest difference in probability that preprocessing inside the graph may make.
        preparation_largest_difference: Largest that was seen, rounded up to two digits.
        preparation_largest_pixel_difference: The largest difference of a pixel's channel, in grey levels of 255.
        labelled_counts: (C,) labelled images that the classifier was fitted on.
        class_prior: (C,) the class prior that the file's answers are for, a share of 1 each; empty in files from before
            it was recorded.
        test_prior: Where that prior comes from: ``"uniform"``, ``"labelled"``, ``"estimate"`` or ``"file"``; ``""``:
            from the fit.
        acceptance_threshold: Confidence from which an answer counts as sure enough; None where none was learnt, and the
            key is missing.
        acceptance_class_thresholds: (C,) that of each class, by the class that is answered; None, and no key, where
            one is for all.
        acceptance_target: The accuracy that this threshold was to reach, or None.
        outlier_known_share: Share of left-out labelled rows whose outlier score is at most 1; None, and no key, where
            the file has no output `OUTLIER_SCORE`.
        reference: JSON of `ulfine_exports.drifting.reference.Reference`, rows of the fit that new ones are compared
            with; None, and no key, where they could not be read.
        ulfine_version: Version of this project that wrote the file.
    """

    input: InputKind
    class_names: tuple[str, ...]
    n_features: int
    preprocess: str = ""
    method: str = ""
    temperature: float = 1.0
    logit_parts: tuple[str, ...] = ()
    model: str = ""
    pretrained: str = ""
    weights_hash: str = ""
    cache_fingerprint: str = ""
    split: str = ""
    seed: int = 0
    opset: int = 0
    exporter: str = ""
    precision: str = "fp32"
    variant: str = ""
    parity_tolerance: float = 0.0
    parity_largest_difference: float = 0.0
    parity_rows: int = 0
    parity_source: str = ""
    views: str = ""
    preparation_tolerance: float = 0.0
    preparation_largest_difference: float = 0.0
    preparation_largest_pixel_difference: float = 0.0
    labelled_counts: tuple[int, ...] = ()
    class_prior: tuple[float, ...] = ()
    test_prior: str = ""
    acceptance_threshold: float | None = None
    acceptance_class_thresholds: tuple[float, ...] | None = None
    acceptance_target: float | None = None
    outlier_known_share: float | None = None
    reference: str | None = None
    ulfine_version: str = ""

    @property
    def thresholds(self) -> "Thresholds | None":
        """Least confidence of an accepted answer: that of each class where there are some, the one for all, or None."""
        return self.acceptance_class_thresholds or self.acceptance_threshold

    def to_props(self) -> dict[str, str]:
        """Give the keys and values for `onnx.helper.set_model_props`, in a fixed order."""
        props = {"ulfine_format": str(FORMAT)}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            props[field.name] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return props

    @classmethod
    def from_props(cls, props: Mapping[str, str], name: str) -> "ExportMetadata":
        """Read the metadata of a file; keys that this version does not know are ignored.

        Args:
            props: The file's `metadata_props`.
            name: The file's name, for the error messages.

        Raises:
            UlfineError: A required key is missing, of a newer format, or does not read as what it should be.
        """
        missing = [key for key in _REQUIRED if key not in props]
        if missing:
            raise UlfineError(
                f"{name} carries no {missing[0]!r} metadata: only files written by `ulfine export` can be used here"
            )
        try:
            if int(props["ulfine_format"]) > FORMAT:
                raise UlfineError(
                    f"{name} has export format {props['ulfine_format']}, newer than {FORMAT}: upgrade ulfine-fast"
                )
            found = {field.name: _key(field.name, props) for field in fields(cls)}
            values: dict[str, Any] = {name: _read(name, props[key]) for name, key in found.items() if key in props}
            metadata = cls(**values)
            metadata._check_names()
            metadata._check_prior()
            metadata._check_thresholds()
        except (ValueError, TypeError, RecursionError) as error:
            raise UlfineError(f"{name} carries damaged metadata ({error}): export it again") from error
        if metadata.input not in get_args(InputKind):
            raise UlfineError(f"{name} has input kind {metadata.input!r}, which this version cannot feed: upgrade it")
        return metadata

    def _check_names(self) -> None:
        # Whoever reads an answer could not tell them apart.
        if len(set(self.class_names)) < len(self.class_names):
            name, count = Counter(self.class_names).most_common(1)[0]
            raise ValueError(f"{amount(count, 'class')} are called {name!r}")

    def _check_prior(self) -> None:
        for name in _NUMBERS:
            numbers = getattr(self, name)
            if len(numbers) not in (0, len(self.class_names)):
                raise ValueError(
                    f"{name} are {amount(len(numbers), 'number')} for {amount(len(self.class_names), 'class')}"
                )
        if self.class_prior and not sum(self.class_prior) > 0:
            raise ValueError("class_prior is zero for all classes")

    def _check_thresholds(self) -> None:
        found = self.acceptance_class_thresholds
        if found is None:
            return
        if self.acceptance_threshold is None:
            raise ValueError("acceptance_class_thresholds stand without acceptance_threshold")
        if len(found) != len(self.class_names) or not all(value <= _MOST_THRESHOLD for value in found):
            raise ValueError(f"acceptance_class_thresholds are not {amount(len(self.class_names), 'share')}")


_TUPLES = ("class_names", "logit_parts")
_NUMBERS = ("labelled_counts", "class_prior")
_LISTS = (*_NUMBERS, "acceptance_class_thresholds")
_MOST_THRESHOLD = 2.0  # more than any confidence: nothing is accepted
_MOST = 1e18  # what no count comes near; larger ones, infinity and NaN are damage
_INTEGERS = ("n_features", "seed", "opset", "parity_rows")
_SHARES = ("acceptance_threshold", "acceptance_target", "outlier_known_share")
_FLOATS = (
    "temperature",
    "parity_tolerance",
    "parity_largest_difference",
    "preparation_tolerance",
    "preparation_largest_difference",
    "preparation_largest_pixel_difference",
)


def _key(name: str, props: Mapping[str, str]) -> str:
    """The key that a file has for a field, by its name of today or by the former one."""
    return name if name in props else _FORMER_KEYS.get(name, name)


def _read(key: str, text: str) -> Any:
    if key in _TUPLES:
        values = json.loads(text)
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise ValueError(f"{key} is not a list of names")
        if any(readable(value) != value for value in values):
            raise ValueError(f"{key} holds a lone surrogate, which is no character")
        return tuple(values)
    if key in _LISTS:
        values = json.loads(text)
        if not isinstance(values, list) or not all(_is_share(value) for value in values):
            raise ValueError(f"{key} is not a list of numbers of at least 0")
        return tuple(values)
    if key in _SHARES:
        value = float(text)
        if not 0 <= value <= _MOST_THRESHOLD:
            raise ValueError(f"{key} is no share")
        return value
    if key in _INTEGERS:
        return int(text)
    if key in _FLOATS:
        return float(text)
    return text


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MOST
