"""What `/metrics` says, read by Prometheus' own parser."""

from prometheus_client.parser import text_string_to_metric_families

from tests.exports.serve.conftest import png
from ulfine_exports.serve.metrics import Metrics


def samples(text):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_metrics__of_a_server(start, colours_onnx):
    server = start(colours_onnx)
    assert server.ask("POST", "/classify", png("red")).status == 200
    assert server.ask("POST", "/classify", b"junk").status == 400
    assert server.get("/nowhere").status == 404
    answer = server.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = samples(answer.body)
    assert found["ulfine_requests_total", ("code", "200"), ("where", "classify")] == 1
    assert found["ulfine_requests_total", ("code", "400"), ("where", "classify")] == 1
    assert found["ulfine_requests_total", ("code", "404"), ("where", "elsewhere")] == 1
    assert found["ulfine_request_seconds_count", ("where", "classify")] == 2
    assert found["ulfine_batch_rows_count",] == found["ulfine_batch_rows_sum",] == 1
    assert found["ulfine_waiting_rows",] == 0
    assert found["process_resident_memory_bytes",] > 1e6


def test_metrics__buckets_count_up_to_their_bounds():
    metrics = Metrics()
    for rows, seconds in ((1, 0.001), (2, 0.0011), (3, 60.0)):
        metrics.batch(rows, [seconds, 0.0], seconds)
    found = samples(metrics.text(waiting=4, decoding=5))
    rows = {
        bound: found["ulfine_batch_rows_bucket", ("le", bound)] for bound in ("1.0", "2.0", "4.0", "1024.0", "+Inf")
    }
    assert rows == {"1.0": 1, "2.0": 2, "4.0": 3, "1024.0": 3, "+Inf": 3}
    waited = {
        bound: found["ulfine_queue_seconds_bucket", ("le", bound)] for bound in ("0.001", "0.0025", "30.0", "+Inf")
    }
    assert waited == {"0.001": 1, "0.0025": 2, "30.0": 2, "+Inf": 3}
    assert found["ulfine_batch_rows_sum",] == 6
    assert (found["ulfine_waiting_rows",], found["ulfine_decoding_pictures",]) == (4, 5)
    assert metrics.rows == 6
