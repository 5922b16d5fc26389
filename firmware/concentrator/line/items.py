"""List what a meter is asked besides its registers, and how often: one row for each item.

    identifier of 2007, of 1997, interval in days; 0: that standard has no such item

The registers, the relay's status, the daily freeze and the clock affect money, supply and time, so
readings.py, relays.py, freezes.py and daily.py read them. The items here only go to the head-end,
each as an ITEM record with its values as dlt645.table has them.

Spec: DL/T 645-2007, DL/T 645-1997, the identifiers below.
"""

ITEMS = (
    (0x04000501, 0, 1),  # status word 1: faults of clock, battery, memory, relay circuit
    (0x04000507, 0, 1),  # status word 7: covers that are open, wiring that is wrong
    (0x03300D00, 0, 1),  # openings of the cover
    (0x03300E00, 0, 1),  # openings of the terminal cover
    (0x03350000, 0, 1),  # magnetic disturbances
    (0x00020000, 0, 1),  # energy that went the other way: a meter connected backwards
    (0x03110000, 0, 7),  # power failures
    (0x0201FF00, 0, 7),  # voltages
    (0x02030000, 0xB630, 7),  # power now
)
