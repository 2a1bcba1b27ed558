from django.apps import AppConfig


class ServerConfig(AppConfig):
    """The frame around the four apps: base templates, static files, commands, checks."""

    name = "server"
    label = "crista"
    verbose_name = "Crista"
