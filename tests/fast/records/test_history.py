import csv

import pytest
from tensorboardX.proto.event_pb2 import Event

from ulfine_cache.errors import UlfineError
from ulfine_fast.records.history import read_history_csv, write_history_csv, write_tensorboard

HISTORY = [{"step": 1.0, "loss": 2.5}, {"step": 5.0, "loss": 1.25, "used": 0.5}]


def scalars(file):
    """Read TensorBoard's record format: length (8), checksum (4), protobuf, checksum (4)."""
    content, found = file.read_bytes(), []
    while content:
        length = int.from_bytes(content[:8], "little")
        event = Event.FromString(content[12 : 12 + length])
        found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
        content = content[16 + length :]
    return found


def test_write_history_csv__columns_in_order_of_appearance(tmp_path):
    write_history_csv(tmp_path / "history.csv", HISTORY)
    with (tmp_path / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["step", "loss", "used"]
    assert [(float(row["step"]), float(row["loss"]), row["used"]) for row in rows] == [(1, 2.5, ""), (5, 1.25, "0.5")]


def test_write_history_csv__nothing_happened(tmp_path):
    write_history_csv(tmp_path / "history.csv", [])
    assert (tmp_path / "history.csv").read_text() == "step\n"


def test_write_tensorboard__one_file_with_every_scalar(tmp_path):
    write_tensorboard(tmp_path, HISTORY, {"macro_accuracy": 0.5})
    (file,) = tmp_path.iterdir()
    assert file.name.startswith("events.out.tfevents.")
    assert scalars(file) == [
        ("train/loss", 1, 2.5),
        ("train/loss", 5, 1.25),
        ("train/used", 5, 0.5),
        ("test/macro_accuracy", 5, 0.5),
    ]


def test_read_history_csv__gives_back_what_was_written(tmp_path):
    write_history_csv(tmp_path / "history.csv", HISTORY)
    assert read_history_csv(tmp_path / "history.csv") == HISTORY
    write_history_csv(tmp_path / "history.csv", [])
    assert read_history_csv(tmp_path / "history.csv") == []
    assert read_history_csv(tmp_path / "nowhere.csv") == []


def test_read_history_csv__damaged(tmp_path):
    (tmp_path / "history.csv").write_text("step,loss\n1,much\n")
    with pytest.raises(UlfineError, match="is damaged: fit the run again"):
        read_history_csv(tmp_path / "history.csv")
