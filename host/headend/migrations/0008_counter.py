"""Schema 8: what a counter keeps of people, papers, cash, approvals, leases, and its audit log."""

from django.db import migrations, models

from host.headend.engine_sql import engine_sql, stamp

_SQLITE = (
    """
    CREATE TRIGGER audit_unchanged BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is not changed'); END
    """,
    """
    CREATE TRIGGER audit_kept BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'nothing is deleted from the audit log'); END
    """,
)
_POSTGRESQL = (
    """
    CREATE FUNCTION audit_refuse() RETURNS trigger AS $$
    BEGIN RAISE EXCEPTION 'the audit log is not changed'; END
    $$ LANGUAGE plpgsql
    """,
    """
    CREATE TRIGGER audit_unchanged BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION audit_refuse()
    """,
    """
    CREATE TRIGGER audit_kept BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()
    """,
)


class Migration(migrations.Migration):
    dependencies = (("station", "0007_commands"),)

    operations = [
        migrations.CreateModel(
            name="Lease",
            fields=[
                ("lease", models.BigIntegerField(primary_key=True, serialize=False)),
                ("counter", models.CharField(db_default="", max_length=64)),
                ("quota_fen", models.BigIntegerField(db_default=0)),
                ("leased_at", models.BigIntegerField(db_default=0)),
                ("leased_by", models.CharField(db_default="", max_length=64)),
                ("expires_at", models.BigIntegerField(db_default=0)),
                ("state", models.CharField(db_default="", max_length=16)),
                ("ended_at", models.BigIntegerField(null=True)),
                ("ended_by", models.CharField(db_default="", max_length=64)),
                ("sold_fen", models.BigIntegerField(db_default=0)),
                ("counted_fen", models.BigIntegerField(db_default=0)),
                ("digest", models.CharField(db_default="", max_length=64)),
            ],
            options={
                "db_table": "leases",
            },
        ),
        migrations.AddField(
            model_name="station",
            name="file_number",
            field=models.BigIntegerField(db_default=0),
        ),
        migrations.CreateModel(
            name="Approval",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("what", models.CharField(db_default="", max_length=24)),
                ("account", models.CharField(max_length=12)),
                ("amount_fen", models.BigIntegerField(db_default=0)),
                ("asked_at", models.BigIntegerField(db_default=0)),
                ("asked_by", models.CharField(db_default="", max_length=64)),
                ("reason", models.CharField(db_default="", max_length=200)),
                ("decided_at", models.BigIntegerField(null=True)),
                ("decided_by", models.CharField(db_default="", max_length=64)),
                ("decision", models.CharField(db_default="", max_length=16)),
                ("used_at", models.BigIntegerField(null=True)),
            ],
            options={
                "db_table": "approvals",
                "indexes": [models.Index(fields=["account"], name="approvals_account")],
            },
        ),
        migrations.CreateModel(
            name="Audit",
            fields=[
                ("number", models.BigIntegerField(primary_key=True, serialize=False)),
                ("at", models.BigIntegerField(db_default=0)),
                ("door", models.CharField(db_default="", max_length=16)),
                ("person", models.CharField(db_default="", max_length=64)),
                ("action", models.CharField(db_default="", max_length=32)),
                ("account", models.CharField(db_default="", max_length=12)),
                ("amount_fen", models.BigIntegerField(db_default=0)),
                ("detail", models.TextField(db_default="{}")),
                ("digest", models.CharField(db_default="", max_length=64)),
            ],
            options={
                "db_table": "audit",
                "indexes": [models.Index(fields=["account"], name="audit_account")],
            },
        ),
        migrations.CreateModel(
            name="Card",
            fields=[
                ("uid", models.CharField(max_length=16, primary_key=True, serialize=False)),
                ("account", models.CharField(max_length=12)),
                ("since_at", models.BigIntegerField(db_default=0)),
                ("until_at", models.BigIntegerField(null=True)),
                ("why", models.CharField(db_default="", max_length=200)),
            ],
            options={
                "db_table": "cards",
                "indexes": [models.Index(fields=["account"], name="cards_account")],
            },
        ),
        migrations.CreateModel(
            name="CashMove",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("shift", models.BigIntegerField(db_default=0)),
                ("at", models.BigIntegerField(db_default=0)),
                ("by", models.CharField(db_default="", max_length=64)),
                ("kind", models.CharField(db_default="", max_length=24)),
                ("amount_fen", models.BigIntegerField(db_default=0)),
                ("account", models.CharField(db_default="", max_length=12)),
                ("order", models.BigIntegerField(db_default=0)),
                ("reason", models.CharField(db_default="", max_length=200)),
            ],
            options={
                "db_table": "cash_moves",
                "indexes": [models.Index(fields=["shift"], name="cash_moves_shift")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("order__gt", 0)),
                        fields=("account", "order"),
                        name="cash_moves_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Installation",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("account", models.CharField(max_length=12)),
                ("meter", models.CharField(db_default="", max_length=12)),
                ("multiplier", models.BigIntegerField(db_default=1)),
                ("since_at", models.BigIntegerField(db_default=0)),
                ("until_at", models.BigIntegerField(null=True)),
                ("first_wh", models.CharField(db_default="[]", max_length=200)),
                ("last_wh", models.CharField(db_default="[]", max_length=200)),
            ],
            options={
                "db_table": "installations",
                "indexes": [
                    models.Index(fields=["account"], name="installations_account"),
                    models.Index(fields=["meter"], name="installations_meter"),
                ],
            },
        ),
        migrations.CreateModel(
            name="LeasedOrder",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("lease", models.BigIntegerField()),
                ("account", models.CharField(max_length=12)),
                ("first_order", models.BigIntegerField()),
                ("last_order", models.BigIntegerField()),
            ],
            options={
                "db_table": "leased_orders",
                "indexes": [models.Index(fields=["account"], name="leased_orders_account")],
                "constraints": [
                    models.UniqueConstraint(fields=("lease", "account"), name="leased_orders_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="Paper",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("account", models.CharField(max_length=12)),
                ("at", models.BigIntegerField(db_default=0)),
                ("kind", models.CharField(db_default="", max_length=24)),
                ("by", models.CharField(db_default="", max_length=64)),
                ("reason", models.CharField(db_default="", max_length=200)),
                ("amount_fen", models.BigIntegerField(db_default=0)),
                ("undoes", models.BigIntegerField(db_default=0)),
                ("detail", models.TextField(db_default="{}")),
            ],
            options={
                "db_table": "papers",
                "indexes": [models.Index(fields=["account"], name="papers_account")],
            },
        ),
        migrations.CreateModel(
            name="Refusal",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("concentrator", models.BigIntegerField()),
                ("reason", models.CharField(db_default="", max_length=24)),
                ("count", models.BigIntegerField(db_default=0)),
                ("last_at", models.BigIntegerField(db_default=0)),
                ("address", models.CharField(db_default="", max_length=64)),
            ],
            options={
                "db_table": "refusals",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("concentrator", "reason"), name="refusals_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Shift",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("cashier", models.CharField(db_default="", max_length=64)),
                ("opened_at", models.BigIntegerField(db_default=0)),
                ("float_fen", models.BigIntegerField(db_default=0)),
                ("closed_at", models.BigIntegerField(null=True)),
                ("closed_by", models.CharField(db_default="", max_length=64)),
                ("expected_fen", models.BigIntegerField(db_default=0)),
                ("counted_fen", models.BigIntegerField(db_default=0)),
                ("reason", models.CharField(db_default="", max_length=200)),
                ("handed_to", models.CharField(db_default="", max_length=64)),
                ("audit_digest", models.CharField(db_default="", max_length=64)),
            ],
            options={
                "db_table": "shifts",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("closed_at__isnull", True)),
                        fields=("cashier",),
                        name="shifts_once",
                    )
                ],
            },
        ),
        engine_sql({"sqlite": _SQLITE, "postgresql": _POSTGRESQL}),
        stamp(8),
    ]
