"""Loaded before anything else (`-p tests.environment`): tests get a state folder of their own.

Django reads its settings before any conftest.py is imported, so this cannot stand there.
"""

import atexit
import os
import shutil
import tempfile

HOME = tempfile.mkdtemp(prefix="crista-test-")
os.environ["CRISTA_HOME"] = HOME
os.environ["XDG_CACHE_HOME"] = os.path.join(HOME, "cache-of-the-user")
os.environ.pop("REDIS_URL", None)
os.environ.pop("CRISTA_URL", None)
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
