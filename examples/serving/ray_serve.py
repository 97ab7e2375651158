"""`ulfine serve` in as many copies as the load asks for: Ray Serve starts, stops and replaces them.

    pip install 'ulfine-fast[serve]' 'ray[serve]>=2.60'

    python ray_serve.py model.onnx                    # on this machine, until Ctrl+C
    python ray_serve.py model.onnx --measure 100      # the same under a load that grows and ends, then stop
    serve run --working-dir . ray_serve:app model=/shared/model.onnx   # on a cluster: `ray start` on each machine

    curl -F image=@a.jpg -F image=@b.png 'http://127.0.0.1:8000/classify?top=3'

Each copy is the application behind `ulfine serve`, with all that it answers (docs/serving.md): pictures that wait form
the next batch, what is too much is refused with 503. It loads the file with onnxruntime, without torch. Ray's proxy
stands before the copies and speaks HTTP, so what `ulfine serve` says about connections and headers does not hold here:
put a proxy of your own before it, as before `ulfine serve`.
"""

import argparse
import json
import logging
import os
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

# Ray reports on its use to its makers unless it is told not to.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray import serve

NAME = "classifier"
CORES = 1
"""Of each copy. With GPUs: {"num_gpus": 1} in `ray_actor_options` below, and a larger batch."""
SCALING = {
    "min_replicas": 1,
    "max_replicas": 2,
    # Another copy where each has more requests than this at a time, which is one batch under way and one that fills.
    "target_ongoing_requests": 16,
    # Seconds: how often and over how many requests are counted, and how long it has to last.
    "metrics_interval_s": 2,
    "look_back_period_s": 10,
    "upscale_delay_s": 5,
    "downscale_delay_s": 15,
}


def application(model: str):
    """The application of one copy; it is called inside of it."""
    from ulfine_exports.serve.access.guard import Access
    from ulfine_exports.serve.app import build_app
    from ulfine_exports.serve.served_model import ServedModel
    from ulfine_exports.serve.service import Limits, Service

    served = ServedModel(Path(model), "auto", CORES)
    limits = Limits(max_batch=8, max_delay=0.005, max_queue=1024, max_body=64 * 2**20, seconds=30.0)
    # The address that it is asked by is that of Ray's proxy. Give the names behind which that stands as the second.
    return build_app(Service(served, limits), access=Access.of("0.0.0.0", (), (), None, ""))


def app(arguments: dict) -> serve.Application:
    """What `serve run` is given: `model`, a path that all machines of the cluster see, and what is to differ."""
    model = str(Path(arguments["model"]).absolute())
    scaling = SCALING | {name: json.loads(value) for name, value in arguments.items() if name in SCALING}
    copies = serve.deployment(
        serve.ingress(lambda: application(model))(),
        name=NAME,
        ray_actor_options={"num_cpus": CORES},
        autoscaling_config=scaling,
        # Above these Ray itself says 503.
        max_ongoing_requests=64,
        max_queued_requests=256,
        # What is in flight when a copy is stopped may take as long as a request may.
        graceful_shutdown_timeout_s=35,
    )
    return copies.bind()


def copies_now() -> int:
    """How many copies answer."""
    deployments = serve.status().applications["default"].deployments
    return deployments[NAME].replica_states.get("RUNNING", 0)


def picture() -> bytes:
    """A photograph's worth of bytes."""
    from io import BytesIO

    import numpy as np
    from PIL import Image

    coarse = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(coarse).resize((640, 480)).save(file, "JPEG")
    return file.getvalue()


def measure(url: str, seconds: float, clients: int = 48) -> list[dict]:
    """Ask from one client, then from many, then from one, and count answers and copies."""
    body, found = picture(), []
    for count, share in ((1, 0.2), (clients, 0.4), (1, 0.4)):
        answers, refused, copies = [0] * count, [0] * count, []
        end = time.monotonic() + seconds * share

        def ask(place: int, end: float = end, answers: list = answers, refused: list = refused) -> None:
            while time.monotonic() < end:
                try:
                    with urllib.request.urlopen(urllib.request.Request(f"{url}/classify", body), timeout=60) as answer:
                        answers[place] += bool(json.load(answer)["images"])
                except urllib.error.HTTPError as error:
                    if error.code != 503:
                        raise
                    refused[place] += 1
                    time.sleep(1)

        threads = [threading.Thread(target=ask, args=(place,)) for place in range(count)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            copies.append(copies_now())
            time.sleep(0.5)
        rate = sum(answers) / (seconds * share)
        found.append(
            {"clients": count, "answers": sum(answers), "a second": round(rate, 1), "refused": sum(refused)}
            | {"copies": [copies[0], max(copies), copies[-1]]}
        )
        print(json.dumps(found[-1]), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a file of `ulfine export --input pixels` or `image`")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--max-replicas", type=int, default=SCALING["max_replicas"])
    parser.add_argument("--measure", type=float, metavar="SECONDS", help="measure for so long, then stop")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    asked = parser.parse_args()
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": asked.port})
        serve.run(app({"model": asked.model, "max_replicas": str(asked.max_replicas)}))
        url = f"http://127.0.0.1:{asked.port}"
        print(f"{asked.model} at {url} until Ctrl+C", flush=True)
        if asked.measure:
            found = measure(url, asked.measure)
            if asked.json:
                asked.json.write_text(json.dumps(found, indent=2) + "\n")
        else:
            threading.Event().wait()
    except KeyboardInterrupt:
        pass
    finally:
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main()
