"""The head-end as an application of Django's."""

from django.apps import AppConfig


class HeadEndConfig(AppConfig):
    """Names the application, and where its models are."""

    name = "host.headend"
    label = "station"
    default_auto_field = "django.db.models.BigAutoField"
