"""Credit classes: how much grace an account has by how its customer has paid.

The rule looks at the last 365 days. A month counts as late if the balance was below zero in it.
A class is a grade of the concentrator's settings `grace_1_hours` to `grace_3_fen`, which say how
long and how far below zero the supply stays on. A person may set another class, with a reason.
"""

import time
from dataclasses import dataclass
from typing import Any

from host.headend import audit, commands
from host.headend.commands import Given, Target
from host.headend.database import Database
from host.headend.desk import at_desk
from host.headend.errors import StoreError
from host.headend.store import Store, zone_of
from host.units import DAY_S, t2000_of_unix
from host.words import _, marked

# The grade of each class, and with how many late months an account still has it.
GRADES = {"A": 3, "B": 2, "C": 1, "D": 0}
_LATE_MONTHS = {"A": 0, "B": 1, "C": 3}
RULE = marked(
    "A: no late month of twelve, grade 3; B: one, grade 2; C: up to three, grade 1; D: more, in "
    "arrears, or less than 90 days a customer, grade 0"
)
# The debts of all accounts, and of those of a customer.
_LATE = "SELECT account, t2000 FROM policies WHERE balance_fen < 0 AND t2000 >= ?"
_LATE_OF = """
    SELECT policies.account, policies.t2000 FROM contracts
    JOIN policies ON policies.account = contracts.account
    WHERE contracts.customer = ? AND policies.balance_fen < 0 AND policies.t2000 >= ?
"""
_LEAST_DAYS = 90
_MONTH_S = 30 * DAY_S
_COMMAND_S = 72 * 3600


@dataclass(frozen=True, slots=True)
class Standing:
    """The class of an account: in force, by the rule, and why they differ; and its grade there."""

    account: str
    customer: str
    credit_class: str
    by_rule: str
    reason: str
    late_months: int
    grade: int


def standings(store: Store, customer: str | None = None) -> list[Standing]:
    """Return the class of each open account that a concentrator has, or of those of a customer."""
    now_t2000 = t2000_of_unix(int(time.time()), store.zone())
    with store.database.looking():
        return _standings(store.database, now_t2000, customer)


def _standings(database: Database, now_t2000: int, customer: str | None = None) -> list[Standing]:
    whose = () if customer is None else (customer,)
    late: dict[str, set[int]] = {}
    query = _LATE if customer is None else _LATE_OF
    for account, t2000 in database.all(query, (*whose, now_t2000 - 365 * DAY_S)):
        late.setdefault(account, set()).add((now_t2000 - t2000) // _MONTH_S)
    young = int(time.time()) - _LEAST_DAYS * DAY_S
    found = []
    for row in database.rows(
        "SELECT accounts.account, contracts.customer, customers.credit_class, "
        "customers.class_reason, contracts.opened_at, accounts.grade, "
        "accounts.credit_fen - accounts.debit_fen AS balance_fen FROM accounts "
        "JOIN contracts ON contracts.account = accounts.account AND contracts.closed_at IS NULL "
        "JOIN customers ON customers.customer = contracts.customer "
        + ("WHERE customers.customer = ? " if whose else "")
        + "ORDER BY accounts.account",
        whose,
    ):
        months = len(late.get(row["account"], ()))
        fits = (name for name, most in _LATE_MONTHS.items() if months <= most)
        is_poor = row["balance_fen"] < 0 or row["opened_at"] > young
        by_rule = "D" if is_poor else next(fits, "D")
        in_force = (row["credit_class"] if row["class_reason"] else "") or by_rule
        told = (row["account"], row["customer"], in_force, by_rule, row["class_reason"])
        found.append(Standing(*told, months, row["grade"]))
    return found


@at_desk
def set_class(
    store: Store, customer: str, credit_class: str, by: str, reason: str
) -> list[Standing]:
    """Set another class than the rule's, "": the rule's again, and tell the concentrators.

    Return the accounts that get another grade. StoreError.
    """
    if not by.strip() or not reason.strip():
        raise StoreError(_("give --by and --reason, so that an auditor finds them"))
    why = reason[:200] if credit_class else ""
    with store.writing() as database:
        found = database.rows(
            "SELECT credit_class, class_reason FROM customers WHERE customer = ?", (customer,)
        )
        if not found:
            raise StoreError(_("there is no customer {customer}").format(customer=customer))
        if (found[0]["credit_class"], found[0]["class_reason"]) == (credit_class, why):
            text = _("customer {customer} has this class already: nothing was done")
            raise StoreError(text.format(customer=customer))
        database.run(
            "UPDATE customers SET credit_class = ?, class_reason = ? WHERE customer = ?",
            (credit_class, why, customer),
        )
        told: dict[str, Any] = {"customer": customer, "class": credit_class, "by": by}
        audit.note(database, "credit class", **told, reason=reason)
        return _give_within(database, by, customer)


@at_desk
def give_grades(store: Store, by: str) -> list[Standing]:
    """Tell the concentrators the grade of each account that has another one; return them."""
    with store.writing() as database:
        return _give_within(database, by)


def _give_within(database: Database, by: str, customer: str | None = None) -> list[Standing]:
    now = int(time.time())
    changed = []
    for one in _standings(database, t2000_of_unix(now, zone_of(database)), customer):
        grade = GRADES.get(one.credit_class, 0)
        if grade == one.grade:
            continue
        concentrator = database.value(
            "SELECT concentrator FROM accounts WHERE account = ?", (one.account,)
        )
        text = f"account set {one.account} grade {grade}"
        given = Given(by, f"credit class {one.credit_class}", now + _COMMAND_S)
        commands.give_within(database, Target(concentrator, text, one.account), given)
        told: dict[str, Any] = {"class": one.credit_class, "grade": grade, "by": by}
        audit.note(database, "grade", one.account, **told, late_months=one.late_months)
        changed.append(one)
    return changed
