#!/usr/bin/env python
"""Run a Django command of SEP: `python manage.py help` lists them.

What a person can put right is told in one line. Exit codes: 0 done, 1 it could not be done, 2 wrong
use, 3 (`runtrader`) another trader has the account, 130 interrupted. `--traceback` tells all.
"""

import os
import sys

# They run for days; where in them an error came from is what their log is read for.
SERVICES = ("runtrader", "relay")
UNPREPARED = ("no such table", "no such column", "does not exist")


def main() -> None:
    """Run the command of this process.

    Raises:
        SystemExit: it ended otherwise than well; one line said why.
    """
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
        from django.db import OperationalError, ProgrammingError
    except ModuleNotFoundError as error:
        sys.exit(f"SEP: {sys.executable} has no {error.name}: make run, then .venv/bin/python")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.config.settings")
    try:
        execute_from_command_line(sys.argv)
    except KeyboardInterrupt:
        sys.exit(130)
    except EOFError:
        sys.exit("SEP: a question was not answered; nothing was done")
    except BrokenPipeError:
        # The reader has enough (`manage.py ... | head`); stdout must not be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ImproperlyConfigured as error:
        sys.exit(f"SEP: {error}")
    except (OperationalError, ProgrammingError) as error:
        said = " ".join(str(error).split())
        unprepared = any(text in said for text in UNPREPARED)
        if "--traceback" in sys.argv or not (
            unprepared or (isinstance(error, OperationalError) and sys.argv[1] not in SERVICES)
        ):
            raise
        what = "run manage.py migrate first" if unprepared else "is its server up?"
        sys.exit(f"SEP: the database: {said}; {what}")


if __name__ == "__main__":
    main()
