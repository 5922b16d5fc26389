"""The reasons of FAULT records, for which readings are doubted, in both languages.

The numbers are the ledger's, see docs/PREPAYMENT.md; 0 and 1 mean that billing continues.
"""

from host.words import bilingual

RESUMED_FROM = 1  # from the registers in the reading behind it

# Each reason has the fault and the meaning of the record's value and limit, in two languages.
_REASONS = {
    4: ("the meter sends no registers", "电表未给出电量示数"),
    5: ("the clock is far ahead", "时钟超前过多"),
    6: ("a register went back", "电量示数倒走"),
    7: ("more energy than can be", "用电量超过可能值"),
    8: ("more money than can be", "金额超过可能值"),
    9: ("the tariff does not fit", "电价方案不适用"),
    10: ("the rates do not add up to the total", "各费率电量之和与总电量不符"),
}


def fault_text(reason: int) -> str:
    """Return the text of a fault, in Chinese where that is selected, else in both languages."""
    return bilingual(*_REASONS.get(reason, (f"reason {reason}", f"原因 {reason}")))
