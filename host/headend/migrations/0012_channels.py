"""Schema 12: channels and their calls, payments at providers, statements, recharge cards."""

from django.db import migrations, models

from host.headend.engine_sql import stamp


class Migration(migrations.Migration):
    dependencies = (("station", "0011_rooms"),)

    operations = [
        migrations.CreateModel(
            name="Channel",
            fields=[
                ("channel", models.CharField(max_length=20, primary_key=True, serialize=False)),
                ("kind", models.CharField(db_default="", max_length=16)),
                ("rights", models.CharField(db_default="", max_length=100)),
                ("secret", models.CharField(db_default="", max_length=64)),
                ("sale_limit_fen", models.BigIntegerField(db_default=0)),
                ("day_limit_fen", models.BigIntegerField(db_default=0)),
                ("made_at", models.BigIntegerField(db_default=0)),
                ("stopped_at", models.BigIntegerField(null=True)),
                ("why", models.CharField(db_default="", max_length=200)),
            ],
            options={
                "db_table": "channels",
            },
        ),
        migrations.CreateModel(
            name="ChannelCancel",
            fields=[
                ("reference", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("account", models.CharField(max_length=12)),
                ("amount_fen", models.BigIntegerField(db_default=0)),
                ("at", models.BigIntegerField(db_default=0)),
            ],
            options={
                "db_table": "channel_cancels",
            },
        ),
        migrations.CreateModel(
            name="RechargeBatch",
            fields=[
                ("batch", models.BigIntegerField(primary_key=True, serialize=False)),
                ("amount_fen", models.BigIntegerField(db_default=0)),
                ("count", models.BigIntegerField(db_default=0)),
                ("made_at", models.BigIntegerField(db_default=0)),
                ("expires_at", models.BigIntegerField(db_default=0)),
                ("blocked_at", models.BigIntegerField(null=True)),
                ("why", models.CharField(db_default="", max_length=200)),
            ],
            options={
                "db_table": "recharge_batches",
            },
        ),
        migrations.CreateModel(
            name="ChannelCall",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("channel", models.CharField(max_length=20)),
                ("key", models.CharField(max_length=64)),
                ("digest", models.CharField(db_default="", max_length=64)),
                ("at", models.BigIntegerField(db_default=0)),
                ("answer", models.TextField(db_default="{}")),
            ],
            options={
                "db_table": "channel_calls",
                "constraints": [
                    models.UniqueConstraint(fields=("channel", "key"), name="channel_calls_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="ChannelNonce",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("channel", models.CharField(max_length=20)),
                ("nonce", models.CharField(max_length=64)),
                ("at", models.BigIntegerField(db_default=0)),
            ],
            options={
                "db_table": "channel_nonces",
                "indexes": [models.Index(fields=["at"], name="channel_nonces_at")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("channel", "nonce"), name="channel_nonces_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Payment",
            fields=[
                ("reference", models.CharField(max_length=32, primary_key=True, serialize=False)),
                ("channel", models.CharField(max_length=20)),
                ("account", models.CharField(max_length=12)),
                ("amount_fen", models.BigIntegerField(db_default=0)),
                ("begun_at", models.BigIntegerField(db_default=0)),
                ("expires_at", models.BigIntegerField(db_default=0)),
                ("state", models.CharField(db_default="", max_length=16)),
                ("provider_id", models.CharField(db_default="", max_length=64)),
                ("paid_fen", models.BigIntegerField(db_default=0)),
                ("paid_at", models.BigIntegerField(null=True)),
                ("order", models.BigIntegerField(db_default=0)),
                ("why", models.CharField(db_default="", max_length=200)),
            ],
            options={
                "db_table": "payments",
                "indexes": [
                    models.Index(fields=["account"], name="payments_account"),
                    models.Index(fields=["channel", "state"], name="payments_state"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("provider_id", ""), _negated=True),
                        fields=("channel", "provider_id"),
                        name="payments_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="RechargeCard",
            fields=[
                ("serial", models.CharField(max_length=16, primary_key=True, serialize=False)),
                ("batch", models.BigIntegerField()),
                ("code_hash", models.CharField(max_length=64, unique=True)),
                ("sold_at", models.BigIntegerField(null=True)),
                ("sold_to", models.CharField(db_default="", max_length=64)),
                ("blocked_at", models.BigIntegerField(null=True)),
                ("why", models.CharField(db_default="", max_length=200)),
                ("redeemed_at", models.BigIntegerField(null=True)),
                ("account", models.CharField(db_default="", max_length=12)),
                ("order", models.BigIntegerField(db_default=0)),
            ],
            options={
                "db_table": "recharge_cards",
                "indexes": [models.Index(fields=["batch"], name="recharge_cards_batch")],
            },
        ),
        migrations.CreateModel(
            name="StatementLine",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("channel", models.CharField(max_length=20)),
                ("provider_id", models.CharField(max_length=64)),
                ("reference", models.CharField(db_default="", max_length=64)),
                ("amount_fen", models.BigIntegerField(db_default=0)),
                ("day", models.CharField(db_default="", max_length=10)),
                ("matched", models.BigIntegerField(db_default=0)),
                ("taken_at", models.BigIntegerField(db_default=0)),
            ],
            options={
                "db_table": "statement_lines",
                "indexes": [models.Index(fields=["channel", "day"], name="statement_lines_day")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("channel", "provider_id"), name="statement_lines_once"
                    )
                ],
            },
        ),
        stamp(12),
    ]
