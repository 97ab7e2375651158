"""JSON as COCO, camera traps and iNaturalist have it: lists of images, annotations and categories."""

import json
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ulfine_cache.atomic import reason
from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.tables.json_table import RecordsTable
from ulfine_cache.sources.tables.table import Opener, Row, Table
from ulfine_cache.sources.words.image_names import is_image_name

_GROUPS = ("group", "location", "site", "camera", "seq_id")
"""What may say which images have something in common; the first that an image has."""


class _Image(NamedTuple):
    id: object
    file_name: str
    set_name: object
    groups: dict[str, object]


class _Annotation(NamedTuple):
    image: object
    category: object


class CocoTable:
    """One row an image: `path`, `label` (a list of its categories, each once) and, where the images have one, `set`.

    What camera traps call `location` and the like are columns too.

    Args:
        name: The file's path, for messages.
        images: Their entries.
        labels: For each image the numbers of its categories.
        categories: Names of the categories, also of those that no image has.
    """

    def __init__(
        self, name: str, images: Sequence[_Image], labels: Sequence[Sequence[int]], categories: Sequence[str]
    ) -> None:
        self.name, self._images, self._labels, self.categories = name, images, labels, categories
        has_sets = any(image.set_name is not None for image in images)
        self._groups = [name for name in _GROUPS if any(name in image.groups for image in images)]
        self.columns: Sequence[str] = ("path", "label", *(("set",) if has_sets else ()), *self._groups)
        self._has_sets = has_sets

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the images."""
        at = [self.columns.index(column) for column in columns]
        for number, (image, labels) in enumerate(zip(self._images, self._labels, strict=True), 1):
            sets = [image.set_name] if self._has_sets else []
            groups = [image.groups.get(name) for name in self._groups]
            cells = (image.file_name, [self.categories[label] for label in labels], *sets, *groups)
            yield Row(f"image {number}", [cells[place] for place in at])


def json_table(name: str, opener: Opener) -> Table:
    """Read a JSON file: COCO's images, annotations and categories, or a list of objects.

    Only what is needed of each object is kept while the text is parsed.

    Raises:
        UlfineError: It cannot be read, or it is neither.
    """
    try:
        with opener() as file:
            content: Any = json.loads(file.read(), object_pairs_hook=_needed)
    except OSError as error:
        raise UlfineError(f"cannot read {name}: {reason(error)}") from error
    except (ValueError, RecursionError) as error:
        raise UlfineError(f"{name}: no JSON: {reason(error)}") from error
    if isinstance(content, dict) and isinstance(content.get("images"), list):
        return _coco(name, content)
    if isinstance(content, dict) and content:
        records = _columns(content) or _mapping(content)
        if records:
            return RecordsTable(name, records)
    if isinstance(content, list) and content and all(isinstance(each, dict | _Image) for each in content):
        return RecordsTable(name, (each if isinstance(each, dict) else _record(each) for each in content))
    raise UlfineError(
        f"{name} holds no images: expected the lists images, annotations and categories, as COCO has them, or a list "
        'of objects such as {"path": ..., "label": ...}'
    )


def is_coco(opener: Opener) -> bool:
    """Tell whether a JSON file begins like one of COCO's; read to the end only by `json_table`."""
    try:
        with opener() as file:
            start = file.read(1 << 16)
    except OSError:
        return False
    return any(f'"{key}"'.encode() in start for key in ("images", "annotations", "categories"))


def _needed(pairs: list[tuple[str, Any]]) -> Any:
    values = dict(pairs)
    if "image_id" in values and ("category_id" in values or "id" in values) and "label" not in values:
        return _Annotation(values["image_id"], values.get("category_id"))
    # A list of objects may have ids and file names as well, and labels.
    if "id" in values and isinstance(values.get("file_name"), str) and not {"label", "class", "category"} & set(values):
        return _read_image(values)
    return values


def _read_image(values: dict[str, Any]) -> _Image:
    groups = {name: values[name] for name in _GROUPS if name in values}
    return _Image(values["id"], values["file_name"], values.get("set", values.get("split")), groups)


def _mapping(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Read {"a.jpg": "cat", ...}; [] for anything else."""
    plain = all(value is None or isinstance(value, str | int | float) for value in content.values())
    if plain and all(map(is_image_name, content)):
        return [{"path": path, "label": label} for path, label in content.items()]
    return []


def _columns(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Read {"path": {"0": "a.jpg", ...}, ...}, as pandas writes it, or with lists; [] for anything else."""
    columns = list(content.values())
    if all(isinstance(column, dict) for column in columns):
        keys = list(columns[0])
        if keys and all(list(column) == keys for column in columns):
            return [{name: column[key] for name, column in content.items()} for key in keys]
    if all(isinstance(column, list) and len(column) == len(columns[0]) for column in columns):
        return [dict(zip(content, cells, strict=True)) for cells in zip(*columns, strict=True)]
    return []


def _record(image: _Image) -> dict[str, Any]:
    return {"id": image.id, "file_name": image.file_name, "set": image.set_name, **image.groups}


def _image(name: str, number: int, entry: object) -> _Image:
    if isinstance(entry, _Image):
        return entry
    if isinstance(entry, dict) and "id" in entry and isinstance(entry.get("file_name"), str):
        return _read_image(entry)
    raise UlfineError(f"{name}, image {number}: expected an id and a file_name")


def _coco(name: str, content: dict[str, Any]) -> CocoTable:
    images = [_image(name, number, each) for number, each in enumerate(content["images"], 1)]
    categories = content.get("categories") or []
    names, number_of = [], {}
    for number, category in enumerate(categories, 1):
        if not isinstance(category, dict) or "id" not in category or not isinstance(category.get("name"), str):
            raise UlfineError(f"{name}, category {number}: expected an id and a name")
        number_of[category["id"]] = len(names)
        names.append(category["name"])
    place_of = {image.id: place for place, image in enumerate(images)}
    if len(place_of) < len(images):
        raise UlfineError(f"{name}: two images have the same id")
    labels = [array("l") for _ in images]
    for number, annotation in enumerate(content.get("annotations") or [], 1):
        if not isinstance(annotation, _Annotation) or annotation.image not in place_of:
            raise UlfineError(f"{name}, annotation {number}: its image_id is none of the images")
        if annotation.category is None:
            continue
        if annotation.category not in number_of:
            raise UlfineError(f"{name}, annotation {number}: its category_id {annotation.category!r} is no category")
        label = number_of[annotation.category]
        if label not in labels[place_of[annotation.image]]:
            labels[place_of[annotation.image]].append(label)
    return CocoTable(name, images, labels, names)
