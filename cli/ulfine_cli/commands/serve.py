"""`ulfine serve`."""

from pathlib import Path
from typing import Annotated

import typer

from ulfine_cli.command import command
from ulfine_cli.output import Output


@command("ulfine_exports.serve.server:serve", example="ulfine serve model.onnx --port 8080", show=Output.show_pairs)
def serve(
    *,
    model: Annotated[Path, typer.Argument(metavar="FILE.onnx", help="The exported file.")],
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 for all of IPv4.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at; 0 takes a free one.")] = 8000,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[
        int | None, typer.Option(help="CPU threads of onnxruntime; without it the CPUs that may be used.")
    ] = None,
    max_batch: Annotated[
        int | None, typer.Option(help="Most rows that run together; without it what fits the file and the device.")
    ] = None,
    max_delay_ms: Annotated[float, typer.Option(help="Longest time a row is held back so that others join it.")] = 5.0,
    max_queue: Annotated[int, typer.Option(help="Most rows that wait; more are refused (503).")] = 1024,
    max_body_mb: Annotated[int, typer.Option(help="Largest request; larger ones are refused (413).")] = 64,
    timeout: Annotated[float, typer.Option(help="Most seconds for a body to arrive, and for an answer.")] = 30.0,
) -> None:
    """Serve an exported file over HTTP until Ctrl+C.

    Open Inference Protocol v2 under /v2, image files to /classify, a page for people at /, counts for Prometheus at
    /metrics; /openapi.json describes it all. Needs the extra serve. There is no encryption and no login: put a proxy
    in front of it before others can reach it.
    """
