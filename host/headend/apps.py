"""The head-end as a Django application."""

from django.apps import AppConfig


class HeadEndConfig(AppConfig):
    """The name of the application and the place of its models."""

    name = "host.headend"
    label = "station"
    default_auto_field = "django.db.models.BigAutoField"
