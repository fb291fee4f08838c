"""The states of a referral, who moves it from one to the next, and the reasons that can be given.

Reasons are chosen from short lists and never written freely, so that nobody's story is passed on
with them, and so that they can be counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    """Where a referral stands."""

    PROPOSED = "proposed"
    FAMILY_ASKED = "family_asked"
    FAMILY_AGREED = "family_agreed"
    SENT = "sent"
    ACCEPTED = "accepted"
    STARTED = "started"
    DECLINED = "declined"
    FINISHED = "finished"
    STOPPED = "stopped"
    TAKEN_BACK = "taken_back"


class Side(StrEnum):
    """Who acts: the sender made the referral or acts for the district, the receiver was asked."""

    SENDER = "sender"
    RECEIVER = "receiver"


VISIBLE = frozenset({State.SENT, State.ACCEPTED, State.STARTED})
"""The states in which the receiver sees the student."""

ENDED = frozenset({State.DECLINED, State.FINISHED, State.STOPPED, State.TAKEN_BACK})
"""The states after which nothing follows."""

STEPS: Mapping[tuple[State, State], Side] = MappingProxyType(
    {
        (State.PROPOSED, State.FAMILY_ASKED): Side.SENDER,
        (State.PROPOSED, State.SENT): Side.SENDER,
        (State.FAMILY_ASKED, State.FAMILY_AGREED): Side.SENDER,
        (State.FAMILY_AGREED, State.SENT): Side.SENDER,
        (State.SENT, State.ACCEPTED): Side.RECEIVER,
        (State.SENT, State.DECLINED): Side.RECEIVER,
        (State.ACCEPTED, State.STARTED): Side.RECEIVER,
        (State.ACCEPTED, State.STOPPED): Side.RECEIVER,
        (State.STARTED, State.FINISHED): Side.RECEIVER,
        (State.STARTED, State.STOPPED): Side.RECEIVER,
    }
    | {
        (state, State.TAKEN_BACK): Side.SENDER
        for state in State
        if state not in {State.DECLINED, State.FINISHED, State.STOPPED, State.TAKEN_BACK}
    }
)
"""Every step that there is, and who may take it."""

REASONS: Mapping[State, tuple[str, ...]] = MappingProxyType(
    {
        State.DECLINED: ("no_place", "not_eligible", "out_of_area", "papers_missing", "another"),
        State.STOPPED: (
            "moved_away",
            "family_stopped",
            "did_not_come",
            "another_support",
            "another",
        ),
        State.TAKEN_BACK: (
            "family_said_no",
            "family_took_consent_back",
            "sent_elsewhere",
            "no_longer_needed",
            "made_by_mistake",
        ),
    }
)
"""The states that need a reason, each with those that can be given."""


def next_states(state: State, side: Side) -> tuple[State, ...]:
    """The states to which this side can move a referral that stands at `state`."""
    return tuple(
        after for (before, after), mover in STEPS.items() if before is state and mover is side
    )
