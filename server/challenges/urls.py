"""Pages everybody may read."""

from django.urls import path

from server.challenges import views

urlpatterns = [
    path("", views.home, name="home"),
    path("challenges/<slug:slug>/", views.challenge, name="challenge"),
]
