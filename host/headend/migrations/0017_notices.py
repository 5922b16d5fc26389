"""Schema 17: notices to households and their tries, and the links to households' own pages."""

from django.db import migrations, models

from host.headend.engine_sql import stamp


def _number() -> models.BigIntegerField:
    return models.BigIntegerField(db_default=0)


def _text(size: int = 64, default: str = "") -> models.CharField:
    return models.CharField(db_default=default, max_length=size)


def _maybe() -> models.BigIntegerField:
    return models.BigIntegerField(null=True)


def _key(size: int) -> models.CharField:
    return models.CharField(max_length=size, primary_key=True, serialize=False)


def _id() -> models.BigAutoField:
    return models.BigAutoField(
        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
    )


class Migration(migrations.Migration):
    dependencies = (("station", "0016_tickets"),)

    operations = [
        *(
            migrations.AddField(model_name="station", name=name, field=_text(size))
            for name, size in (
                *(("page_url", 200), ("hotline", 64), ("pay_at", 400), ("link_key", 64)),
            )
        ),
        migrations.CreateModel(
            name="Notice",
            fields=[
                ("id", _id()),
                ("kind", _text(16)),
                ("event", _text(80)),
                ("account", models.CharField(max_length=12)),
                ("told", models.TextField(db_default="{}")),
                ("language", _text(2)),
                ("title", _text(100)),
                ("text", models.TextField(db_default="")),
                ("state", _text(16)),
                ("made_at", _number()),
                ("made_by", _text()),
                ("due_at", _number()),
                ("tries_before", _number()),
                ("rounds", _number()),
                ("sent_at", _maybe()),
                ("ended_at", _maybe()),
                ("way", _text(32)),
                ("proves", _number()),
                ("why", _text(200)),
            ],
            options={
                "db_table": "notices",
                "indexes": [
                    models.Index(fields=["account", "sent_at"], name="notices_account"),
                    models.Index(fields=["state", "due_at"], name="notices_state"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("kind", "event", "account"), name="notices_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="NoticeTry",
            fields=[
                ("id", _id()),
                ("notice", models.BigIntegerField()),
                ("way", _text(32)),
                ("begun_at", _number()),
                ("ended_at", _maybe()),
                ("outcome", _text(16)),
                ("said", _text(200)),
            ],
            options={
                "db_table": "notice_tries",
                "indexes": [models.Index(fields=["notice"], name="notice_tries_notice")],
            },
        ),
        migrations.CreateModel(
            name="NoticeChoice",
            fields=[
                ("account", _key(12)),
                ("email", _text(100)),
                ("language", _text(2)),
                ("refused", _text(200)),
                ("changed_at", _number()),
            ],
            options={"db_table": "notice_choices"},
        ),
        migrations.CreateModel(
            name="NoticeMark",
            fields=[("source", _key(32)), ("mark", _number())],
            options={"db_table": "notice_marks"},
        ),
        migrations.CreateModel(
            name="HouseholdLink",
            fields=[
                ("account", _key(12)),
                ("generation", _number()),
                ("changed_at", _number()),
                ("why", _text(200)),
            ],
            options={"db_table": "household_links"},
        ),
        migrations.CreateModel(
            name="HouseholdCode",
            fields=[
                ("account", _key(12)),
                ("digest", _text(64)),
                ("made_at", _number()),
                ("failures", _number()),
            ],
            options={"db_table": "household_codes"},
        ),
        stamp(17),
    ]
