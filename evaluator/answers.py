"""What a Crista server's answers mean: fine, refused, broken, or ask again later."""

from __future__ import annotations

import httpx

from evaluator.errors import ServerError, ServerRefusal

LONGEST_WAIT_S = 60.0


def sound(response: httpx.Response) -> httpx.Response:
    """The same.  ServerRefusal: the server says no.  ServerError: it is broken."""
    if response.is_server_error:
        raise ServerError(sentence(response))
    if response.is_client_error:
        raise ServerRefusal(sentence(response))
    return response


def wait(response: httpx.Response) -> float:
    """Seconds until the server wants to be asked again; 1 if it does not say."""
    text = response.headers.get("Retry-After", "")
    return min(float(text), LONGEST_WAIT_S) if text.isdecimal() else 1.0


def sentence(response: httpx.Response) -> str:
    """The server's own words, or the status where it has none."""
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"The server answered {response.status_code} {response.reason_phrase}."
