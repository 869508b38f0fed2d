"""What we must know of the organisation before writing to it; asked once, and again after ten minutes."""

from __future__ import annotations

from tieout.connectors.zoho_books import wire
from tieout.connectors.zoho_books.client import Client, parsed, unreadable
from tieout.domain.errors import RejectedError
from tieout.ports.clock import Clock
from tieout.transport.kept import KeptFacts

# So many taxes fit into a sentence.
_NAMED_MAX = 12


class Company:
    """The organisation's currencies, taxes and users, read when first needed; and the tasks and people of projects."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self.kept = KeptFacts(clock)

    def currency_id(self, code: str) -> str:
        """The id of a currency.

        Raises:
            RejectedError: If the organisation does not use it.
        """
        known = self._currencies()
        if code not in known:
            raise RejectedError(
                f"The Zoho Books organisation does not use the currency {code}.",
                field="currency",
                next_step="Add the currency in Zoho Books (Settings > Currencies), or leave such records out of the "
                "sync.",
            )
        return known[code]

    def refuse_other_currency(self, customer: str, code: str) -> None:
        """Return if the customer's documents are in this currency: a payment names none, and takes the customer's.

        Raises:
            RejectedError: If they are in another one.
        """
        if len(self._currencies()) == 1:
            self.currency_id(code)
            return
        theirs = parsed(wire.Contact, self._client.one(f"contacts/{customer}", "contact")).currency_code
        if theirs != code:
            raise RejectedError(
                f"The customer pays in {theirs} in Zoho Books, and this payment is in {code}.",
                field="currency",
                next_step="Correct the currency on one side.",
            )

    def tax_id(self, code: str, field: str) -> str:
        """The id of a tax: of its name but for case and spaces, as it is if it is an id, empty for `NON`.

        Raises:
            RejectedError: If there is none of that name, or several; names the document's field.
        """
        if code.isdigit():
            return code
        if code == "NON":
            return ""
        taxes = self._taxes()
        found = [tax.tax_id or "" for tax in taxes if _folded(tax.tax_name) == _folded(code)]
        if len(found) == 1:
            return found[0]
        known = ", ".join(f"`{tax.tax_name}`" for tax in taxes[:_NAMED_MAX]) or "none"
        raise RejectedError(
            f"Zoho Books has {'several taxes' if found else 'no tax'} named `{code}`; it has: {known}.",
            field=field,
            next_step="Create the tax in Zoho Books (Settings > Taxes), or let the mapping give the name or the id of "
            "one that it has.",
        )

    def own_user_id(self) -> str:
        """The id of whoever connected Zoho Books."""
        users = self._users()
        return next((user.id for user in users if user.current), users[0].id if users else "")

    def email_of(self, user: str | None) -> str | None:
        """The e-mail address of a user; None if there is no such user any more."""
        return next((each.email for each in self._users() if each.id == user), None)

    def task_id(self, project: wire.Project, name: str) -> str:
        """The id of a project's task; a task of that name is added if there is none."""
        task = _task(project, name)
        if task is None:
            self._client.act(f"projects/{project.id}/tasks", {"task_name": name})
            task = _task(self.project(project.id), name)
        if task is None:
            raise unreadable("a project without the task that was added")
        return task.id

    def member_id(self, project: wire.Project, email: str) -> str:
        """The id of the user with this e-mail address, who is put on the project if need be: others log no hours there.

        Raises:
            RejectedError: If there is no such user.
        """
        wanted = email.strip().casefold()
        user = next((each for each in self._users() if (each.email or "").casefold() == wanted), None)
        if user is None:
            raise RejectedError(
                f"Zoho Books has no user with the e-mail address `{email}`.",
                field="person",
                next_step="Invite the person in Zoho Books (Settings > Users), or let the mapping of `person` give the "
                "e-mail address that the person has there.",
            )
        if all(each.id != user.id for each in project.users):
            self._client.act(f"projects/{project.id}/users", {"users": [{"user_id": user.id}]})
        return user.id

    def project(self, key: str) -> wire.Project:
        """The project with its tasks and people.

        Raises:
            NotFoundError: If there is none.
        """
        return parsed(wire.Project, self._client.one(f"projects/{key}", "project"))

    def _taxes(self) -> list[wire.Named]:
        return self.kept.fact("taxes", lambda: self._named("settings/taxes", "taxes"))

    def _users(self) -> list[wire.User]:
        return self.kept.fact(
            "users", lambda: [parsed(wire.User, row) for row in self._client.rows("users", "users", {})]
        )

    def _currencies(self) -> dict[str, str]:
        named = self.kept.fact("currencies", lambda: self._named("settings/currencies", "currencies"))
        return {each.currency_code or "": each.currency_id or "" for each in named}

    def _named(self, path: str, rows: str) -> list[wire.Named]:
        return [parsed(wire.Named, row) for row in self._client.rows(path, rows, {})]


def _task(project: wire.Project, name: str) -> wire.Task | None:
    return next((task for task in project.tasks if task.name.casefold() == name.casefold()), None)


def _folded(name: str | None) -> str:
    return " ".join((name or "").split()).casefold()
