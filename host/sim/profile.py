"""What meters do differently: one row of data a kind of meter, chosen by name.

Where the standard leaves a choice, or utilities and vendors have taken their own, the difference
is a field here and never a branch on a name elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

# Actions of the security function 03H, as `security_actions` names them.
AUTHENTICATE = "authenticate"
SET_VALIDITY = "set validity"
CANCEL = "cancel"
OPEN_ACCOUNT = "open account"
TOP_UP = "top up"
INIT_WALLET = "init wallet"
UPDATE_KEY = "update key"
READ_BACK = "read back"
QUERY_STATUS = "query status"
PLAIN_TOP_UP = "plain top up"

_STANDARD_ACTIONS = {
    0x070000FF: AUTHENTICATE,
    0x070001FF: SET_VALIDITY,
    0x070002FF: CANCEL,
    0x070101FF: OPEN_ACCOUNT,
    0x070102FF: TOP_UP,
    0x070103FF: INIT_WALLET,
    0x070201FF: UPDATE_KEY,
    0x070202FF: UPDATE_KEY,
    0x070203FF: UPDATE_KEY,
    0x070204FF: UPDATE_KEY,
    0x070301FF: UPDATE_KEY,
    0x078001FF: READ_BACK,
    0x078102FF: QUERY_STATUS,
}


@dataclass(frozen=True)
class Profile:
    """One kind of meter.

    standard            2007 or 1997
    prepay              in status word 3: 0 plain, 1 for energy, 2 for money
    security_actions    what 03H does by identifier; empty: the meter has no 03H
    cipher_level        PA of a command whose data is ciphered, with its MAC
    mac_level           PA of a command whose data is plain, with its MAC
    whole_reversed      cipher and MAC go reversed as one block, else each for itself
    auth_validity       the reply to the authentication ends with its validity
    lock_bit            of SERR, when too many authentications have failed
    plain_relay         1CH is taken with a password
    short_relay         1CH with N1 alone is taken
    zero_expiry         1CH whose expiry is all zero is taken
    time_limit_s        a broadcast time that differs by more is ignored
    clear_by_di         19H and 1AH carry identifier and password, else password and operator
    write_limit         data bytes of a request at most
    top_up_di           14H on this identifier is a top-up in plain text, 0: on none
    answers_99          a read to 99..99 is answered (1997)
    block_end           what ends the reply to a block (1997)
    phases              1 or 3
    relay_di            14H or 04H on this identifier switches the relay, 0: on none (1997)
    """

    name: str
    standard: int = 2007
    prepay: int = 0
    security_actions: Mapping[int, str] = field(default_factory=dict)
    cipher_level: int = 0x98
    mac_level: int = 0x99
    whole_reversed: bool = True
    auth_validity: bool = False
    lock_bit: int = 3
    plain_relay: bool = True
    short_relay: bool = False
    zero_expiry: bool = False
    time_limit_s: int = 300
    clear_by_di: bool = False
    write_limit: int = 200
    top_up_di: int = 0
    answers_99: bool = False
    block_end: bytes = b"\xaa"
    relay_di: int = 0
    phases: int = 1


_ROWS = (
    Profile("plain"),
    # State Grid: a security module, money in the meter, relay commands only ciphered.
    Profile("state-grid", prepay=2, security_actions=_STANDARD_ACTIONS, plain_relay=False),
    # China Southern Grid: other levels, a longer reply, another bit for the lock.
    Profile(
        "southern-grid",
        prepay=2,
        security_actions=_STANDARD_ACTIONS,
        cipher_level=0x96,
        mac_level=0x97,
        whole_reversed=False,
        auth_validity=True,
        lock_bit=8,
        plain_relay=False,
    ),
    # Private prepaid meters without a security module: 14H on 04900000 books money, BCD, under a
    # password (PMC340). Others use 03H on identifiers of their own, ABABABxx; which one does what
    # is not public: here 01 takes the same data as 04900000.
    Profile(
        "private",
        prepay=2,
        security_actions={0xABABAB01: PLAIN_TOP_UP, 0x078102FF: QUERY_STATUS},
        short_relay=True,
        zero_expiry=True,
        time_limit_s=600,
        top_up_di=0x04900000,
    ),
    Profile("three-phase", phases=3),
    Profile("plain-1997", standard=1997, answers_99=True),
    # Vendor's relay: 04H on C028 with 3355 or 9966.
    Profile("relay-1997", standard=1997, answers_99=True, relay_di=0xC028),
)
PROFILES: Mapping[str, Profile] = {row.name: row for row in _ROWS}
PLAIN = PROFILES["plain"]
