"""Samples as webdataset defines them: the members of a tar file that share a key, an image and what is said of it."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from ulfine_cache.sources.archives.tar_members import TarMember
from ulfine_cache.sources.words.class_labels import class_text
from ulfine_cache.sources.words.set_names import known_set

MAX_LABEL_BYTES = 1 << 20
_LABELS = ("cls", "json", "txt")
"""In the order in which they count."""
_JSON_LABELS = ("label", "cls", "class")


class TarSample(NamedTuple):
    """One image in a tar file.

    Attributes:
        name: Of the member.
        offset: Of its first byte in the tar file.
        size: Bytes.
        label: Its class, "" if unlabelled.
        set_name: "train", "val" or "test"; "" if the sample says nothing.
        kind: Ending of the member that the label is from ("cls", "json" or "txt"), "" if there is none.
        problem: Why it cannot be used, or "".
    """

    name: str
    offset: int
    size: int
    label: str = ""
    set_name: str = ""
    kind: str = ""
    problem: str = ""


class _Group(NamedTuple):
    images: list[TarMember]
    labels: dict[str, list[TarMember]]
    others: list[TarMember]


def is_label_name(name: str) -> bool:
    """Tell whether a member says something about an image: `KEY.cls`, `KEY.txt` or `KEY.json`."""
    return _split(name)[1] in _LABELS


def sample_key(name: str) -> str:
    """Return what the members of a sample share: their name up to the first dot behind the last slash."""
    return _split(name)[0]


def tar_samples(members: Sequence[TarMember]) -> list[TarSample]:
    """Put the members of one tar file together to samples, in the order of the images.

    Raises nothing: a sample that cannot be understood has a problem.
    """
    groups: dict[str, _Group] = {}
    for member in members:
        key, ending = _split(member.name)
        group = groups.setdefault(key, _Group([], {}, []))
        if member.is_image:
            (group.others if "." in ending else group.images).append(member)
        elif ending in _LABELS:
            group.labels.setdefault(ending, []).append(member)
    samples = [sample for group in groups.values() for sample in _samples(group)]
    return sorted(samples, key=lambda sample: sample.offset)


def _split(name: str) -> tuple[str, str]:
    """Return key and ending: the key goes to the first dot of the last part; hidden files have no ending."""
    folder, slash, base = name.rpartition("/")
    stem, _, ending = base.partition(".")
    return folder + slash + stem, ending.lower() if stem else ""


def _samples(group: _Group) -> list[TarSample]:
    if not group.images:
        # Masks and the like beside an image are no images of their own; a sample of nothing else is a misnamed one.
        why = "its name has several dots: only what follows the key and the first dot is the ending"
        return [TarSample(member.name, member.offset, member.size, problem=why) for member in _unique(group.others)]
    images = _unique(group.images)
    problem = ""
    if len(images) > 1:
        problem = f"its sample has several images: {', '.join(image.name for image in images)}"
    elif len(group.images) > 1:
        problem = "its name comes more than once in the tar file"
    label, set_name, kind = "", "", ""
    try:
        label, set_name, kind = _label(group.labels)
    except ValueError as error:
        problem = problem or str(error)
    return [
        TarSample(image.name, image.offset, image.size, label, set_name, kind, image.problem or problem)
        for image in images
    ]


def _unique(members: Sequence[TarMember]) -> list[TarMember]:
    return list({member.name: member for member in members}.values())


def _label(labels: dict[str, list[TarMember]]) -> tuple[str, str, str]:
    """Return (label, set, ending of the member that says so).

    Raises:
        ValueError: A member is damaged, or two of them contradict each other.
    """
    said: list[tuple[str, str, str]] = []
    set_name = ""
    for kind in [kind for kind in _LABELS if kind in labels]:
        # Beside another label a text is a caption.
        if kind == "txt" and said:
            break
        for member in labels[kind]:
            if member.text is None:
                raise ValueError(f"its label {member.name}: {member.problem}")
            try:
                if kind == "json":
                    values, set_name = _json_label(member.text)
                    said += [(text, kind, f"{member.name} ({name})") for name, text in values]
                else:
                    said.append((_text(member.text, kind), kind, member.name))
            except ValueError as error:
                raise ValueError(f"its label {member.name}: {error}") from None
    if not said:
        return "", set_name, ""
    for text, _, name in said[1:]:
        # A number and a name may well mean the same.
        if text != said[0][0] and text.isdecimal() == said[0][0].isdecimal():
            raise ValueError(f"its labels contradict each other: {said[0][2]} says {said[0][0]!r}, {name} {text!r}")
    return said[0][0], set_name, said[0][1]


def _text(data: bytes, kind: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    # Whether texts are captions is for the whole collection to say.
    return " ".join(text.split()) if kind == "txt" else class_text(text)


def _json_label(data: bytes) -> tuple[list[tuple[str, str]], str]:
    """Return (field, label) of the fields that hold one, and the set."""
    try:
        content: Any = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    values = [(name, class_text(content[name])) for name in _JSON_LABELS if content.get(name) is not None]
    said = content.get("set") or content.get("split") or ""
    set_name = known_set(said) if isinstance(said, str) else None
    if set_name is None:
        raise ValueError(f"the set {said!r} is none of train, val, test")
    return values, set_name
