import pytest

from tieout.transport import redact


@pytest.mark.parametrize(
    ("url", "template"),
    [
        ("https://x.test/v3/company/9130350192/query?query=select", "/v3/company/{id}/query"),
        ("https://x.test/v3/company/9130350192/companyinfo/9130350192", "/v3/company/{id}/companyinfo/{id}"),
        ("https://x.test/act.web.api/api/contacts/0b1c-22", "/act.web.api/api/contacts/{id}"),
        ("https://x.test/oauth2/v1/tokens/bearer", "/oauth2/v1/tokens/bearer"),
        ("https://x.test/people/jo%20doe@mail.test", "/people/{id}"),
        ("https://x.test", ""),
    ],
)
def test_a_path_keeps_the_words_of_the_interface_only(url, template):
    assert redact.path_template(url) == template


def test_a_call_in_words_has_neither_user_nor_query():
    assert redact.call("GET", "https://jo:secret@x.test/query?name=Jo") == "GET x.test/query"


def test_a_request_id_is_taken_only_if_it_looks_like_one():
    assert redact.request_id({"intuit_tid": "1-5f-ab"}) == "1-5f-ab"
    assert redact.request_id({"intuit_tid": "a b\nc"}) == ""
    assert redact.request_id({}) == ""
