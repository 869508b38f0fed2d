"""What a connection's settings may be, and how a wrong one is told."""

from __future__ import annotations

from typing import Annotated, Self

import pytest
from pydantic import BaseModel, ConfigDict, model_validator

from tieout.domain.errors import SettingsError
from tieout.transport.settings import Calls, SafeUrl, ZoneName, checked, is_loopback, server_url


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    base_url: Annotated[str, server_url("https://erp.example.com")] = "https://a.example"
    api_url: SafeUrl | None = None
    calls: Calls = 1
    zone: ZoneName = "UTC"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.calls == 13:
            raise ValueError("13 calls need `zone`")
        return self


@pytest.mark.parametrize(
    "values",
    [
        {"base_url": "https://user:pass@a.example/x"},
        {"base_url": "http://a.example"},
        {"base_url": "http://127.0.0.1.a.example"},
        {"base_url": "a.example"},
        {"base_url": "https://a.example/?x=1"},
        {"base_url": "https://a.example/#x"},
        {"api_url": "http://a.example"},
        {"api_url": "https://a.example@b.example"},
        {"api_url": "https://a.example\\@b.example/"},
        {"api_url": "http://localhost:8080@b.example/"},
        {"api_url": "https://a.example?"},
        {"api_url": "https://a.example/\n"},
        {"api_url": "https:///x"},
        {"api_url": "ftp://127.0.0.1"},
        {"calls": 0},
        {"zone": "Mars/Olympus"},
        {"zone": "../../etc/passwd"},
        {"surprise": "pass"},
    ],
)
def test_a_wrong_setting_is_named_and_its_value_is_not_repeated(values):
    ((name, value),) = values.items()
    with pytest.raises(
        SettingsError, match=f"^The settings of the Shapes connection cannot be used: `{name}`"
    ) as caught:
        checked(Settings, values, "Shapes")
    assert "Value error" not in caught.value.message
    assert str(value) not in caught.value.message or value == 0
    assert caught.value.next_step == f"Correct `{name}` in the connection document and apply it again."


def test_all_that_are_wrong_are_named():
    with pytest.raises(SettingsError, match=r"`calls`.*; `zone`: it is the name of a time zone") as caught:
        checked(Settings, {"calls": 0, "zone": "x"}, "Shapes")
    assert caught.value.next_step == "Correct `calls`, `zone` in the connection document and apply it again."


def test_settings_that_do_not_fit_each_other_say_why():
    with pytest.raises(SettingsError, match="cannot be used: 13 calls need `zone`") as caught:
        checked(Settings, {"calls": 13}, "Shapes")
    assert caught.value.next_step == "Correct the settings in the connection document and apply it again."


@pytest.mark.parametrize(
    "url", ["https://a.example/act.web.api/", "http://127.0.0.1:1/x", "http://localhost", "http://[::1]:5"]
)
def test_https_and_this_machine_are_taken(url):
    settings = checked(Settings, {"base_url": url, "api_url": url}, "Shapes")

    assert settings.base_url == url.rstrip("/")
    assert settings.api_url == url


@pytest.mark.parametrize(
    ("host", "ours"),
    [("localhost", True), ("127.0.0.1", True), ("::1", True), ("127.0.0.2", False), ("a.example", False), ("", False)],
)
def test_this_machine_is_its_name_and_its_own_address(host, ours):
    assert is_loopback(host) is ours
