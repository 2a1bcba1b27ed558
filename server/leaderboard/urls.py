"""The leaderboard's page."""

from django.urls import path

from server.leaderboard import views

urlpatterns = [
    path("challenges/<slug:slug>/<slug:phase>/leaderboard/", views.leaderboard, name="leaderboard"),
]
