"""Which address leads where."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from server import api_docs, health, problems
from server.accounts import api as accounts
from server.challenges import api as challenges
from server.leaderboard import api as leaderboard
from server.notices import api as notices
from server.notices import views as notice_pages
from server.submissions import api as submissions

api_patterns: list[URLPattern | URLResolver] = [
    path("", include(accounts.urlpatterns)),
    path("", include(challenges.urlpatterns)),
    path("", include(submissions.urlpatterns)),
    path("", include(leaderboard.urlpatterns)),
    path("", include(notices.urlpatterns)),
    path("schema/", api_docs.Schema.as_view(), name="api-schema"),
    path("docs/", api_docs.Docs.as_view(), name="api-docs"),
]

urlpatterns = [
    path("api/", include(api_patterns)),
    path("accounts/", include("allauth.urls")),
    path("admin/", admin.site.urls),
    path("healthz", health.alive, name="healthz"),
    path("readyz", health.ready, name="readyz"),
    path("", include("server.accounts.urls")),
    path("", include("server.challenges.urls")),
    path("", include("server.submissions.urls")),
    path("", include("server.leaderboard.urls")),
    path("", include(notice_pages.urlpatterns)),
    path("", include(problems.urlpatterns)),
]

handler404 = "server.api.not_found"
handler500 = "server.api.broken"
