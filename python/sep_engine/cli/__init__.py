"""The `sep` command.

Commands import what they need when they run, so that `sep --help` is quick. Results go to stdout,
progress and errors to stderr. Exit codes: 0 done, 1 a check found errors, 2 the command could not
do what was asked (one line says why), 130 interrupted.
"""

import os
import sys
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from sep_engine.cli import analyze, backtest, data, evidence, info, stored, sweep, verdict
from sep_engine.errors import SepError

app = typer.Typer(
    name="sep",
    help="Calibrated QFH metrics, data checks and honest backtests for market data in files.",
    epilog="Try it on the data that comes along: sep analyze --sample",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("analyze")(analyze.analyze)
app.command("backtest")(backtest.backtest)
app.command("sweep")(sweep.sweep)
app.command("verdict")(verdict.verdict)
app.command("verify")(stored.verify)
app.command("info")(info.info)
app.add_typer(data.app, name="data")
app.add_typer(stored.app, name="runs")
app.add_typer(evidence.app, name="study")


def _show_version(asked: bool) -> None:
    if asked:
        from sep_engine import __version__

        typer.echo(f"sep {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


def main() -> NoReturn:
    """Run the command line of this process and exit."""
    try:
        code = app(prog_name="sep", standalone_mode=False)
    except TyperException as error:
        # Wrong use knows the command that it was of.
        context = getattr(error, "ctx", None)
        if not error.format_message():
            sys.exit(2)  # asked nothing; the help has been shown
        more = "" if context is None else f"; see {context.command_path} --help"
        _fail(error.format_message().rstrip(".") + more)
    except SepError as error:
        _fail(str(error))
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        _end_unread()
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):
            _end_unread()
        raise
    sys.exit(code or 0)


def _end_unread() -> NoReturn:
    """End well although the reader had enough (`sep ... | head`)."""
    # stdout must not be flushed at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)


def _fail(message: str) -> NoReturn:
    sys.stderr.write(f"sep: {' '.join(message.split())}\n")
    sys.exit(2)
