"""The job files of examples/scale: their commands, with the variables that the batch systems set."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

SCALE = Path(__file__).resolve().parent.parent / "examples" / "scale"
pytestmark = pytest.mark.skipif(os.name == "nt", reason="the files are for POSIX shells")


@pytest.fixture
def called(tmp_path):
    """Run a command where `ulfine` and Ray only say how they were called."""
    for name in ("ulfine", "ray", "srun"):
        stand_in = tmp_path / "bin" / name
        stand_in.parent.mkdir(exist_ok=True)
        stand_in.write_text(f'#!/bin/sh\necho "{name} $*"\n')
        stand_in.chmod(0o755)
    (tmp_path / "bin" / "stage_one.sh").symlink_to(SCALE / "stage_one.sh")

    def run(*command, **variables):
        place = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PHOTOS": "/p", "CACHE": "/c", **variables}
        done = subprocess.run(command, env=place, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def range_of(lines):
    (line,) = lines
    assert line.startswith("ulfine cache-features /p --out /c --model ViT-B-32 ")
    found = re.search(r"--shard-range (\S+)$", line)
    return found and found[1]


@pytest.mark.parametrize(("number", "least", "part"), [("0", "0", "0/16"), ("15", "0", "15/16"), ("16", "1", "15/16")])
def test_slurm__array_makes_a_part(called, number, least, part):
    variables = {"SLURM_ARRAY_TASK_ID": number, "SLURM_ARRAY_TASK_MIN": least, "SLURM_ARRAY_TASK_COUNT": "16"}
    lines = called("bash", SCALE / "slurm_shards.sh", SLURM_SUBMIT_DIR=str(SCALE), **variables)
    assert range_of(lines) == part


def test_slurm__join_makes_all(called):
    assert range_of(called("bash", SCALE / "slurm_join.sh", SLURM_SUBMIT_DIR=str(SCALE))) is None


def test_slurm__cluster_is_used(called):
    variables = {"SLURM_CPUS_PER_TASK": "8", "SLURM_NNODES": "4", "SLURM_SUBMIT_DIR": str(SCALE)}
    lines = called("bash", SCALE / "ray_job.sh", **variables)
    # What runs beside it may be ended before it has said a word.
    assert any(re.search(r"^ulfine .* --engine ray --address \S+:6379$", line) for line in lines)


def test_batch__array_makes_a_part_and_join_makes_all(called):
    shards, join = (json.loads((SCALE / f"batch_{name}.json").read_text()) for name in ("shards", "join"))
    definition = json.loads((SCALE / "batch_definition.json").read_text())
    assert {shards["jobDefinition"], join["jobDefinition"]} == {definition["jobDefinitionName"]}
    variables = {"AWS_BATCH_JOB_ARRAY_INDEX": "7", "AWS_BATCH_JOB_ARRAY_SIZE": str(shards["arrayProperties"]["size"])}
    assert range_of(called(*shards["containerOverrides"]["command"], **variables)) == "7/16"
    assert range_of(called(*join["containerOverrides"]["command"])) is None


def test_kubernetes__array_makes_a_part_and_join_makes_all(called):
    shards, join = (yaml.safe_load((SCALE / f"kubernetes_{name}.yaml").read_text()) for name in ("shards", "join"))
    spec = shards["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    variables = {entry["name"]: entry.get("value", "7") for entry in container["env"]}
    assert spec["completionMode"] == "Indexed"
    assert str(spec["completions"]) == variables["PARTS"]
    put_in = [re.sub(r"\$\((\w+)\)", lambda found: variables[found[1]], word) for word in container["command"]]
    assert range_of(called(*put_in)) == "7/16"
    (container,) = join["spec"]["template"]["spec"]["containers"]
    assert range_of(called(*container["command"])) is None
