"""Pages about people."""

from django.urls import path

from server.accounts import views

urlpatterns = [
    path("profile/", views.profile, name="profile"),
    path("teams/", views.teams, name="teams"),
    path("teams/join/<str:text>/", views.join_team, name="join-team"),
    path("teams/<slug:slug>/", views.team, name="team"),
    path("teams/<slug:slug>/leave/", views.leave_team, name="leave-team"),
    path("tokens/", views.tokens, name="tokens"),
    path("tokens/<int:pk>/revoke/", views.revoke_token, name="revoke-token"),
]
