"""Django settings. Every variable is read here, once and strictly.

SEP_ENV=local (the default) is one person's machine: SQLite, embedded Valkey, secrets made once into
`var/`. SEP_ENV=production makes none of them up and refuses to start without them.
"""

from datetime import timedelta
from pathlib import Path

import dj_database_url
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static

from webapp import embedded_valkey
from webapp.config import env, valkey_url

BASE_DIR = Path(__file__).resolve().parents[2]
# Read here, by the engine, by the build, by compose or by tests. A misspelled name stops the
# process: a switch that a person believes to have set must not be ignored.
env.refuse_unknown(
    "SEP_",
    (
        "SEP_BUILD",
        "SEP_CUDA",
        "SEP_DATA_PATH",
        "SEP_ENV",
        "SEP_HOST",
        "SEP_HTTPS",
        "SEP_HTTP_THREADS",
        "SEP_JWT_KEY",
        "SEP_JWT_KEY_FILE",
        "SEP_KILLPOINT",
        "SEP_LIVE_ACCOUNT",
        "SEP_LIVE_TRADING",
        "SEP_OANDA_ACCOUNT",
        "SEP_OANDA_TOKEN",
        "SEP_OANDA_TOKEN_FILE",
        "SEP_OANDA_URL",
        "SEP_SAMPLES_PATH",
        "SEP_SHARD_MEMORY_MB",
        "SEP_SHARD_TIME_S",
        "SEP_SIMD",
        "SEP_SECRET_KEYS",
        "SEP_SECRET_KEYS_FILE",
        "SEP_STATIC_PATH",
        "SEP_TESTS",
        "SEP_TRUSTED_PROXIES",
        "SEP_VAR_PATH",
    ),
)

PRODUCTION = env.choice("SEP_ENV", ("local", "production")) == "production"
SEP_VERSION = "0.1.0"
SEP_BUILD = env.text("SEP_BUILD", SEP_VERSION)

SEP_VAR_PATH = env.folder("SEP_VAR_PATH", BASE_DIR / "var")

# Secrets: the key that signs tokens is never the key that signs cookies.
_KEPT = None if PRODUCTION else SEP_VAR_PATH
SECRET_KEY = env.secret("SECRET_KEY", kept_in=_KEPT and _KEPT / "secret_key")
SEP_JWT_KEY = env.secret("SEP_JWT_KEY", kept_in=_KEPT and _KEPT / "jwt_key")
if SECRET_KEY == SEP_JWT_KEY:
    raise ImproperlyConfigured("SECRET_KEY and SEP_JWT_KEY must differ")

# What seals secrets at rest, newest key first (webapp.config.sealing).
SEP_SECRET_KEYS = tuple(env.text("SEP_SECRET_KEYS").replace(",", " ").split())
SEP_SECRET_KEYS_PATH = _KEPT and _KEPT / "secret_keys"
for _key in SEP_SECRET_KEYS:
    try:
        Fernet(_key)
    except ValueError as error:
        raise ImproperlyConfigured(
            "each of SEP_SECRET_KEYS must be 32 random bytes in url-safe base64"
        ) from error

# The local OANDA server, and the token that it asks for.
SEP_OANDA_URL = env.text("SEP_OANDA_URL")
SEP_OANDA_TOKEN = ""
if SEP_OANDA_URL:
    SEP_OANDA_TOKEN = env.secret("SEP_OANDA_TOKEN", kept_in=_KEPT and _KEPT / "oanda_token")

# Real money needs both of these, and more (webapp.trading.services.live_arming).
SEP_LIVE_TRADING = env.flag("SEP_LIVE_TRADING", default=False)
SEP_LIVE_ACCOUNT = env.text("SEP_LIVE_ACCOUNT")

DEBUG = False
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", ("localhost", "127.0.0.1", "[::1]"))
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")
if PRODUCTION and not env.text("ALLOWED_HOSTS"):
    raise ImproperlyConfigured("ALLOWED_HOSTS must name the hosts that this site answers to")
if "*" in ALLOWED_HOSTS:
    raise ImproperlyConfigured("ALLOWED_HOSTS must name hosts, * is refused")

# Proxies whose X-Forwarded-For is believed, as addresses or networks: failed logins are counted by
# the address that a request comes from.
SEP_TRUSTED_PROXIES = env.networks("SEP_TRUSTED_PROXIES")

# HTTPS is on in production unless a private network says otherwise.
HTTPS = env.flag("SEP_HTTPS", default=PRODUCTION)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
# Health checks come from inside the network, without TLS.
SECURE_REDIRECT_EXEMPT = [r"^api/health$", r"^health$", r"^metrics$"]
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 3600
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    # Its pages are found where addresses are (webapp.config.urls): the trader and the workers serve
    # none, and reading them is half of what Django's start costs a process.
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework_simplejwt.token_blacklist",
    "drf_spectacular",
    "webapp.trading",
    "webapp.dashboard",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "webapp.config.middleware.ContentSecurityPolicy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "webapp.config.urls"
WSGI_APPLICATION = "webapp.config.wsgi.application"
ASGI_APPLICATION = "webapp.config.asgi.application"
# Addresses have no trailing slash; the admin's own addresses keep theirs.
APPEND_SLASH = False
LOGIN_URL = "/login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/login"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# The record. SQLite needs WAL for readers beside a writer, and IMMEDIATE because a deferred
# transaction that turns into a writer fails at once instead of waiting.
DATABASE_URL = env.text("DATABASE_URL")
if DATABASE_URL:
    try:
        _database = dj_database_url.parse(
            DATABASE_URL, conn_max_age=600, conn_health_checks=True, ssl_require=False
        )
    except ValueError:
        _database = {}
    if _database.get("ENGINE") != "django.db.backends.postgresql" or not _database["NAME"]:
        # The address holds a password: what it was is not told.
        raise ImproperlyConfigured(
            "DATABASE_URL must be postgresql://user:password@host/name, or unset: SQLite"
        )
    DATABASES = {"default": _database}
    DATABASES["default"]["OPTIONS"] = {
        **DATABASES["default"].get("OPTIONS", {}),
        "options": "-c lock_timeout=2000 -c statement_timeout=30000"
        " -c idle_in_transaction_session_timeout=60000"
        # A claim that a crash of the server can take back is no claim.
        " -c synchronous_commit=on",
    }
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(SEP_VAR_PATH / "sep.sqlite3"),
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 5,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
            },
            "TEST": {"NAME": SEP_VAR_PATH / "test.sqlite3"},
        }
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Valkey: database 0 events and channel layer, 1 cache and sessions, 2 Celery. Never the record.
VALKEY_URL = valkey_url.canonical(
    env.text("VALKEY_URL")
    or env.text("REDIS_URL")
    or f"unix://{embedded_valkey.socket_path(SEP_VAR_PATH)}"
)
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_valkey.pubsub.ValkeyPubSubChannelLayer",
        "CONFIG": {"hosts": [valkey_url.with_database(VALKEY_URL, 0)], "prefix": "sep"},
    }
}
CACHES = {
    "default": {
        "BACKEND": "django_valkey.cache.ValkeyCache",
        "LOCATION": valkey_url.with_database(VALKEY_URL, 1),
        "KEY_PREFIX": "sep",
        "OPTIONS": {
            # The cache may be gone while trading goes on: sessions then come from the database.
            "IGNORE_EXCEPTIONS": True,
            "SOCKET_CONNECT_TIMEOUT": 1,
            "SOCKET_TIMEOUT": 1,
        },
    }
}
CSRF_FAILURE_VIEW = "webapp.trading.api.errors.csrf_failure"
SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"

AUTHENTICATION_BACKENDS = ["webapp.config.login.CountedLogin"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]

LANGUAGE_CODE = "en-gb"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
FORMAT_MODULE_PATH = ["webapp.config.formats"]

# Static files: found in the source tree locally, collected once into an image in production.
STATIC_URL = "/static/"
STATIC_ROOT = env.folder("SEP_STATIC_PATH", SEP_VAR_PATH / "static")
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    # Vite has put hashes into the names already.
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = not PRODUCTION
WHITENOISE_AUTOREFRESH = False
WHITENOISE_IMMUTABLE_FILE_TEST = r"^/static/dashboard/assets/.+-[\w-]{8,}\.\w+$"

# Bounds on what a request may carry.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2_000
SEP_BODY_BYTES_MAX = 2_000_000
SEP_HTTP_THREADS = env.whole("SEP_HTTP_THREADS", 8, low=1, high=64)

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "webapp.trading.api.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],
    "DEFAULT_RENDERER_CLASSES": ["webapp.trading.api.rendering.JsonRenderer"],
    "DEFAULT_PARSER_CLASSES": ["webapp.trading.api.rendering.JsonParser"],
    "DEFAULT_PAGINATION_CLASS": "webapp.trading.api.pages.Page",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "webapp.trading.api.errors.exception_response",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "COERCE_DECIMAL_TO_STRING": True,
}

SIMPLE_JWT = {
    "SIGNING_KEY": SEP_JWT_KEY,
    "ALGORITHM": "HS256",
    "AUDIENCE": "sep-api",
    "ISSUER": "sep",
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=5),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=1),
    "ROTATE_REFRESH_TOKENS": True,
    "BLACKLIST_AFTER_ROTATION": True,
    # A changed password ends every token made before it.
    "CHECK_REVOKE_TOKEN": True,
    "UPDATE_LAST_LOGIN": False,
}

SPECTACULAR_SETTINGS = {
    "TITLE": "SEP",
    "DESCRIPTION": "Prices, metrics, signals, orders and positions of one trading account.",
    "VERSION": SEP_VERSION,
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAdminUser"],
    "SCHEMA_PATH_PREFIX": r"/api",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENFORCE_NON_BLANK_FIELDS": False,
    "ENUM_NAME_OVERRIDES": {
        name: f"webapp.trading.api.shapes.{values}"
        for name, values in {
            "OrderState": "ORDER_STATES",
            "TradingMode": "TRADING_MODES",
            "OrderType": "ORDER_TYPES",
            "TimeInForce": "TIMES_IN_FORCE",
            "PositionFill": "POSITION_FILLS",
            "Comparison": "COMPARISONS",
            "Origin": "ORIGINS",
            "Direction": "DIRECTIONS",
            "Scope": "SCOPES",
            "JobState": "JOB_STATES",
            "HealthState": "HEALTH_STATES",
            "ProcessState": "PROCESS_STATES",
            "PartState": "PART_STATES",
        }.items()
    }
    | {
        "RunKind": "webapp.trading.api.run_shapes.RUN_KINDS",
        "RunState": "webapp.trading.api.run_shapes.RUN_STATES",
    },
}

# Celery carries ids; results live in AnalysisJob rows.
CELERY_BROKER_URL = valkey_url.for_celery(VALKEY_URL, 2)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_TIMEZONE = "UTC"
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 600,
    "socket_timeout": 15,
    "socket_connect_timeout": 1,
    # Who queues a job is told at once when that cannot be done; workers try on by themselves.
    "max_retries": 1,
    "interval_start": 0,
    "interval_max": 0.1,
}
# Where data sets for research are; each worker reads them from its own disk.
SEP_DATA_PATH = Path(env.text("SEP_DATA_PATH") or SEP_VAR_PATH / "data")
# Research: what the process of one shard may take, and how long a silent worker keeps its shard.
SEP_SHARD_MEMORY_MB = env.whole("SEP_SHARD_MEMORY_MB", 4_096, low=256, high=1_048_576)
SEP_SHARD_TIME_S = env.whole("SEP_SHARD_TIME_S", 3_600, low=1, high=86_400)
SEP_SHARD_LEASE_S = 30
CELERY_BEAT_SCHEDULE = {
    "runs": {
        "task": "trading.runs_tend",
        "schedule": 10.0,
        "options": {"expires": 9},
    },
    "performance": {
        "task": "trading.performance_record",
        "schedule": 60.0,
        # What was not taken within its minute is of no use any more.
        "options": {"expires": 55},
    },
}

_UNFOLD_TITLE = "SEP"


def _icon(request: object) -> str:
    return static("sep/icon.svg")


UNFOLD = {
    "SITE_TITLE": _UNFOLD_TITLE,
    "SITE_HEADER": _UNFOLD_TITLE,
    "SITE_URL": "/",
    "SITE_ICON": _icon,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _icon}],
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        # 4xx answers are the caller's business, not the log's.
        "django.request": {"level": "ERROR"},
        "django.security.DisallowedHost": {"level": "ERROR"},
        # It tells of every request, which at a venue that is fed is every quote.
        "httpx": {"level": "WARNING"},
        # It tells of every second without Valkey with a traceback; the health tells it once.
        "channels_valkey": {"level": "CRITICAL"},
    },
}
