"""How well partners' participants are linked to students, by what was wrong with the list, and how
long it takes.

Run: .venv/bin/python -m benchmarks.linkage
"""

from __future__ import annotations

import statistics
import time
from collections import Counter, defaultdict

from records.identity.linkage import link_participants
from records.identity.participants import Match, MatchStatus
from tests.records.synthetic_participants import LinkageWorld, exact_match_links, make_world

SEEDS = range(1, 11)
STUDENTS, PARTICIPANTS = 16_000, 1_000
STRANGER = "not a student of the district"


def outcome(world: LinkageWorld, match: Match) -> str:
    """What became of one participant: linked rightly or wrongly, left to a person, or not found."""
    if match.status is MatchStatus.LINKED:
        return (
            "right"
            if match.student_id == world.truth[match.participant.participant_id]
            else "wrong"
        )
    return str(match.status)


def print_by_error_kind(worlds: list[tuple[LinkageWorld, list[Match]]]) -> None:
    """A row for each kind of damage, over all lists."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for world, matches in worlds:
        for match in matches:
            key = match.participant.participant_id
            found[STRANGER if world.truth[key] is None else world.damage[key]][
                outcome(world, match)
            ] += 1
    print(
        "| what was wrong with the row | participants | linked | of these wrongly | left to a"
        " person | not found |"
    )
    print("|---|---|---|---|---|---|")
    for kind, counts in sorted(found.items(), key=lambda one: -one[1]["right"]):
        total, linked = counts.total(), counts["right"] + counts["wrong"]
        print(
            f"| {kind} | {total:,} | {linked / total:.1%} | {counts['wrong']} |"
            f" {counts['unsure'] / total:.1%} | {counts['none'] / total:.1%} |"
        )


def altogether(name: str, found: list[tuple[LinkageWorld, dict[str, str]]]) -> None:
    """Precision over what was linked and recall over those who are students, all lists together and
    the worst one.
    """
    right = [
        sum(world.truth[key] == student for key, student in links.items()) for world, links in found
    ]
    linked = [len(links) for _, links in found]
    students = [sum(student is not None for student in world.truth.values()) for world, _ in found]
    worst = min(one / of for one, of in zip(right, students, strict=True))
    print(
        f"| {name} | {sum(right) / sum(linked):.4f} | {sum(right) / sum(students):.3f} |"
        f" {worst:.3f} |"
    )


def main() -> None:
    worlds, seconds = [], []
    for seed in SEEDS:
        world = make_world(seed, STUDENTS, PARTICIPANTS)
        start = time.perf_counter()
        worlds.append((world, link_participants(world.participants, world.students)))
        seconds.append(time.perf_counter() - start)
    print_by_error_kind(worlds)
    print(
        f"\n| {len(worlds)} lists | precision | recall | recall of the worst list"
        " |\n|---|---|---|---|"
    )
    altogether(
        "linked",
        [
            (
                world,
                {
                    match.participant.participant_id: match.student_id
                    for match in matches
                    if match.student_id is not None
                },
            )
            for world, matches in worlds
        ],
    )
    altogether(
        "a look-up letter for letter", [(world, exact_match_links(world)) for world, _ in worlds]
    )
    print(
        f"\n{PARTICIPANTS:,} participants beside {STUDENTS:,} students:"
        f" {statistics.median(seconds):.1f} s (median)."
    )


if __name__ == "__main__":
    main()
