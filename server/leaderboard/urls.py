"""The leaderboard's pages."""

from django.urls import path

from server.leaderboard import views

urlpatterns = [
    path("challenges/<slug:slug>/<slug:phase>/leaderboard/", views.leaderboard, name="leaderboard"),
    path(
        "challenges/<slug:slug>/<slug:phase>/editions/<int:number>/", views.edition, name="edition"
    ),
    path("submissions/<int:pk>/choose/", views.choose, name="choose-submission"),
]
