"""The states of a referral: every one can be reached, none is a dead end that is not an end."""

from __future__ import annotations

from records.referrals.states import ENDED, REASONS, STEPS, VISIBLE, Side, State, next_states


def test_every_state_is_reached_and_only_ends_end():
    reached = {State.PROPOSED}
    while True:
        more = {after for before, after in STEPS if before in reached} - reached
        if not more:
            break
        reached |= more
    assert reached == set(State)
    assert {state for state in State if state not in {before for before, _ in STEPS}} == ENDED


def test_nothing_is_shown_before_it_is_sent_or_after_it_ended():
    shown_without_sending = {
        after for before, after in STEPS if after in VISIBLE and before not in VISIBLE
    }
    assert shown_without_sending == {State.SENT}
    assert not VISIBLE & ENDED


def test_the_receiver_acts_only_on_what_was_sent_and_the_sender_can_take_back_what_is_open():
    assert {before for (before, _), side in STEPS.items() if side is Side.RECEIVER} == VISIBLE
    assert all(State.TAKEN_BACK in next_states(state, Side.SENDER) for state in set(State) - ENDED)
    assert next_states(State.SENT, Side.RECEIVER) == (State.ACCEPTED, State.DECLINED)


def test_each_end_but_a_finished_support_has_its_reasons():
    assert set(REASONS) == ENDED - {State.FINISHED}
