"""Who am I, a token for a password, my tokens."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import authenticate
from django.shortcuts import get_object_or_404
from django.urls import path
from django.utils.timezone import now
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.generics import ListAPIView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from server.accounts import audit_api, teams_api
from server.accounts.models import Scope, Team, Token, User
from server.accounts.teams_api import TeamSerializer
from server.accounts.tokens import issue, revoke
from server.api import asker
from server.errors import Refused
from server.throttling import NamedRate


class MeSerializer(serializers.ModelSerializer[User]):
    """The person who asks."""

    teams = serializers.SerializerMethodField()

    class Meta:
        model = User
        fields = ("email", "name", "teams")

    @extend_schema(responses=TeamSerializer(many=True))
    def get_teams(self, user: User) -> list[dict[str, str]]:
        """Their own first."""
        return [{"slug": team.slug, "name": team.name} for team in Team.objects.of(user)]


class TokenRequest(serializers.Serializer[Any]):
    """E-mail and password for a token.  name: where it will be used.  days: how long it lasts."""

    email = serializers.EmailField()
    password = serializers.CharField(max_length=500, trim_whitespace=False)
    name = serializers.CharField(max_length=80)
    scopes = serializers.MultipleChoiceField(
        choices=Scope.choices, required=False, allow_empty=False,
        default=lambda: {Scope.READ.value, Scope.SUBMIT.value},
    )  # fmt: skip
    days = serializers.IntegerField(min_value=1, max_value=365, required=False, default=365)


class TokenSerializer(serializers.ModelSerializer[Token]):
    """A token; `token` is its text, shown this once."""

    token = serializers.CharField(read_only=True, default="")

    class Meta:
        model = Token
        fields = ("token", "name", "prefix", "scopes", "expires")


class KnownTokenSerializer(serializers.ModelSerializer[Token]):
    """A token as its owner sees it later."""

    class Meta:
        model = Token
        fields = ("id", "name", "prefix", "scopes", "created", "expires", "last_used")
        read_only_fields = fields


class Me(APIView):
    """The person who asks, and their teams."""

    @extend_schema(responses=MeSerializer)
    def get(self, request: Request) -> Response:
        """E-mail, name, teams."""
        return Response(MeSerializer(asker(request)).data)


class Tokens(APIView):
    """Tokens for scripts."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = (NamedRate,)
    throttle_scope = "tokens"
    secret_answer = True

    @extend_schema(request=TokenRequest, responses={201: TokenSerializer}, auth=[])
    def post(self, request: Request) -> Response:
        """A new token, which may read and submit for a year unless other is asked."""
        asked = TokenRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        wish = asked.validated_data
        user = authenticate(request, username=wish["email"].lower(), password=wish["password"])
        if user is None:
            raise Refused(
                "wrong_password",
                "E-mail or password is wrong. Type them again, or reset the password on the site.",
                status=401,
            )
        token, text = issue(
            user,
            name=wish["name"],
            scopes=wish["scopes"],
            days=wish["days"],
            at=now(),
            by=user,
        )
        answer = TokenSerializer(token).data | {"token": text}
        return Response(answer, status=status.HTTP_201_CREATED)


class MyTokens(ListAPIView[Token]):
    """The asker's tokens."""

    serializer_class = KnownTokenSerializer

    def get_queryset(self) -> Any:
        """Newest first."""
        if getattr(self, "swagger_fake_view", False):
            return Token.objects.none()
        return asker(self.request).tokens.all()


class MyToken(APIView):
    """One of the asker's tokens."""

    @extend_schema(responses={204: None})
    def delete(self, request: Request, key: int) -> Response:
        """Revoke it: from now on it opens nothing."""
        revoke(get_object_or_404(asker(request).tokens, pk=key), by=asker(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


urlpatterns = [
    path("me/", Me.as_view(), name="api-me"),
    *teams_api.urlpatterns,
    path("tokens/", Tokens.as_view(), name="api-tokens"),
    path("me/tokens/", MyTokens.as_view(), name="api-my-tokens"),
    path("me/tokens/<int:key>/", MyToken.as_view(), name="api-my-token"),
    *audit_api.urlpatterns,
]
