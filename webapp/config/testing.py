"""Settings of the test runs: a `var` folder of their own that goes when the process ends.

Two test runs in one checkout share nothing, and no test can touch the data of a running SEP.
"""

import atexit
import os
import shutil
import tempfile

_var_path = tempfile.mkdtemp(prefix="sep-test-")
_owner = os.getpid()


@atexit.register
def _remove() -> None:
    # A forked child ends with the same registration; the folder is not its own.
    if os.getpid() == _owner:
        shutil.rmtree(_var_path, ignore_errors=True)


os.environ["SEP_VAR_PATH"] = _var_path
os.environ.pop("VALKEY_URL", None)
os.environ.pop("REDIS_URL", None)

from webapp.config.settings import *  # noqa: E402,F403

# A connection that stays open would keep the test database from being dropped.
DATABASES["default"]["CONN_MAX_AGE"] = 0  # noqa: F405
# Argon2 is slow on purpose; what it protects is not under test.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
