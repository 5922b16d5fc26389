"""What programs that are started here get to know: no passphrase and no password."""

import os

# The password of the database, as PostgreSQL's own library takes it.
DATABASE_PASSWORD = "PGPASSWORD"


def environment(*, database: bool = False) -> dict[str, str]:
    """Return the variables for a program, without those that hold a secret.

    With `database` the program opens the head-end's database, and gets its password.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if not _is_secret(name) and (database or name not in (DATABASE_PASSWORD, "DIANKA_DB"))
    }


def _is_secret(name: str) -> bool:
    return name.startswith("DIANKA_") and "PASS" in name
