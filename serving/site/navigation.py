"""The pages of the site, by group, and for which roles."""

from __future__ import annotations

from dataclasses import dataclass

from records.staff.viewer import PARTNER_ROLES, Role

PLACEMENT_ROLES = frozenset({Role.CASEWORKER})
"""Who may plan how places are filled: nobody else's scope holds a suggestion
(`records.access.scope`)."""

AUDITOR_ROLES = frozenset({Role.EQUITY_REVIEWER, Role.DATA_SCIENTIST, Role.DISTRICT_ADMIN})
"""Who reads audits, drift and effects: figures about groups, never a single student."""

NAVIGATION: tuple[tuple[str, tuple[tuple[str, str, frozenset[Role]], ...]], ...] = (
    ("Caseload", (("/caseload", "Caseload", PARTNER_ROLES),)),
    ("Places", (("/places", "Places", PLACEMENT_ROLES),)),
    (
        "Students",
        (
            ("/students", "All students", frozenset({Role.DISTRICT_ADMIN})),
            ("/matches", "Who is who", frozenset({Role.DISTRICT_ADMIN})),
            ("/consents", "Consents", frozenset({Role.DISTRICT_ADMIN})),
        ),
    ),
    (
        "Model",
        (
            ("/audits", "Fairness audits", AUDITOR_ROLES),
            ("/drift", "Changes since training", AUDITOR_ROLES),
        ),
    ),
    ("Programs", (("/effects", "Programs", AUDITOR_ROLES),)),
    ("Agreements", (("/agreements", "Agreements", frozenset(Role)),)),
    ("Who saw what", (("/disclosures", "Who saw what", frozenset({Role.DISTRICT_ADMIN})),)),
    (
        "Legal matters",
        (
            ("/demands", "Legal demands", frozenset({Role.DISTRICT_ADMIN})),
            ("/emergencies", "Emergencies", frozenset({Role.DISTRICT_ADMIN})),
        ),
    ),
    (
        "Records",
        (
            ("/data", "Data loads", frozenset({Role.DATA_SCIENTIST, Role.DISTRICT_ADMIN})),
            ("/retention", "Destroyed records", frozenset({Role.DISTRICT_ADMIN})),
        ),
    ),
)
"""Groups of pages: path, label, and for whom. The first page that a role has is its front page."""


@dataclass(frozen=True)
class NavigationGroup:
    """One entry of the menu: its label, and the path and label of each page that a role has."""

    label: str
    pages: tuple[tuple[str, str], ...]

    def contains(self, path: str) -> bool:
        """Whether a path is one of its pages or below one."""
        return any(is_within(path, page) for page, _ in self.pages)


def navigation(role: Role) -> list[NavigationGroup]:
    """The groups of which a role has a page. A group of one page has the label of the page."""
    groups = []
    for group_label, pages in NAVIGATION:
        links = tuple((path, label) for path, label, roles in pages if role in roles)
        if links:
            groups.append(NavigationGroup(group_label if len(links) > 1 else links[0][1], links))
    return groups


def is_within(path: str, page: str) -> bool:
    """Whether a path belongs to a page of the navigation; a student's belongs to the caseload."""
    return (
        path == page
        or path.startswith(f"{page}/")
        or (page == "/caseload" and path.startswith("/students/"))
    )
