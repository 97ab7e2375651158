"""The commands, one file each, in the order in which they are used."""

from ulfine_cli.commands.cache_features import cache_features
from ulfine_cli.commands.compare import compare
from ulfine_cli.commands.convert import convert
from ulfine_cli.commands.evaluate import evaluate
from ulfine_cli.commands.export import export
from ulfine_cli.commands.fit import fit
from ulfine_cli.commands.import_features import import_features
from ulfine_cli.commands.info import info
from ulfine_cli.commands.neighbours import neighbours
from ulfine_cli.commands.predict import predict
from ulfine_cli.commands.quickstart import quickstart
from ulfine_cli.commands.serve import serve
from ulfine_cli.commands.split import split
from ulfine_cli.commands.verify import verify

COMMANDS = (
    quickstart,
    cache_features,
    import_features,
    info,
    verify,
    neighbours,
    convert,
    split,
    fit,
    evaluate,
    compare,
    predict,
    export,
    serve,
)
