"""The API's own description: OpenAPI, and pages made from it."""

from __future__ import annotations

from typing import Any

from csp.constants import UNSAFE_INLINE
from csp.decorators import csp_update
from django.utils.decorators import method_decorator
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from server.api import OpenToRead, SiteSession, TokenAuthentication


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # no types
    """What the API's documentation says of tokens."""

    target_class = TokenAuthentication
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """A bearer token."""
        return {"type": "http", "scheme": "bearer"}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # no types
    """What the API's documentation says of the site's session."""

    target_class = SiteSession
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """The session's cookie."""
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}


class Schema(SpectacularAPIView):
    """The OpenAPI description of everything under /api/."""

    permission_classes = (OpenToRead,)


@method_decorator(
    # Swagger UI sets styles on its elements and draws its icons as data: images.
    csp_update({"style-src": [UNSAFE_INLINE]}),
    name="dispatch",
)
class Docs(SpectacularSwaggerSplitView):
    """The same to read and to try."""

    permission_classes = (OpenToRead,)
    url_name = "api-schema"
