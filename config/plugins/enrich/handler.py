"""Checks the VAT number of a customer by the check digits of its country.

The rules are those that the EU's member states publish for their numbers. Nothing is asked of a
network; the place where a register would be asked is marked.
"""

import re
import time
import zlib


class VatMissing(Exception):
    """There is no number: no retry would help (the job's give_up_on names it)."""

    retry = False


class UnknownCountry(Exception):
    """A country without a rule here; give_up_on names it, so that a fix can redo these records."""


class RegisterBusy(Exception):
    """The register asks to be left alone for a while; the policy's back-off is lengthened to this."""

    retry_after_s = 2


def enrich(item, context):
    number = re.sub(r"[\s.\-]", "", item.get("vat", "")).upper()
    if not number:
        raise VatMissing(f"customer {item.get('customer_id')} has no VAT number")
    country, digits = number[:2], number[2:]
    if country not in RULES:
        raise UnknownCountry(f"no rule for numbers of {country!r}")
    ask_register(number, context.attempt)
    shape, check = RULES[country]
    valid = re.fullmatch(shape, digits) is not None and check(digits)
    return {"vat": number, "country": country, "valid": valid}


def ask_register(number, attempt):
    """Stands for a call over the network: it takes a while, and one in fifty is refused at first."""
    time.sleep(0.05)
    if attempt == 1 and zlib.crc32(number.encode()) % 50 == 0:
        raise RegisterBusy("too many requests")


def weighted(digits, weights):
    return sum(int(digit) * weight for digit, weight in zip(digits, weights))


def luhn(digits):
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (2 if place % 2 else 1)
        total += doubled // 10 + doubled % 10
    return total % 10 == 0


def austria(digits):
    total = sum(sum(divmod(int(d) * w, 10)) for d, w in zip(digits[1:8], (1, 2, 1, 2, 1, 2, 1)))
    return (6 - total) % 10 == int(digits[8])


def belgium(digits):
    return 97 - int(digits[:8]) % 97 == int(digits[8:])


def denmark(digits):
    return weighted(digits, (2, 7, 6, 5, 4, 3, 2, 1)) % 11 == 0


def finland(digits):
    return -weighted(digits, (7, 9, 10, 5, 8, 4, 2)) % 11 == int(digits[7])


def france(digits):
    return luhn(digits[2:]) and (12 + 3 * int(digits[2:])) % 97 == int(digits[:2])


def germany(digits):
    product = 10
    for digit in digits[:8]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(digits[8])


def luxembourg(digits):
    return int(digits[:6]) % 89 == int(digits[6:])


def poland(digits):
    return weighted(digits, (6, 5, 7, 2, 3, 4, 5, 6, 7)) % 11 == int(digits[9])


def portugal(digits):
    check = -weighted(digits, (9, 8, 7, 6, 5, 4, 3, 2)) % 11
    return (0 if check == 10 else check) == int(digits[8])


RULES = {
    "AT": ("U[0-9]{8}", austria),
    "BE": ("[01][0-9]{9}", belgium),
    "DE": ("[1-9][0-9]{8}", germany),
    "DK": ("[1-9][0-9]{7}", denmark),
    "FI": ("[0-9]{8}", finland),
    "FR": ("[0-9]{11}", france),
    "IT": ("[0-9]{11}", luhn),
    "LU": ("[0-9]{8}", luxembourg),
    "PL": ("[0-9]{10}", poland),
    "PT": ("[0-9]{9}", portugal),
}
