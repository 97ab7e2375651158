"""The commands in the order in which they are used: the function that does the work, an example, and how it is shown.

Figures that need no table are shown name by name; a file in this folder is for those that do.
"""

from ulfine_cli import understood
from ulfine_cli.command import Command
from ulfine_cli.commands import (
    compare,
    diff,
    drift,
    evaluate,
    export,
    fit,
    info,
    inspect,
    models,
    neighbours,
    predict,
    quickstart,
    sort,
    split,
    verify,
)
from ulfine_cli.failures import STARTS_OVER
from ulfine_cli.tables.logged import not_logged, show_report
from ulfine_exports.predicting.part_place import is_for_parts
from ulfine_fast.deciding.gates import failed_gates

COMMANDS = (
    Command(
        "ulfine_exports.quickstart:quickstart",
        "ulfine quickstart --out quickstart",
        show=quickstart.show,
        reports="ulfine_exports.reporting.unasked:after_quickstart",
    ),
    Command(
        "ulfine_cache.stage_one:cache_features",
        "ulfine cache-features photos --out cache --model ViT-B-16 --pretrained openai",
        ("source",),
        show=understood.show,
    ),
    Command(
        "ulfine_cache.import_features:import_features",
        "ulfine import-features features.npz --out cache",
        ("file",),
        interrupted=STARTS_OVER,
    ),
    Command("ulfine_exports.info:info", "ulfine info cache", ("target",), show=info.show),
    Command(
        "ulfine_cache.verify:verify",
        "ulfine verify cache --repair",
        ("cache",),
        show=verify.show,
        failures=verify.damaged,
        interrupted="interrupted: the same command starts from the beginning, and --repair goes on where it was",
    ),
    Command(
        "ulfine_cache.neighbours:neighbours",
        'ulfine neighbours cache photos/new.jpg "a red car"',
        ("cache", "queries"),
        show=neighbours.show,
        interrupted=STARTS_OVER,
    ),
    Command(
        "ulfine_cache.convert:convert",
        "ulfine convert cache --to npy --out arrays",
        ("cache",),
        interrupted=STARTS_OVER,
    ),
    Command(
        "ulfine_cache.splits:make_split",
        "ulfine split cache --name tail --labelled-max 50 --imbalance 10 --unlabelled reversed",
        ("cache",),
        show=split.show,
        interrupted=STARTS_OVER,
    ),
    Command(
        "ulfine_fast.fitting:fit",
        "ulfine fit cache --out run --split tail --method ulfine --seed 0",
        ("cache",),
        show=fit.show,
        shared=True,
        failures=fit.failures,
        interrupted=STARTS_OVER,
        renamed={"config": "settings"},
        reports="ulfine_exports.reporting.unasked:after_fit",
    ),
    Command(
        "ulfine_fast.evaluate:evaluate",
        "ulfine evaluate run --json metrics.json",
        ("run",),
        show=evaluate.show,
        failures=failed_gates,
        interrupted=STARTS_OVER,
    ),
    Command(
        "ulfine_fast.compare:compare",
        "ulfine compare cache --split tail --methods zero-shot,lp,ulfine --seeds 5",
        ("cache",),
        show=compare.show,
        interrupted=STARTS_OVER,
        kept_in="out",
        renamed={"config": "settings"},
        reports="ulfine_exports.reporting.unasked:after_compare",
    ),
    Command(
        "ulfine_exports.diff:diff",
        "ulfine diff runs/last-week runs/this-week --max-drop 0.01 --out diff.html",
        ("old", "new"),
        show=diff.show,
        failures=diff.worse,
        interrupted=STARTS_OVER,
    ),
    Command(
        "ulfine_exports.report:report",
        "ulfine report run --out report.html",
        ("target",),
        show=show_report,
        failures=not_logged,
        interrupted=STARTS_OVER,
    ),
    Command(
        "ulfine_exports.inspect_cache:inspect_cache",
        "ulfine inspect cache --what label-errors --out errors.csv --gallery errors.html",
        ("cache",),
        show=inspect.show,
        interrupted=STARTS_OVER,
    ),
    Command(
        "ulfine_exports.predict:predict",
        "ulfine predict model.onnx photos/new --out predictions.csv",
        ("model", "inputs"),
        show=predict.show,
        failures=predict.unreadable,
        interrupted=STARTS_OVER,
        kept_in="out",
        keeps=is_for_parts,
    ),
    Command(
        "ulfine_exports.sort:sort",
        "ulfine sort model.onnx photos/new --out sorted --move --doubtful 0.9",
        ("model", "photos"),
        show=sort.show,
        failures=sort.failures,
        interrupted="interrupted: the same command goes on, and `ulfine sort --undo DIR` puts everything back",
    ),
    Command(
        "ulfine_exports.drift:drift",
        "ulfine drift run photos/this-week",
        ("model", "inputs"),
        show=drift.show,
        failures=drift.failures,
        interrupted=STARTS_OVER,
    ),
    Command(
        "ulfine_exports.export:export_onnx",
        "ulfine export run --onnx model.onnx --input pixels --precision int8",
        ("run",),
        show=export.show,
        interrupted=STARTS_OVER,
    ),
    Command("ulfine_exports.serve.server:serve", "ulfine serve model.onnx --port 8080", ("model",)),
    Command(
        "ulfine_exports.models:models",
        "ulfine models dinov2",
        ("word",),
        show=models.show,
        interrupted=STARTS_OVER,
    ),
    Command(
        "ulfine_fast.join:join",
        "ulfine join cache-b-32 cache-rn50 --out both",
        ("caches",),
        interrupted=STARTS_OVER,
    ),
    Command("ulfine_exports.label:label", "ulfine label cache --run run --out labels.csv", ("cache",)),
)
