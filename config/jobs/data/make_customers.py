"""Writes customers.csv: 1,000 invented customers, the same ones at every call.

    python3 make_customers.py > customers.csv

Most have a VAT number with right check digits (drawn until the rule of their country holds), 1 in 20
a wrong one, 1 in 100 none, 1 in 100 one of a country without a rule. Names are two words drawn from
lists; whatever firm may have such a name or number is not meant.
"""

import csv
import random
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "../../plugins/enrich"))
sys.dont_write_bytecode = True
from handler import RULES  # noqa: E402

FIRST = "Amber Birch Cedar Delta Ember Falcon Granite Harbour Indigo Juniper Lagoon Meadow".split()
SECOND = "Bakery Foundry Freight Gardens Instruments Kitchens Logistics Optics Press Textiles".split()
LENGTHS = {"AT": 8, "BE": 10, "FI": 8, "FR": 11, "IT": 11, "LU": 8, "PL": 10, "PT": 9, "DE": 9, "DK": 8}


def number(random_source, country, right):
    shape, check = RULES[country]
    while True:
        drawn = str(random_source.randrange(10 ** LENGTHS[country])).zfill(LENGTHS[country])
        digits = "U" + drawn if country == "AT" else drawn
        if re.fullmatch(shape, digits) and check(digits) == right:
            return country + digits


def main():
    random_source = random.Random(20260101)
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(("customer_id", "name", "vat"))
    for place in range(1, 1001):
        country = random_source.choice(sorted(RULES))
        vat = number(random_source, country, right=random_source.random() >= 0.05)
        if place % 100 == 17:
            vat = ""
        elif place % 100 == 58:
            vat = "XX" + vat[2:]
        name = f"{random_source.choice(FIRST)} {random_source.choice(SECOND)}"
        rows.writerow((f"C-{place:04}", name, vat))


main()
