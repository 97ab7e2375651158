"""What a crew does when workers die, refuse or never come: with a Ray of a few lines, which does what a test says."""

import hashlib
from types import SimpleNamespace

import pytest

from tests.cache.conftest import Recorder
from ulfine_cache.encoding.engines import ray_crew
from ulfine_cache.encoding.engines.ray_cluster import Room
from ulfine_cache.encoding.engines.ray_crew import Crew
from ulfine_cache.encoding.engines.shard_job import ShardJob
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.store.digest_file import write_digest


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause):
        super().__init__(f"a traceback\n{cause!r}")
        self.cause = cause


class ActorError(RayError):
    pass


class ActorDied(ActorError):
    pass


class Method:
    def __init__(self, does):
        self.does = does

    def options(self, **_):
        return self

    def remote(self, *arguments):
        return lambda: self.does(*arguments)


class Worker:
    """Answers by its number and what it is asked, as the test's function says."""

    def __init__(self, number, answers):
        self.ready = Method(lambda: answers(number, "ready", None))
        self.make = Method(lambda shard, _: answers(number, "make", shard))
        self.at = Method(lambda: (0, 0.0))


class Ray:
    exceptions = SimpleNamespace(
        RayError=RayError, RayTaskError=RayTaskError, RayActorError=ActorError, ActorDiedError=ActorDied
    )

    def __init__(self, answers):
        self.answers, self.workers, self.killed = answers, [], []

    def remote(self, **options):
        assert options["max_restarts"] == -1

        def make_worker(*_):
            self.workers.append(Worker(len(self.workers), self.answers))
            return self.workers[-1]

        return lambda _: SimpleNamespace(remote=make_worker)

    def wait(self, calls, num_returns=1, timeout=None):
        return calls[:num_returns], calls[num_returns:]

    def get(self, call):
        return call()

    def kill(self, worker, no_restart):
        self.killed.append(worker)


class Shards:
    """Shards of two images each, on the disk."""

    def __init__(self, folder, count):
        self.encoder = SimpleNamespace(precision="fp32", encoded_again=0)
        self.record, self.blocks = {}, [(1, 2)] * count
        self.paths = [folder / f"{number:05d}.h5" for number in range(count)]
        self.made = []

    def listing(self, number):
        return str(number)

    def write(self, number, notes=()):
        self.paths[number].write_bytes(str(number).encode())
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        write_digest(self.paths[number], digest)
        self.made.append(number)
        done = {"number": number, "sha256": digest, "images": 2, "kept": 0, "skipped": 0, "notes": {}}
        return {"done": done, "again": 1, "notes": list(notes)}


@pytest.fixture
def crew_of(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_crew, "_TICK", 0.0)

    def make_crew(answers, shards=6, machines=2):
        work, ray, watch = Shards(tmp_path, shards), Ray(None), Recorder()
        ray.answers = lambda number, what, shard: answers(work, number, what, shard)
        cluster = SimpleNamespace(ray=ray, machines=lambda: [Room(1, 0)] * machines, name="the cluster")
        arguments = {"source": tmp_path, "out": tmp_path, "root": None, "classes": None, "model": "", "pretrained": ""}
        crew = Crew(cluster, Room(1, 0), ShardJob(work, arguments, "cpu", "token"), watch)

        def run():
            crew.start(shards)
            return [done.number for done in crew.make(range(shards))]

        return run, work, ray, watch

    return make_crew


def sound(work, number, what, shard):
    return {} if what == "ready" else work.write(shard, notes=["said"])


def test_crew__makes_each_shard_once_and_says_things_once(crew_of):
    run, work, ray, watch = crew_of(sound)
    assert sorted(run()) == sorted(work.made) == list(range(6))
    assert len(ray.workers) == 2
    assert watch.notes == ["said"]
    assert watch.updates[-1] == ("encoding", 12, 12)
    assert work.encoder.encoded_again == 6


def test_crew__has_no_more_workers_than_shards(crew_of):
    run, _, ray, _ = crew_of(sound, shards=2, machines=9)
    assert run() == [0, 1]
    assert len(ray.workers) == 2


def test_crew__gives_the_shard_of_a_dead_worker_to_another(crew_of):
    dead = []

    def answers(work, number, what, shard):
        if what == "make" and shard in (1, 4) and dead.count(shard) < 3:
            dead.append(shard)
            raise ActorError("gone")
        return sound(work, number, what, shard)

    run, work, _, watch = crew_of(answers)
    assert sorted(run()) == sorted(work.made) == list(range(6))
    assert len(dead) == 6
    assert watch.notes.count("a worker has ended before its shard was done, which another one makes") == 1


def test_crew__gives_up_a_shard_that_ends_every_worker(crew_of):
    def answers(work, number, what, shard):
        if what == "make" and shard == 3:
            raise ActorError("killed by the system\nmore")
        return sound(work, number, what, shard)

    run, work, _, _ = crew_of(answers)
    with pytest.raises(
        UlfineError, match=r"^shard 3 has ended 5 workers that made it \(killed by the system\)"
    ) as gone:
        run()
    assert "\n" not in str(gone.value)
    assert 3 not in work.made


def test_crew__ends_when_no_worker_is_left(crew_of):
    def answers(work, number, what, shard):
        if what == "make" or number:
            raise ActorDied("the machine is gone")
        if work.made:
            raise ActorDied("the machine is gone")
        work.made.append("ready")
        return {}

    run, _, _, _ = crew_of(answers)
    with pytest.raises(UlfineError, match=r"^no worker is left on the cluster \(the machine is gone\): run the same"):
        run()


def test_crew__gives_up_a_worker_that_dies_while_it_loads(crew_of):
    def answers(work, number, what, shard):
        if number == 0 and what == "ready":
            raise ActorError("out of memory")
        return sound(work, number, what, shard)

    assert sorted(crew_of(answers)[0]()) == list(range(6))
    run, _, _, _ = crew_of(answers, machines=1)
    with pytest.raises(UlfineError, match=r"no worker is left on the cluster \(out of memory\)"):
        run()


@pytest.mark.parametrize(("usage", "error"), [(True, UsageError), (False, UlfineError)])
@pytest.mark.parametrize("when", ["ready", "make"])
def test_crew__raises_what_a_worker_refuses(crew_of, usage, error, when):
    def answers(work, number, what, shard):
        return {"refused": "one line", "usage": usage} if what == when else sound(work, number, what, shard)

    run, _, _, _ = crew_of(answers)
    with pytest.raises(UlfineError, match=r"^one line$") as refused:
        run()
    assert type(refused.value) is error


def test_crew__raises_other_errors_as_they_are(crew_of):
    def answers(work, number, what, shard):
        if what == "make":
            raise RayTaskError(MemoryError("small"))
        return {}

    with pytest.raises(MemoryError, match="small"):
        crew_of(answers)[0]()


def test_crew__says_what_a_worker_cannot_import(crew_of):
    def answers(work, number, what, shard):
        raise RayTaskError(RuntimeError("No module named 'ulfine_cache'"))

    with pytest.raises(UlfineError, match="install the same version of ulfine-fast on all of its machines") as refused:
        crew_of(answers)[0]()
    assert "\n" not in str(refused.value)


def test_crew__does_not_believe_what_it_cannot_see(crew_of, monkeypatch):
    monkeypatch.setattr(ray_crew, "_SEEN_LATER", 0.0)

    def answers(work, number, what, shard):
        answer = sound(work, number, what, shard)
        if what == "make":
            work.paths[shard].unlink()
        return answer

    with pytest.raises(UlfineError, match=r"00000\.h5, and it is not seen here: choose an --out on a file system"):
        crew_of(answers)[0]()


def test_crew__loses_patience_where_nobody_comes(crew_of, monkeypatch):
    monkeypatch.setattr(ray_crew, "_PATIENCE", 0.05)
    monkeypatch.setattr(ray_crew, "_SAY_SO", 0.01)
    run, _, ray, watch = crew_of(sound)
    # Neither placed anywhere nor dead.
    monkeypatch.setattr(ray, "wait", lambda calls, num_returns=1, timeout=None: ([], calls))
    with pytest.raises(UlfineError, match="no worker has been ready on the cluster for 0 seconds: see `ray status`"):
        run()
    assert watch.notes == ["waiting for a worker on the cluster"]
