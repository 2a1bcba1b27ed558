from io import StringIO

import pytest
from allauth.account.models import EmailAddress
from django.core.management import CommandError, call_command

from server.accounts.models import Team, Token, User
from tests.server.making import PASSWORD

pytestmark = pytest.mark.django_db


def make(*arguments):
    out = StringIO()
    call_command("make_account", *arguments, stdout=out)
    return out.getvalue().strip()


def test_an_account_is_made_once_and_then_brought_to_what_is_asked():
    make("ada@example.org", "--password", PASSWORD, "--name", "Ada")
    make("Ada@example.org", "--password", f"{PASSWORD}!", "--staff", "--name", "Ada L.")
    user = User.objects.get()
    assert user.check_password(f"{PASSWORD}!")
    assert (user.is_staff, user.name, user.own_team.name) == (True, "Ada L.", "Ada L.")
    assert EmailAddress.objects.get(user=user).verified


def test_running_it_again_takes_nothing_away():
    make("ada@example.org", "--password", PASSWORD, "--staff")
    make("ada@example.org")
    user = User.objects.get()
    assert user.is_staff
    assert user.check_password(PASSWORD)


def test_a_token_is_printed_alone_and_replaces_its_namesake():
    first = make("ada@example.org", "--password", PASSWORD, "--token", "demo")
    second = make("ada@example.org", "--token", "demo")
    assert first != second
    assert Token.objects.get().digest == Token.digest_of(second)


def test_a_team_is_made_and_joined_once():
    for email in ("ada@example.org", "bob@example.org", "bob@example.org"):
        make(email, "--password", PASSWORD, "--team", "Baselines", "--baseline")
    team = Team.objects.get(name="Baselines")
    assert team.baseline
    roles = team.memberships.order_by("user__email").values_list("user__email", "role")
    assert list(roles) == [("ada@example.org", "owner"), ("bob@example.org", "member")]


@pytest.mark.parametrize("arguments", [("no address",), ("a@example.org", "--password", "1234")])
def test_a_bad_address_or_a_weak_password_makes_no_account(arguments):
    with pytest.raises(CommandError):
        make(*arguments)
    assert not User.objects.exists()
