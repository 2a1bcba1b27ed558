"""Pages about submissions."""

from django.urls import path

from server.submissions import merging_views, views

urlpatterns = [
    path("submissions/", views.submissions, name="submissions"),
    path("submissions/<int:pk>/", views.submission, name="submission"),
    path("submissions/<int:pk>/live/", views.submission_live, name="submission-live"),
    path("submissions/<int:pk>/cancel/", views.cancel_submission, name="cancel-submission"),
    path("challenges/<slug:slug>/submit/", views.upload, name="upload"),
    *merging_views.pages,
]
