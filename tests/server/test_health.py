import pytest


@pytest.mark.django_db
def test_a_site_with_its_queue_is_ready(client, queue_up):
    answer = client.get("/readyz")
    assert answer.status_code == 200
    state = answer.json()
    assert (state["database"], state["queue"]) == (True, True)
    assert state["free_bytes"] > 0


@pytest.mark.django_db
def test_a_site_without_its_queue_still_serves_and_says_so(client):
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["queue"] is False


def test_a_living_process_says_so_without_a_database(client):
    assert client.get("/healthz").json() == {"status": "alive"}


def test_health_cannot_be_posted_to(client):
    assert client.post("/healthz").status_code == 405
