from django.apps import AppConfig
from django.core.checks import register

from server.checks import check_settings


class ServerConfig(AppConfig):
    """The frame around the four apps: base templates, static files, commands, checks."""

    name = "server"
    label = "crista"
    verbose_name = "Crista"

    def ready(self) -> None:
        """Have `manage.py check` look at the settings."""
        register(check_settings)
