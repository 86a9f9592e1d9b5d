//! How a group comes to a generation, and what makes it go to the next.

use super::bench::*;
use thalweg_protocol::ErrorCode;
use thalweg_protocol::messages::JoinGroupResponse;

fn code(response: &JoinGroupResponse) -> ErrorCode {
    ErrorCode::from(response.error_code)
}

#[test]
fn a_new_group_waits_for_more_members_and_longer_when_some_come() {
    let mut bench = Bench::new();
    let first = bench.join(joining_as("a"));
    bench.pass_ms(DELAY_MS - 1);
    let second = bench.join(joining_as("b"));
    bench.pass_ms(1);
    assert_eq!(bench.joined(first), None, "put off once more");
    bench.pass_ms(DELAY_MS);
    let (first, second) = (bench.joined(first).unwrap(), bench.joined(second).unwrap());
    assert_eq!((first.generation_id, second.generation_id), (1, 1));
    assert_eq!((&*first.leader, &*second.leader), ("a", "a"));
    let ids: Vec<_> = first.members.iter().map(|member| member.member_id.to_string()).collect();
    assert_eq!(ids, ["a", "b"]);
    assert!(second.members.is_empty(), "only the leader hears of the others");
    assert_eq!(first.protocol_name.as_deref(), Some("range"));
    assert_eq!(bench.state(), "CompletingRebalance");
}

#[test]
fn a_new_group_whose_first_member_left_takes_the_next_whatever_it_knows() {
    let mut bench = Bench::new();
    bench.join(joining_as("a"));
    bench.pass_ms(DELAY_MS / 2);
    assert_eq!(bench.leave("a", None), ErrorCode::None);
    let mut next = joining_as("b");
    next.info.protocols = knowing(&["another"]);
    let next = bench.join(next);
    bench.pass_ms(2 * DELAY_MS);
    let next = bench.joined(next).unwrap();
    assert_eq!((code(&next), next.generation_id, &*next.leader), (ErrorCode::None, 1, "b"));
}

#[test]
fn a_load_that_ends_late_takes_no_patience_from_who_has_come_meanwhile() {
    let mut bench = Bench::new();
    let first = bench.join(joining_as("a"));
    bench.pass_ms(DELAY_MS);
    assert_eq!(bench.joined(first).unwrap().generation_id, 1);
    bench.sync("a", 1, &[]);
    let newcomer = bench.join(joining_as("b"));
    bench.turn(|groups, turn| groups.on_loaded(GROUP, turn));
    // The others take longer than a session.
    for _ in 0..5 {
        bench.pass_ms(SESSION_MS / 4);
        assert_eq!(bench.heartbeat("a", 1), Err(ErrorCode::RebalanceInProgress));
    }
    assert_eq!(bench.joined(newcomer), None, "it still waits");
    bench.pass_ms(REBALANCE_MS);
    assert_eq!(code(&bench.joined(newcomer).unwrap()), ErrorCode::None);
}

#[test]
fn a_new_group_does_not_wait_beyond_the_rebalance_timeout() {
    let mut bench = Bench::new();
    let mut first = joining_as("first");
    first.info.rebalance_timeout_ms = 8_000;
    let first = bench.join(first);
    for n in 0..7_u64 {
        bench.pass_ms(1_000);
        let mut next = joining_as(&format!("m{n}"));
        next.info.rebalance_timeout_ms = 8_000;
        bench.join(next);
    }
    assert_eq!(bench.joined(first), None);
    bench.pass_ms(1_000);
    assert_eq!(bench.joined(first).unwrap().members.len(), 8);
}

#[test]
fn everyone_gets_its_part_when_the_leader_has_assigned() {
    let mut bench = Bench::new();
    let (a, b) = (bench.join(joining_as("a")), bench.join(joining_as("b")));
    bench.pass_ms(2 * DELAY_MS);
    assert!(bench.joined(a).is_some() && bench.joined(b).is_some());
    let follower = bench.sync("b", 1, &[]);
    assert_eq!(bench.synced(follower), None, "waits for the leader");
    let leader = bench.sync("a", 1, &[("b", "part of b")]);
    assert_eq!(bench.synced(follower).unwrap().assignment, "part of b");
    assert_eq!(bench.synced(leader).unwrap().assignment, "", "assigned nothing");
    assert_eq!(bench.state(), "Stable");
    let again = bench.sync("b", 1, &[]);
    assert_eq!(bench.synced(again).unwrap().assignment, "part of b");
    assert_eq!(bench.heartbeat("a", 1), Ok(()));
}

#[test]
fn a_follower_with_nothing_new_rejoins_without_a_rebalance() {
    let mut bench = Bench::new();
    let generation = bench.settle(vec![joining_as("a"), joining_as("b")]);
    let again = bench.join_now(rejoining("b"));
    assert_eq!((again.generation_id, &*again.leader), (generation, "a"));
    assert_eq!(bench.state(), "Stable");
    let mut changed = rejoining("b");
    changed.info.protocols = knowing(&["range", "sticky"]);
    bench.join(changed);
    assert_eq!(bench.state(), "PreparingRebalance");
}

#[test]
fn a_leader_that_rejoins_wants_a_rebalance() {
    let mut bench = Bench::new();
    let generation = bench.settle(vec![joining_as("a"), joining_as("b")]);
    let leader = bench.join(rejoining("a"));
    assert_eq!(bench.heartbeat("b", generation), Err(ErrorCode::RebalanceInProgress));
    assert_eq!(bench.joined(leader), None);
    let follower = bench.join(rejoining("b"));
    assert_eq!(bench.joined(leader).unwrap().generation_id, generation + 1);
    assert_eq!(bench.joined(follower).unwrap().generation_id, generation + 1);
}

#[test]
fn members_that_do_not_join_again_in_time_are_out() {
    let mut bench = Bench::new();
    let generation = bench.settle(vec![joining_as("a"), joining_as("b")]);
    let follower = {
        let mut changed = rejoining("b");
        changed.info.protocols = knowing(&["range", "x"]);
        bench.join(changed)
    };
    for _ in 0..REBALANCE_MS / 5_000 {
        assert_eq!(bench.joined(follower), None);
        // It lives, it only does not join.
        assert_eq!(bench.heartbeat("a", generation), Err(ErrorCode::RebalanceInProgress));
        bench.pass_ms(5_000);
    }
    let joined = bench.joined(follower).unwrap();
    assert_eq!((&*joined.leader, joined.members.len()), ("b", 1));
    assert_eq!(bench.heartbeat("a", generation), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn a_silent_member_is_out_after_its_session() {
    let mut bench = Bench::new();
    let generation = bench.settle(vec![joining_as("a"), joining_as("b")]);
    bench.pass_ms(SESSION_MS - 1);
    assert_eq!(bench.heartbeat("a", generation), Ok(()));
    bench.pass_ms(1);
    assert_eq!(bench.state(), "PreparingRebalance");
    assert_eq!(bench.heartbeat("b", generation), Err(ErrorCode::UnknownMemberId));
    assert_eq!(bench.heartbeat("a", generation), Err(ErrorCode::RebalanceInProgress));
    bench.pass_ms(SESSION_MS);
    assert_eq!(bench.state(), "Empty");
}

#[test]
fn a_member_that_waits_for_us_is_not_silent() {
    let mut bench = Bench::new();
    let generation = bench.settle(vec![joining_as("a"), joining_as("b")]);
    let waiting = bench.join(rejoining("a"));
    for _ in 0..5 {
        bench.pass_ms(SESSION_MS / 2);
        if bench.joined(waiting).is_none() {
            assert_eq!(bench.heartbeat("b", generation), Err(ErrorCode::RebalanceInProgress));
        }
    }
    assert_eq!(bench.joined(waiting), None, "b is alive and has time to join");
    bench.pass_ms(SESSION_MS);
    assert_eq!(bench.joined(waiting).unwrap().members.len(), 1, "b fell silent");
}

#[test]
fn a_member_that_never_asks_for_its_assignment_is_out() {
    let mut bench = Bench::new();
    let (a, b) = (bench.join(joining_as("a")), bench.join(joining_as("b")));
    bench.pass_ms(2 * DELAY_MS);
    assert!(bench.joined(a).is_some() && bench.joined(b).is_some());
    let follower = bench.sync("b", 1, &[]);
    for _ in 0..REBALANCE_MS / 5_000 {
        assert_eq!(bench.heartbeat("a", 1), Ok(()));
        bench.pass_ms(5_000);
    }
    let told = bench.synced(follower).unwrap();
    assert_eq!(ErrorCode::from(told.error_code), ErrorCode::RebalanceInProgress);
    assert_eq!(bench.heartbeat("a", 1), Err(ErrorCode::UnknownMemberId));
    assert_eq!(bench.state(), "PreparingRebalance");
}

#[test]
fn the_last_to_leave_empties_the_group_and_that_is_written() {
    let mut bench = Bench::new();
    let generation = bench.settle(vec![joining_as("a")]);
    assert_eq!(bench.leave("a", None), ErrorCode::None);
    assert_eq!(bench.state(), "Empty");
    let loaded = bench.replayed().describe(GROUP).unwrap();
    assert_eq!((&*loaded.group_state, &*loaded.protocol_type), ("Empty", "consumer"));
    let next = bench.join(joining_as("b"));
    bench.pass_ms(DELAY_MS);
    assert_eq!(bench.joined(next).unwrap().generation_id, generation + 2, "Empty is one, too");
}

#[test]
fn the_strategy_is_one_that_all_know_and_most_prefer() {
    let mut bench = Bench::new();
    let joins = [
        ("a", &["x", "range", "sticky"][..]),
        ("b", &["sticky", "range"]),
        ("c", &["sticky", "range", "y"]),
    ];
    let waiters = joins.map(|(id, names)| {
        let mut join = joining_as(id);
        join.info.protocols = knowing(names);
        bench.join(join)
    });
    bench.pass_ms(2 * DELAY_MS);
    let joined = bench.joined(waiters[0]).unwrap();
    assert_eq!(joined.protocol_name.as_deref(), Some("sticky"));
    let mut other = joining_as("d");
    other.info.protocols = knowing(&["x", "y"]);
    assert_eq!(code(&bench.join_now(other)), ErrorCode::InconsistentGroupProtocol);
}

#[test]
fn pending_ids_are_waited_for_and_then_forgotten() {
    let mut bench = Bench::new();
    bench.settle(vec![joining_as("a")]);
    let sent_away = bench.join_now(Joining::that_asks_first("p"));
    assert_eq!(code(&sent_away), ErrorCode::MemberIdRequired);
    assert_eq!(&*sent_away.member_id, "p");
    let leader = bench.join(rejoining("a"));
    assert_eq!(bench.joined(leader), None, "p is on its way");
    bench.pass_ms(SESSION_MS);
    assert_eq!(bench.joined(leader).unwrap().members.len(), 1, "p never came");
}

struct Joining;

impl Joining {
    fn that_asks_first(id: &str) -> crate::group::classic::Join {
        crate::group::classic::Join { asks_for_id_first: true, ..joining_as(id) }
    }
}

#[test]
fn a_group_that_only_promised_an_id_is_forgotten() {
    let mut bench = Bench::new();
    bench.join_now(Joining::that_asks_first("p"));
    assert_eq!(bench.state(), "Empty");
    bench.pass_ms(SESSION_MS);
    assert_eq!(bench.state(), "Dead");
    assert!(bench.log.records.is_empty());
}

#[test]
fn a_full_group_takes_nobody_more() {
    let mut bench = Bench::new();
    bench.settings.members_max = 2;
    bench.settle(vec![joining_as("a"), joining_as("b")]);
    assert_eq!(code(&bench.join_now(joining_as("c"))), ErrorCode::GroupMaxSizeReached);
    let leader = bench.join(rejoining("a"));
    let third = bench.join(joining_as("c"));
    let late = bench.join_now(rejoining("b"));
    assert_eq!(code(&late), ErrorCode::GroupMaxSizeReached, "c was faster");
    assert_eq!(bench.joined(leader).unwrap().members.len(), 2);
    assert_eq!(bench.joined(third).unwrap().generation_id, 2);
}

#[test]
fn a_request_that_was_sent_again_answers_the_first_one_too() {
    let mut bench = Bench::new();
    bench.settle(vec![joining_as("a"), joining_as("b")]);
    let lost = bench.join(rejoining("a"));
    let sent_again = bench.join(rejoining("a"));
    assert_eq!(code(&bench.joined(lost).unwrap()), ErrorCode::RebalanceInProgress);
    bench.join(rejoining("b"));
    assert_eq!(bench.joined(sent_again).unwrap().members.len(), 2);
}

#[test]
fn a_loaded_group_goes_on_and_its_sessions_begin() {
    let mut bench = Bench::new();
    let generation = bench.settle(vec![joining_as("a"), joining_as("b")]);
    bench.groups = bench.replayed();
    bench.turn(|groups, turn| groups.on_loaded(GROUP, turn));
    assert_eq!(bench.state(), "Stable");
    bench.pass_ms(SESSION_MS - 1);
    assert_eq!(bench.heartbeat("a", generation), Ok(()));
    let again = bench.sync("b", generation, &[]);
    assert_eq!(bench.synced(again).unwrap().assignment, "b");
    bench.pass_ms(SESSION_MS);
    assert_eq!(bench.state(), "Empty");
}

#[test]
fn absurd_timeouts_are_only_long() {
    let mut bench = Bench::new();
    let mut join = joining_as("a");
    (join.info.rebalance_timeout_ms, join.info.session_timeout_ms) = (i32::MIN, i32::MAX);
    bench.now_ms = 1 << 50;
    let waiter = bench.join(join);
    bench.pass_ms(DELAY_MS);
    assert_eq!(bench.joined(waiter).unwrap().generation_id, 1);
}
