"""Settings of the site and its workers.  What differs between places is read from the environment.

    CRISTA_HOME          folder of everything that is stored (default: .crista beside manage.py)
    CRISTA_URL           address people use, https://crista.example.org; https makes cookies secure
    CRISTA_HOSTS         further host names the site answers to, separated by commas
    CRISTA_DEBUG         1 shows errors in the browser; never in public
    CRISTA_SECRET_KEY    key that signs sessions (default: made once and kept in CRISTA_HOME)
    CRISTA_SITE_NAME     name in page titles and mails
    CRISTA_EMAIL_URL     smtp://user:password@host:port or smtps://…; without it mails become files
    CRISTA_EMAIL_FROM    sender of mails
    CRISTA_WEBHOOK_HOSTS hosts that webhooks may go to, separated by commas: hooks.example.org,
                         *.example.org; 10.1.0.0/16 lets their names lead there (default: none)
    CRISTA_VERIFY_EMAIL  "mandatory", "optional" or "none" (default: optional)
    CRISTA_STORAGE       s3://bucket/prefix?endpoint=https://…&region=… (default: files in
                         CRISTA_HOME); credentials as AWS tools find them, AWS_ACCESS_KEY_ID first
    CRISTA_SCRATCH       folder for what is needed while a target is scored, best on a local disk
                         (default: scratch in CRISTA_HOME)
    CRISTA_LARGE_GB      a target that may need more memory goes to the workers of the queue
                         score-large (default: 8)
    DATABASE_URL         postgres://… (default: a tuned SQLite file in CRISTA_HOME)
    REDIS_URL            redis://… (default: the embedded queue server's address, run/queue.url)

`server/checks.py` says what is wrong with them; `manage.py check` prints it.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

import dj_database_url
import structlog
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from server.secret import secret_key

BASE_DIR = Path(__file__).resolve().parent.parent
STATE_DIR = Path(os.environ.get("CRISTA_HOME") or BASE_DIR / ".crista").absolute()
UPLOAD_DIR = STATE_DIR / "uploads"
TRUTH_DIR = STATE_DIR / "truth"
STATE_DIR.mkdir(mode=0o750, parents=True, exist_ok=True)

SITE_NAME = os.environ.get("CRISTA_SITE_NAME", "Crista")
SITE_URL = os.environ.get("CRISTA_URL", "http://localhost:8000").rstrip("/")
SECURE = SITE_URL.startswith("https://")
DEBUG = os.environ.get("CRISTA_DEBUG") == "1"
SECRET_KEY = os.environ.get("CRISTA_SECRET_KEY") or secret_key(STATE_DIR / "secret.key")

ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS += [urlsplit(SITE_URL).hostname or "localhost"]
ALLOWED_HOSTS += [h.strip() for h in os.environ.get("CRISTA_HOSTS", "").split(",") if h.strip()]
CSRF_TRUSTED_ORIGINS = [SITE_URL]

INSTALLED_APPS = [
    "server",
    "server.accounts",
    "server.notices",
    "server.challenges",
    "server.submissions",
    "server.leaderboard",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "server.throttling.RateHeaders",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "server.idempotency.Once",
]

ROOT_URLCONF = "server.urls"
WSGI_APPLICATION = "server.wsgi.application"
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

# SQLite's defaults fail a quarter of all requests under load ("database is locked"); these none.
# FULL: a commit survives a power failure, so no finished score is lost.
SQLITE = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;PRAGMA foreign_keys=ON;"
    "PRAGMA busy_timeout=20000;PRAGMA cache_size=-64000;PRAGMA mmap_size=134217728;",
}
DATABASES = {"default": dj_database_url.config(default=f"sqlite:///{STATE_DIR / 'db.sqlite3'}")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # Tests get a file too: threads and workers share it, which an in-memory database cannot.
    DATABASES["default"] |= {"OPTIONS": SQLITE, "TEST": {"NAME": STATE_DIR / "test.sqlite3"}}
else:
    DATABASES["default"] |= {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Files, so that all processes of the site count the same throttles.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": STATE_DIR / "cache",
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    }
}

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator",
                 "CommonPasswordValidator", "NumericPasswordValidator")
]  # fmt: skip
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_LOGOUT_REDIRECT_URL = "/"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_SIGNUP_FORM_CLASS = "server.accounts.forms.SignupForm"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = os.environ.get("CRISTA_VERIFY_EMAIL", "optional")
ACCOUNT_EMAIL_SUBJECT_PREFIX = f"[{SITE_NAME}] "
ACCOUNT_SESSION_REMEMBER = True

DEFAULT_FROM_EMAIL = os.environ.get("CRISTA_EMAIL_FROM", "crista@localhost")
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = STATE_DIR / "mail"
if _mail := os.environ.get("CRISTA_EMAIL_URL"):
    _parts = urlsplit(_mail)
    EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    EMAIL_USE_SSL = _parts.scheme == "smtps"
    EMAIL_HOST = _parts.hostname or "localhost"
    EMAIL_PORT = _parts.port or (465 if EMAIL_USE_SSL else 25)
    EMAIL_HOST_USER = unquote(_parts.username or "")
    EMAIL_HOST_PASSWORD = unquote(_parts.password or "")

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # served from where they lie: no build step, nothing to collect
WHITENOISE_AUTOREFRESH = DEBUG

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
SECURE_HSTS_SECONDS = 31_536_000 if SECURE else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SECURE else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "server.api.TokenAuthentication",
        "server.api.SiteSession",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["server.api.WithinScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "server.api.Pages",
    "DEFAULT_SCHEMA_CLASS": "server.api_schema.Described",
    "DEFAULT_THROTTLE_CLASSES": [
        "server.throttling.VisitorRate",
        "server.throttling.PersonRate",
    ],
    "DEFAULT_THROTTLE_RATES": {"anon": "120/min", "user": "1200/min", "tokens": "10/min"},
    "EXCEPTION_HANDLER": "server.api.problem_response",
    "NUM_PROXIES": 1 if SECURE else 0,
}
SPECTACULAR_SETTINGS = {
    "TITLE": f"{SITE_NAME} API",
    "DESCRIPTION": "Everything the site does, for scripts and for the `evaluator` commands.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {"NoticeKindEnum": "server.notices.muting.CHOICES"},
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "server.api_schema.complete",
    ],
}

REDIS_URL = os.environ.get("REDIS_URL")
STORAGE = os.environ.get("CRISTA_STORAGE", "")
STORAGE_CACHE_BYTES = 100 * 10**9  # of copies that a worker keeps of what lies in a bucket
UPLOAD_PART_BYTES = 64 * 2**20  # what clients are asked to send at once
UPLOAD_SILENCE_S = 60  # a sender that is silent for this long is gone; it may take up again
UPLOAD_RESERVE_BYTES = 2**30  # disk space that uploads leave free, for the database above all
UPLOAD_KEEP_HOURS = 24 * 7
SCRATCH_DIR = Path(os.environ.get("CRISTA_SCRATCH") or STATE_DIR / "scratch").absolute()
ITEM_TIMEOUT_S = 24 * 3600  # no target takes longer; its own limits, by its size, come first
ITEM_LEASE_S = 90  # a scoring item without a sign of life for this long is given to another worker
ITEM_ATTEMPTS = 3
ITEM_DEATHS = 2  # processes that one target may bring down before it is quarantined
ITEM_PAUSE_S = 10  # before the second attempt; twice as long before the third
try:
    LARGE_ITEM_BYTES = int(float(os.environ.get("CRISTA_LARGE_GB") or 8) * 10**9)
except (ValueError, OverflowError) as error:
    raise ImproperlyConfigured(
        f"CRISTA_LARGE_GB is {os.environ['CRISTA_LARGE_GB']!r}. Give a number of gigabytes, such "
        "as 8."
    ) from error
CHECK_ATTEMPTS = 3
NOTICE_ATTEMPTS = 8  # tries to send a mail or to post to a webhook, ever further apart
NOTICE_KEEP_DAYS = 365
WEBHOOK_HOSTS = [
    host.strip().lower()
    for host in os.environ.get("CRISTA_WEBHOOK_HOSTS", "").split(",")
    if host.strip()
]
WEBHOOK_TIMEOUT_S = 10

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "structlog.stdlib.ProcessorFormatter",
            "processor": structlog.dev.ConsoleRenderer(colors=False)
            if DEBUG
            else structlog.processors.JSONRenderer(),
            "foreign_pre_chain": [
                structlog.stdlib.add_log_level,
                structlog.processors.TimeStamper(fmt="iso"),
                structlog.processors.format_exc_info,
            ],
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
}
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)
