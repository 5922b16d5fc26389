"""Schema 11: tenants of rooms with their deposits, the laptop of a lease, reasons of classes."""

from django.db import migrations, models

from host.headend.engine_sql import stamp


def _number() -> models.BigIntegerField:
    return models.BigIntegerField(db_default=0)


def _text(size: int = 64, default: str = "") -> models.CharField:
    return models.CharField(db_default=default, max_length=size)


class Migration(migrations.Migration):
    dependencies = (("station", "0010_users"),)

    operations = [
        migrations.CreateModel(
            name="Tenancy",
            fields=[
                ("tenancy", models.BigIntegerField(primary_key=True, serialize=False)),
                ("account", models.CharField(max_length=12)),
                ("name", _text(128)),
                ("phone", _text(32)),
                ("since_at", _number()),
                ("until_at", models.BigIntegerField(null=True)),
                ("opened_by", _text()),
                ("closed_by", _text()),
                ("first_wh", _text(200, "[]")),
                ("last_wh", _text(200, "[]")),
                ("first_credit_fen", _number()),
                ("first_debit_fen", _number()),
                ("last_credit_fen", _number()),
                ("last_debit_fen", _number()),
                ("order", _number()),
            ],
            options={
                "db_table": "tenancies",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("until_at__isnull", True)),
                        fields=("account",),
                        name="tenancies_once",
                    )
                ],
                "indexes": [models.Index(fields=["account"], name="tenancies_account")],
            },
        ),
        migrations.CreateModel(
            name="DepositMove",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tenancy", models.BigIntegerField()),
                ("at", _number()),
                ("by", _text()),
                ("kind", _text(24)),
                ("amount_fen", _number()),
                ("reason", _text(200)),
            ],
            options={
                "db_table": "deposit_moves",
                "indexes": [models.Index(fields=["tenancy"], name="deposit_moves_tenancy")],
            },
        ),
        migrations.AddField(model_name="contract", name="room", field=_text(32)),
        migrations.AddField(model_name="customer", name="class_reason", field=_text(200)),
        migrations.AddField(model_name="lease", name="laptop", field=_text(32)),
        migrations.AddField(model_name="lease", name="reason", field=_text(200)),
        stamp(11),
    ]
