"""Pages about people."""

from django.urls import path

from server.accounts import team_views, views

urlpatterns = [
    path("profile/", views.profile, name="profile"),
    path("teams/", team_views.teams, name="teams"),
    path("teams/join/<str:text>/", team_views.join_team, name="join-team"),
    path("teams/<slug:slug>/", team_views.team, name="team"),
    path("teams/<slug:slug>/leave/", team_views.leave_team, name="leave-team"),
    path("teams/<slug:slug>/rename/", team_views.rename_team, name="rename-team"),
    path("teams/<slug:slug>/withdraw/", team_views.withdraw_links, name="withdraw-links"),
    path("teams/<slug:slug>/members/<int:pk>/", team_views.member, name="member"),
    path("tokens/", views.tokens, name="tokens"),
    path("tokens/<int:pk>/revoke/", views.revoke_token, name="revoke-token"),
]
