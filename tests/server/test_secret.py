import stat
from concurrent.futures import ThreadPoolExecutor

from server.secret import secret_key


def test_a_key_is_made_once_for_its_owner_only(tmp_path):
    file = tmp_path / "secret.key"
    key = secret_key(file)
    assert len(key) >= 50
    assert secret_key(file) == key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_processes_that_start_together_agree_on_one_key(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: secret_key(tmp_path / "secret.key"), range(40)))
    assert len(keys) == 1
