"""Teams over the API: members, roles, links.  Whoever is in none of them sees none of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils.timezone import now
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from server.accounts import invitations, memberships, teams
from server.accounts.models import Membership, Team
from server.api import asker


class TeamSerializer(serializers.ModelSerializer[Team]):
    """A team as others know it."""

    class Meta:
        model = Team
        fields = ("slug", "name")
        read_only_fields = ("slug",)


class MemberSerializer(serializers.ModelSerializer[Membership]):
    """A member.  id: of the membership."""

    name = serializers.CharField(source="user.name", read_only=True)

    class Meta:
        model = Membership
        fields = ("id", "name", "role", "joined")
        read_only_fields = ("id", "joined")


class TeamDetail(TeamSerializer):
    """A team as its members know it.  own: it is a person's team of one."""

    own = serializers.SerializerMethodField()
    members = MemberSerializer(source="memberships", many=True, read_only=True)

    class Meta:
        model = Team
        fields = ("slug", "name", "own", "members")

    def get_own(self, team: Team) -> bool:
        """True for a team of one."""
        return team.person_id is not None


class LinksSerializer(serializers.Serializer[Any]):
    """Links into a team.  join: for people.  merge: for the owner of another team.

    invitation, offer: the texts at their ends, for scripts.
    """

    invitation = serializers.CharField()
    offer = serializers.CharField()
    join = serializers.URLField()
    merge = serializers.URLField()
    expires = serializers.DateTimeField()


class JoinRequest(serializers.Serializer[Any]):
    """invitation: the text at the end of an invitation link."""

    invitation = serializers.CharField(max_length=500)


class Teams(ListAPIView[Team]):
    """Teams of the person who asks."""

    serializer_class = TeamDetail

    def get_queryset(self) -> Any:
        """Their own first."""
        if getattr(self, "swagger_fake_view", False):
            return Team.objects.none()
        return Team.objects.of(asker(self.request)).prefetch_related("memberships__user")

    @extend_schema(request=TeamSerializer, responses={201: TeamSerializer})
    def post(self, request: Request) -> Response:
        """Begin a team; whoever asks becomes its owner."""
        asked = TeamSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        team = teams.create_team(asker(request), name=asked.validated_data["name"])
        return Response(TeamSerializer(team).data, status=status.HTTP_201_CREATED)


class OneTeam(APIView):
    """One of the asker's teams."""

    @extend_schema(responses=TeamDetail)
    def get(self, request: Request, slug: str) -> Response:
        """Its name and members."""
        return Response(TeamDetail(teams.team_of(asker(request), slug)).data)

    @extend_schema(request=TeamSerializer, responses=TeamDetail)
    def patch(self, request: Request, slug: str) -> Response:
        """Another name, if an owner asks."""
        team = _owned(request, slug)
        asked = TeamSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        teams.rename(team, name=asked.validated_data["name"], by=asker(request))
        return Response(TeamDetail(team).data)


class JoinTeam(APIView):
    """Joining."""

    @extend_schema(request=JoinRequest, responses=TeamDetail)
    def post(self, request: Request) -> Response:
        """Become a member of the team that gave the invitation."""
        asked = JoinRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        team = invitations.invited_to(asked.validated_data["invitation"])
        memberships.join(asker(request), team=team)
        return Response(TeamDetail(team).data)


class LeaveTeam(APIView):
    """Leaving."""

    @extend_schema(request=None, responses={204: None})
    def post(self, request: Request, slug: str) -> Response:
        """End one's own membership."""
        memberships.leave(asker(request), team=teams.team_of(asker(request), slug))
        return Response(status=status.HTTP_204_NO_CONTENT)


class Links(APIView):
    """Links into a team, for its owners."""

    secret_answer = True

    @extend_schema(request=None, responses=LinksSerializer)
    def post(self, request: Request, slug: str) -> Response:
        """New links, valid for a week; earlier ones stay valid."""
        team = _owned(request, slug)
        join, merge = invitations.invitation(team), invitations.merge_offer(team)
        expires = now() + timedelta(seconds=invitations.LASTS_S)
        links = {
            "invitation": join, "offer": merge, "expires": expires,
            "join": request.build_absolute_uri(reverse("join-team", args=[join])),
            "merge": request.build_absolute_uri(reverse("merge-team", args=[merge])),
        }  # fmt: skip
        return Response(LinksSerializer(links).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, slug: str) -> Response:
        """Withdraw all links that are about."""
        invitations.withdraw(_owned(request, slug), by=asker(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


class Member(APIView):
    """One member of a team, for its owners."""

    @extend_schema(request=MemberSerializer, responses=MemberSerializer)
    def patch(self, request: Request, slug: str, key: int) -> Response:
        """Make them owner, or a plain member again."""
        row = _member(request, slug, key)
        asked = MemberSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        role = asked.validated_data.get("role", row.role)
        memberships.set_role(row, role, by=asker(request))
        return Response(MemberSerializer(row).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, slug: str, key: int) -> Response:
        """Remove them; what they submitted stays the team's."""
        memberships.remove(_member(request, slug, key), by=asker(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


def _owned(request: Request, slug: str) -> Team:
    team = teams.team_of(asker(request), slug)
    memberships.refuse_unless_owner(asker(request), team)
    if team.person_id:
        raise memberships.own_team()
    return team


def _member(request: Request, slug: str, key: int) -> Membership:
    team = teams.team_of(asker(request), slug)
    return get_object_or_404(team.memberships.select_related("user", "team"), pk=key)


urlpatterns = [
    path("teams/", Teams.as_view(), name="api-teams"),
    path("teams/join/", JoinTeam.as_view(), name="api-join-team"),
    path("teams/<slug:slug>/", OneTeam.as_view(), name="api-team"),
    path("teams/<slug:slug>/leave/", LeaveTeam.as_view(), name="api-leave-team"),
    path("teams/<slug:slug>/links/", Links.as_view(), name="api-team-links"),
    path("teams/<slug:slug>/members/<int:key>/", Member.as_view(), name="api-member"),
]
