from __future__ import annotations

import csv
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.unit.files.opened import imported, opened
from tieout.domain.records import FIELDS, Kind
from tieout.files import Column, Columns, Row, problems_of, suggest, to_fields
from tieout.files.columns import shape_of
from tieout.files.languages import LAYOUTS, TITLES
from tieout.files.meanings import BY_KIND
from tieout.files.source import Finding, Findings
from tieout.files.titles import meaning_of

TABLE_BESIDE = Path(__file__).parents[4] / "shared/data/contact-exports/csv/column-titles-by-language.csv"
"""Titles that another program knows, under a licence that keeps them out of this repository."""

CLASSIC = (
    "Title,First Name,Middle Name,Last Name,Suffix,Company,Department,Job Title,Business Street,Business Street 2,\
Business City,Business State,Business Postal Code,Business Country/Region,Home Street,Home City,Business Phone,\
Mobile Phone,Account,Birthday,Categories,E-mail Address,E-mail Type,E-mail Display Name,E-mail 2 Address,Gender,\
Government ID Number,Organizational ID Number,Priority,Private,Sensitivity,User 1,Web Page"
)
NEW = "First Name,Middle Name,Last Name,Title,Suffix,Nickname,Given Yomi,Surname Yomi,E-mail Address,E-mail 2 Address,\
Home Phone,Business Phone,Mobile Phone,IMAddress,Job Title,Company,Company Yomi,Business Street,Business City,\
Business Postal Code,Business Country/Region,Personal Web Page,Schools,Birthday,Notes"


def layout(titles: str) -> tuple[str | None, str | None]:
    findings = opened(f"{titles}\n{',' * titles.count(',')}x\n").findings
    return findings.layout.value, findings.locale.value


@pytest.mark.parametrize(
    ("titles", "found"),
    [
        (CLASSIC, ("outlook", "en_US")),
        (NEW, ("outlook_web", "en_US")),
        ("ACCOUNTNO,COMPANY,CONTACT,LASTNAME,PHONE1,ADDRESS1,CITY,STATE,ZIP", ("goldmine", "en_US")),
        ("Company,Contact,Address 1,City,State,ZIP Code,Phone,ID/Status,Record Manager,E-mail", ("act", "en_US")),
        ("First Name,Last Name,Primary Email,Secondary Email,Work Phone,Custom 1", ("thunderbird", "en_US")),
        ("Given Name,Family Name,Group Membership,E-mail 1 - Type,E-mail 1 - Value", ("google", "en_US")),
        ("Vorname,Nachname,Firma,Telefon geschäftlich", ("outlook", "de_DE")),
        ("Imię,Nazwisko,Firma,Telefon służbowy", ("outlook", "pl_PL")),
        ("InvoiceNo,Quantity,InvoiceDate,CustomerID", ("generic", None)),
    ],
)
def test_the_layout_is_told_by_the_titles(titles, found):
    assert layout(titles) == found


def test_classic_outlook():
    source = opened(
        f"{CLASSIC}\r\n"
        '"Dr.","Ada","","Lovelace","","Engines","R&D","Countess","1 Mill Rd\r\nGate 2","Floor 3","London","","N1 9GU",'
        '"UK","","","+44 20 1","","C-1","0/0/00","Customer;VIP","ada@example.com","SMTP","Ada","","Unspecified",'
        '"","","Normal","False","Normal","","https://example.com"\r\n'
        ',"Eve",,"Home",,,,,,,,,,,"2 Lane","Rome",,"07 1",,"1/31/85",,"/o=Org/ou=X/cn=Recipients/cn=eve","EX",'
        ",,,,,,,,,\r\n"
    )
    columns = suggest(source)
    assert (columns.kind, columns.key) == (Kind.CONTACT, ("E-mail Address",))
    assert problems_of(columns, source) == ()
    ada, eve = (to_fields(row, columns, source.findings) for row in source.rows())
    assert ada[1] == ()
    assert {name: value for name, value in ada[0].items() if name != "custom_fields"} == {
        "name": "Ada Lovelace",
        "given_name": "Ada",
        "family_name": "Lovelace",
        "company_name": "Engines",
        "job_title": "Countess",
        "email": "ada@example.com",
        "phone": "+44 20 1",
        "address": {
            "line1": "1 Mill Rd",
            "line2": "Gate 2",
            "line3": "Floor 3",
            "city": "London",
            "state": None,
            "postal_code": "N1 9GU",
            "country": "UK",
        },
    }
    custom = ada[0]["custom_fields"]
    assert (custom["categories"], custom["account"], custom["birthday"], custom["gender"]) == (
        ("Customer", "VIP"),
        "C-1",
        None,
        None,
    )
    assert not {"priority", "private", "sensitivity"} & set(custom)
    assert [(problem.title, problem.path) for problem in eve[1]] == [("E-mail Address", "email")]
    assert "Exchange" in eve[1][0].message
    assert "email" not in eve[0]
    assert (eve[0]["phone"], eve[0]["address"]["line1"], eve[0]["address"]["city"]) == ("07 1", "2 Lane", "Rome")
    assert eve[0]["custom_fields"]["birthday"] == date(1985, 1, 31)


def test_goldmine_has_a_person_and_a_company_in_one_row():
    source = opened(
        "ACCOUNTNO,COMPANY,CONTACT,LASTNAME,PHONE1,ADDRESS1,CITY,ZIP,UCLASS,U_COMPANY\n"
        "A1#(x,Engines,Ada King Lovelace,Lovelace,1,Mill Rd,London,N1,gold,ENGINES\nA2,Nobody,,,,,,,,\n"
    )
    columns = suggest(source)
    assert (columns.kind, columns.key) == (Kind.COMPANY, ("ACCOUNTNO",))
    one, two = (to_fields(row, columns, source.findings)[0] for row in source.rows())
    assert one["name"] == "Engines"
    assert one["contact"] == {"name": "Ada King Lovelace", "family_name": "Lovelace", "given_name": "Ada King"}
    assert (one["phone"], one["address"]["line1"]) == ("1", "Mill Rd")
    assert one["custom_fields"] == {"accountno": "A1#(x", "uclass": "gold"}
    assert two["contact"] is None


def test_a_state_and_a_country_are_told_by_what_stands_in_them():
    for land, region in (("Deutschland", "Bayern"), ("Bayern", "Deutschland")):
        source = opened(
            "Vorname;Nachname;Straße geschäftlich;Ort geschäftlich;Region geschäftlich;Postleitzahl geschäftlich;"
            f"Land geschäftlich\nJörg;Maier;Weg 1;Hof;{region};95028;{land}\nUte;Maier;;;;;\n"
        )
        found = imported(source)[0]["address"]
        assert (found["state"], found["country"]) == ("Bayern", "Deutschland")


def test_products_and_deals_are_told_by_their_titles():
    products = opened("product,series,sales_price\nGTX Pro,GTX,4821.50\nMG,MG,55\n")
    assert suggest(products).kind is Kind.PRODUCT
    assert imported(products)[0] == {
        "name": "GTX Pro",
        "price": Decimal("4821.50"),
        "custom_fields": {"series": "GTX"},
    }
    deals = opened(
        "opportunity_id,sales_agent,account,deal_stage,engage_date,close_date,close_value\n"
        "1C1I7A6R,Moses,Cancity,Won,2016-10-20,2017-03-01,1054\nZ,Ann,,Prospecting,,,\n"
    )
    assert (suggest(deals).kind, suggest(deals).key) == (Kind.DEAL, ("opportunity_id",))
    won, open_one = imported(deals)
    assert won == {
        "source_id": "1C1I7A6R",
        "owner": "Moses",
        "stage": "Won",
        "opened_on": date(2016, 10, 20),
        "closed_on": date(2017, 3, 1),
        "amount": Decimal(1054),
        "custom_fields": {"company": "Cancity"},
    }
    assert (open_one["amount"], open_one["closed_on"]) == (None, None)


@pytest.mark.parametrize(
    ("titles", "kind", "key"),
    [
        ("UID,Name,E-mail", Kind.CONTACT, ("UID",)),
        ("Name,E-mail,Company", Kind.CONTACT, ("E-mail",)),
        ("Name,Company", Kind.CONTACT, ()),
        ("Company,E-mail,Industry", Kind.COMPANY, ("E-mail",)),
        ("CustomerID,SKU,Price", Kind.PRODUCT, ("SKU",)),
        ("CustomerID,Deal,Amount,Stage", Kind.DEAL, ()),
        ("Opportunity ID,Amount,Stage", Kind.DEAL, ("Opportunity ID",)),
    ],
)
def test_a_key_is_suggested(titles, kind, key):
    filled = ",".join("a@b.de" if "mail" in title else "1" for title in titles.split(","))
    source = opened(f"{titles}\n{filled}\n", header_row=1)
    assert suggest(source, kind).key == key


def test_an_empty_column_is_no_key():
    assert suggest(opened("UID,Name,E-mail\n,Ada,a@b.de\n", header_row=1)).key == ("E-mail",)


def test_accounts_are_companies():
    source = opened("account,sector,revenue,subsidiary_of\nAcme,retail,1100.04,\nInity,it,2.5,Acme\n")
    assert suggest(source).kind is Kind.COMPANY
    assert imported(source)[1] == {
        "name": "Inity",
        "industry": "it",
        "custom_fields": {"revenue": "2.5", "parent": "Acme"},
    }


def test_what_no_rule_knows_is_kept_under_a_name_of_its_own():
    source = opened("Größe (cm),grosse cm,2. Mal,День,E-mail\n1,2,3,4,a@b.de\n")
    paths = {each.title: each.path for each in suggest(source, Kind.CONTACT).columns}
    assert paths == {
        "Größe (cm)": "custom_fields.grosse_cm",
        "grosse cm": "custom_fields.grosse_cm_2",
        "2. Mal": "custom_fields.n_2_mal",
        "День": "custom_fields.den",
        "E-mail": "email",
    }


def test_two_columns_for_one_field_lose_nothing():
    source = opened("E-mail,Email Work,Company\na@example.com,b@example.com,x\n,c@example.com,y\n")
    one, two = imported(source)
    assert (one["email"], one["custom_fields"]["email_work"]) == ("a@example.com", "b@example.com")
    assert (two["email"], two["custom_fields"]["email_work"]) == ("c@example.com", "c@example.com")


def test_columns_are_saved_as_plain_data():
    columns = suggest(opened(f"{CLASSIC}\n{',' * CLASSIC.count(',')}x\n"))
    assert Columns.model_validate_json(columns.model_dump_json()) == columns


def test_all_that_is_wrong_with_saved_data_is_told_at_once():
    with pytest.raises(ValidationError) as caught:
        Columns.model_validate(
            {"kind": "contract", "columns": [{"title": "", "path": "a..b"}, {"title": "x", "path": None, "rank": 0}]}
        )
    assert len(caught.value.errors()) == 4


def test_all_that_is_wrong_with_columns_for_a_file_is_told_at_once():
    source = opened("Name,Mail,Since,More\nA,a@b.de,2026-01-01,x\n")
    columns = Columns(
        kind=Kind.DEAL,
        columns=(
            Column(title="Name", path="name"),
            Column(title="Mail", path="name"),
            Column(title="Since", path="closed_on"),
            Column(title="Gone", path="amount", reads="number"),
            Column(title="Name", path="companies"),
            Column(title="Name", path="custom_fields"),
        ),
        key=("Key",),
    )
    assert problems_of(columns, source) == (
        "The file has no column “Gone”.",
        "The file has no column “Key”.",
        "“Name” and “Mail” both fill `name`: give one of them a higher rank.",
        "“Since”: `closed_on` holds a date, so the column has to be read as one.",
        "“Name”: a deal has no field `companies`.",
        "“Name”: a deal has no field `custom_fields`.",
        "Nothing is said about the column “More”.",
    )
    assert problems_of(Columns(kind=Kind.PAYMENT, columns=columns.columns[:1]), source)[-1].startswith("A file cannot")
    nothing = Columns(kind=Kind.DEAL, columns=tuple(Column(title=each, path=None) for each in source.columns))
    assert problems_of(nothing, source) == ("No column fills a field.",)


@pytest.mark.parametrize("kind", list(BY_KIND))
def test_every_rule_names_a_field_that_there_is(kind):
    for meaning, places in BY_KIND[kind].items():
        for place in places:
            if place.path is not None:
                assert shape_of(kind, place.path) in ("any", place.reads), meaning
    assert kind in FIELDS


def test_every_title_means_something_that_has_a_place():
    known = {meaning for places in BY_KIND.values() for meaning in places}
    for titles in (*TITLES.values(), *LAYOUTS.values()):
        assert set(titles) <= known


OTHER_WORDS = {
    "firstname": "given_name",
    "surname": "family_name",
    "middlename": "middle_name",
    "maidenname": "maiden_name",
    "organization": "company",
    "jobtitle": "job_title",
    "groups": "categories",
    "birthday-d": "birth_day",
    "birthday-m": "birth_month",
    "birthday-y": "birth_year",
    "phone:work": "phone.business",
    "phone:work2": "phone.business_2",
    "phone:home2": "phone.home_2",
    "phone:main": "phone.primary",
    "phone:workfax": "phone.business_fax",
    "phone:homefax": "phone.home_fax",
}
PARTS = {"street": "street", "locality": "city", "region": "state", "zipcode": "postal_code", "country": "country"}
SWAPPED = {"state": "country", "country": "state"}
TOLD_OTHERWISE = {
    ("de_DE", "Geburtstag"),  # a whole date in Outlook, a day in Thunderbird
    ("de_CH", "Geburtstag"),
    ("fi_FI", "Syntymäpäivä"),
    ("pt_BR", "Aniversário"),  # a birthday and an anniversary
    ("fr_FR", "Région"),  # of home and work, both
    ("fr_FR", "Code postal"),
    ("fr_FR", "_home_city"),  # a slip of that table
    ("ru_RU", "work_state_short"),
    ("es_ES", "Provincia o estado de trabajo"),  # that table has the words the other way round
    ("es_ES", "País o región del trabajo"),
    ("es_ES", "Otra provincia o estado"),
    ("es_ES", "Otro país o región"),
    ("it_IT", "Nazione/Regione di lavoro"),  # twice in that table
    ("sk_SK", "Krajina/oblasť (iné)"),
}


def same_meaning(theirs: str, ours: str | None, locale: str) -> bool:
    what, _, which = theirs.partition(":")
    if what in PARTS:
        place, _, part = (ours or "").partition(".")
        wanted = PARTS[what]
        either = {wanted, SWAPPED.get(wanted, wanted)} if locale.startswith("de") else {wanted}
        return place == {"work": "business"}.get(which, which) and part in either
    if what == "email":
        return (ours or "").startswith("email")
    if what == "website":
        return "website" in (ours or "")
    if theirs == "phone:other":
        return ours in ("phone.other", "phone.other_fax", "phone.mobile_2")
    return ours == OTHER_WORDS.get(theirs, theirs.replace("phone:", "phone.").replace("im:", "im_"))


@pytest.mark.skipif(not TABLE_BESIDE.exists(), reason="needs a table whose licence keeps it out of here")
def test_another_programs_titles_mean_the_same_here():
    with TABLE_BESIDE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 822
    other = {
        (row["locale"], row["header_text"])
        for row in rows
        if not same_meaning(
            row["meaning"],
            meaning_of(row["header_text"], row["locale"].replace("de_CH", "de_DE"), "generic"),
            row["locale"],
        )
    }
    assert other == TOLD_OTHERWISE


def fields_of(text: str, reads: str, **findings: str) -> tuple[object, str]:
    path = "custom_fields.x"
    columns = Columns(kind=Kind.CONTACT, columns=(Column(title="x", path=path, reads=reads),))
    found = Findings(**{name: Finding(value) for name, value in findings.items()})
    fields, problems = to_fields(Row(2, {"x": text}), columns, found)
    value = fields.get("custom_fields", {}).get("x", "absent")
    return value, problems[0].message if problems else ""


@pytest.mark.parametrize(
    ("text", "order", "wanted"),
    [
        ("03/04/2026", "dmy", date(2026, 4, 3)),
        ("03/04/2026", "mdy", date(2026, 3, 4)),
        ("26-04-03", "ymd", date(2026, 4, 3)),
        ("2026-04-03", "mdy", date(2026, 4, 3)),
        ("2026/4/3", "dmy", date(2026, 4, 3)),
        ("2026-04-03 08:26:00", None, date(2026, 4, 3)),
        ("20260403", None, date(2026, 4, 3)),
        ("20090808T1430-0500", None, date(2009, 8, 8)),
        ("31.12.2026", None, date(2026, 12, 31)),
        ("12/31/2026 10:00 AM", None, date(2026, 12, 31)),
        ("1/2/68", "mdy", date(2068, 1, 2)),
        ("1/2/69", "mdy", date(1969, 1, 2)),
        ("0/0/00", "mdy", None),
        ("00.00.0000", "dmy", None),
        ("0000-00-00", None, None),
        (" ", None, None),
    ],
)
def test_dates_are_read_in_the_order_of_the_file(text, order, wanted):
    assert fields_of(text, "date", date_order=order) == (wanted, "")


@pytest.mark.parametrize(
    ("text", "order", "message"),
    [
        ("03/04/2026", None, "both ways"),
        ("13/04/2026", "mdy", "not a date in the order of this file"),
        ("04.13.2026", "dmy", "not a date"),
        ("2026-02-30", None, "no such day"),
        ("soon", "dmy", "not a date"),
        ("1/2/026", "dmy", "not a date"),
        ("99999999", None, "no such day"),
    ],
)
def test_what_is_no_date_is_told(text, order, message):
    value, told = fields_of(text, "date", date_order=order)
    assert value == "absent"
    assert message in told


@pytest.mark.parametrize(
    ("text", "sign", "wanted"),
    [
        ("1.234,56", ",", "1234.56"),
        ("1,234.56", ".", "1234.56"),
        ("1,234", ".", "1234"),
        ("1,234", ",", "1.234"),
        ("1.234.567", None, "1234567"),
        ("12,34,567.89", None, "1234567.89"),
        ("1 234,5", None, "1234.5"),
        ("1\u202f234,50 €", None, "1234.50"),
        ("1'234.50", None, "1234.50"),
        ("-12.50", None, "-12.50"),
        ("12.50-", None, "-12.50"),
        ("(12.50)", None, "-12.50"),
        ("$ -5", None, "-5"),
        ("EUR 5", None, "5"),
        ("0,5", None, "0.5"),
        ("17850", None, "17850"),
        ("", None, None),
    ],
)
def test_numbers_are_read_exactly(text, sign, wanted):
    value, told = fields_of(text, "number", decimal=sign)
    assert told == ""
    assert (None if value is None else str(value)) == wanted


@pytest.mark.parametrize(
    ("text", "sign", "message"),
    [
        ("1,234", None, "both ways"),
        ("1.234,56", ".", "as in this file"),
        ("1,2,3.4.5", None, "not a number"),
        ("five", None, "not a number"),
        ("1e9", None, "not a number"),
        ("٣", None, "not a number"),
    ],
)
def test_what_is_no_number_is_told(text, sign, message):
    value, told = fields_of(text, "number", decimal=sign)
    assert value == "absent"
    assert message in told


def test_the_value_of_a_problem_is_shortened():
    columns = Columns(kind=Kind.CONTACT, columns=(Column(title="x", path="email"),))
    assert len(to_fields(Row(2, {"x": "x" * 500}), columns, Findings())[1][0].value) == 80


def test_a_row_with_a_problem_has_no_fields():
    columns = Columns(kind=Kind.CONTACT, columns=(Column(title="x", path="email"),))
    fields, problems = to_fields(Row(2, {"x": "a@b.de"}, "It is broken."), columns, Findings())
    assert (fields, problems[0].message, problems[0].title) == ({}, "It is broken.", "")


def test_texts_stay_as_they_are():
    source = opened('Company,E-mail\n"  Müller   GmbH ", a@example.com \n')
    assert imported(source)[0]["company_name"] == "  Müller   GmbH "
    assert imported(source)[0]["email"] == "a@example.com"


def column(*cells: str, delimiter: str = ",", titles: str = "a,b", **choices: str) -> Findings:
    body = "".join(f'"{cell}"{delimiter}x\n' for cell in cells)
    return opened(f"{titles.replace(',', delimiter)}\n{body}", **choices).findings


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (("03/04/2026", "13/04/2026"), ("dmy", "sure")),
        (("03/04/2026", "04/13/2026"), ("mdy", "sure")),
        (("03.04.2026", "", "0/0/00"), ("dmy", "sure")),
        (("2026-01-02",), ("ymd", "sure")),
        (("2026-01-02", "13/04/2026"), ("dmy", "sure")),
        (("03/04/2026", "05/06/2026"), (None, "guessed")),
        (("13/04/2026", "04/13/2026"), (None, "guessed")),
        (("x", "13/04/2026"), (None, "sure")),
        (("", ""), (None, "sure")),
    ],
)
def test_the_order_of_dates_is_found_over_the_whole_column(cells, found):
    order = column(*cells).date_order
    assert (order.value, order.certainty) == found


def test_an_order_that_nobody_can_tell_is_guessed_from_the_language_or_asked():
    german = column("03/04/2026", titles="Geburtstag,Nachname")
    assert (german.date_order.value, german.date_order.certainty) == ("dmy", "guessed")
    english = column("03/04/2026", titles="Birthday,Last Name")
    assert english.date_order.value is None
    assert "say which is meant" in english.warnings[0]
    assert column("03/04/2026", titles="Birthday,Last Name", date_order="mdy").date_order.certainty == "chosen"


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (("1.234,56",), (",", "sure")),
        (("1,234", "5.5"), (".", "sure")),
        (("1,234", "0,5"), (",", "sure")),
        (("1,234", "2,345"), (None, "guessed")),
        (("1,5", "1.5"), (None, "guessed")),
        (("17", "18"), (None, "sure")),
    ],
)
def test_the_decimal_sign_is_found_over_the_whole_column(cells, found):
    decimal = column(*cells).decimal
    assert (decimal.value, decimal.certainty) == found


def test_a_semicolon_speaks_for_the_comma():
    decimal = column("1,234", "2,345", delimiter=";").decimal
    assert (decimal.value, decimal.certainty) == (",", "guessed")
