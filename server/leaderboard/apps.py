from django.apps import AppConfig


class LeaderboardConfig(AppConfig):
    name = "server.leaderboard"
    label = "leaderboard"
    verbose_name = "Leaderboard"
