"""The last lines of cache-features."""

import io

from ulfine_cli.output import Output
from ulfine_cli.understood import show


def shown(**figures):
    stream = io.StringIO()
    base = {"rows": 3, "sets": {}, "class_counts": {}, "skipped_reasons": {}, "ignored": {}, "warnings": []}
    show(base | figures, Output(stream))
    return stream.getvalue().splitlines()


def test_show__a_few_classes_as_a_table():
    lines = shown(
        sets={"train": 3, "test": 2},
        class_counts={"cat": {"train": 2, "test": 1}, "fire engine": {"train": 0, "test": 1}},
        skipped_reasons={"not an image": 2},
        ignored={".txt": 4, "hidden": 1},
        warnings=["there is something", "and more"],
    )
    assert lines == [
        "rows  3",
        "labelled images  train  test",
        "cat                  2     1",
        "fire engine          0     1",
        "sets: 3 train, 2 test; unlabelled: 1",
        "skipped: 2 not an image (skipped.csv names them)",
        "not images: 4 .txt, 1 hidden",
        "warning: there is something",
        "warning: and more",
    ]


def test_show__many_classes_in_a_line():
    counts = {f"class {number}": {"no set": number} for number in range(1, 1001)}
    assert shown(class_counts=counts)[1:] == [
        "1000 classes of 1 to 1000 labelled images, median 500.5; the fewest: 'class 1' 1, 'class 2' 2, 'class 3' 3, "
        "'class 4' 4, 'class 5' 5"
    ]


def test_show__nothing_to_say():
    assert shown() == ["rows  3"]
