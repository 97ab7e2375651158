"""A Ray cluster of several machines on this one, in a process of its own, some of which are killed on demand.

    python ray_machines.py MACHINES

It prints the address, and then a line for each line that it reads: "worker" kills a process that makes shards, which
is one of Ray's actors, and "machine" one of the machines with all that runs there, after which a new one joins. "-" is
the answer where there was none to kill.
"""

import contextlib
import os
import random
import signal
import sys

import psutil
from ray.cluster_utils import Cluster

SMALL = {"object_store_memory": 80 * 2**20}
NOTICED_SOON = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 3,
}


def join(cluster):
    """Let a machine join; on a busy one Ray may not wait long enough for it."""
    for _ in range(4):
        with contextlib.suppress(Exception):
            return cluster.add_node(num_cpus=1, **SMALL)
    return cluster.add_node(num_cpus=1, **SMALL)


def children(pid):
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def raylet(node):
    return node.all_processes["raylet"][0].process.pid


def is_worker(process):
    """Whether a process makes shards, or parts of predictions."""
    try:
        return any(name in " ".join(process.cmdline()) for name in ("ShardWorker", "PartWorker"))
    except psutil.Error:
        return False


def kill_worker(machines, chosen):
    workers = [process for machine in machines for process in children(raylet(machine)) if is_worker(process)]
    if not workers:
        return "-"
    one = chosen.choice(workers)
    one.send_signal(signal.SIGKILL)
    return str(one.pid)


def kill_machine(cluster, machines, chosen):
    one = chosen.choice(machines)
    pid = raylet(one)
    processes = [psutil.Process(pid), *children(pid)]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    cluster.remove_node(one, allow_graceful=False)
    machines.remove(one)
    machines.append(join(cluster))
    return str(pid)


def main():
    chosen = random.Random(7)
    head = {
        "num_cpus": 0,
        "object_store_memory": 80 * 2**20,
        "include_dashboard": False,
        "_system_config": NOTICED_SOON,
    }
    cluster = Cluster(initialize_head=True, head_node_args=head)
    machines = [join(cluster) for _ in range(int(sys.argv[1]))]
    print(cluster.address, flush=True)
    try:
        for line in sys.stdin:
            what = line.strip()
            answer = kill_worker(machines, chosen) if what == "worker" else kill_machine(cluster, machines, chosen)
            print(answer, flush=True)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    main()
