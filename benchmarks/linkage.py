"""How accurately partners' participants are linked to students, by kind of error in the list.

Run:
    .venv/bin/python -m benchmarks.linkage

The lists are synthetic, so the right student of each participant is known. The reference is an
exact match of name and birth date.
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
NOT_A_STUDENT = "not a student of the district"


def outcome(world: LinkageWorld, match: Match) -> str:
    """What became of a participant: linked to the right or a wrong student, unsure or none."""
    if match.status is not MatchStatus.LINKED:
        return str(match.status)
    right = match.student_id == world.truth[match.participant.participant_id]
    return "right" if right else "wrong"


def print_by_error_kind(lists: list[tuple[LinkageWorld, list[Match]]]) -> None:
    """One row for each kind of error, over all lists."""
    outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for world, matches in lists:
        for match in matches:
            key = match.participant.participant_id
            kind = NOT_A_STUDENT if world.truth[key] is None else world.damage[key]
            outcomes[kind][outcome(world, match)] += 1
    print(
        "| error in the row | participants | linked | wrongly linked | left for review | no"
        " student found |"
    )
    print("|---|---|---|---|---|---|")
    for kind, counts in sorted(outcomes.items(), key=lambda item: -item[1]["right"]):
        total, linked = counts.total(), counts["right"] + counts["wrong"]
        print(
            f"| {kind} | {total:,} | {linked / total:.1%} | {counts['wrong']} |"
            f" {counts['unsure'] / total:.1%} | {counts['none'] / total:.1%} |"
        )


def print_accuracy(name: str, lists: list[tuple[LinkageWorld, dict[str, str]]]) -> None:
    """Precision over all links, recall over all participants who are students, and worst recall."""
    right = [
        sum(world.truth[key] == student for key, student in links.items()) for world, links in lists
    ]
    linked = [len(links) for _, links in lists]
    students = [sum(student is not None for student in world.truth.values()) for world, _ in lists]
    worst_recall = min(
        right_links / participants
        for right_links, participants in zip(right, students, strict=True)
    )
    print(
        f"| {name} | {sum(right) / sum(linked):.4f} | {sum(right) / sum(students):.3f} |"
        f" {worst_recall:.3f} |"
    )


def links_of(matches: list[Match]) -> dict[str, str]:
    """Participant to student, for those that were linked."""
    return {
        match.participant.participant_id: match.student_id
        for match in matches
        if match.student_id is not None
    }


def main() -> None:
    lists, seconds = [], []
    for seed in SEEDS:
        world = make_world(seed, STUDENTS, PARTICIPANTS)
        start = time.perf_counter()
        lists.append((world, link_participants(world.participants, world.students)))
        seconds.append(time.perf_counter() - start)
    print_by_error_kind(lists)
    print(f"\n| {len(lists)} lists | precision | recall | recall of the worst list |")
    print("|---|---|---|---|")
    print_accuracy("Handrail", [(world, links_of(matches)) for world, matches in lists])
    print_accuracy("exact match", [(world, exact_match_links(world)) for world, _ in lists])
    print(
        f"\n{PARTICIPANTS:,} participants against {STUDENTS:,} students:"
        f" {statistics.median(seconds):.1f} s (median)."
    )


if __name__ == "__main__":
    main()
