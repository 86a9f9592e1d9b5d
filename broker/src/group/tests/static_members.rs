//! Static members come and go under their own names (KIP-345).

use thalweg_protocol::ErrorCode;

use super::bench::*;
use crate::group::classic::Join;

#[test]
fn a_static_member_is_back_under_a_new_id_without_a_rebalance() {
    let mut bench = Bench::new();
    let joins = vec![joining_statically("one", "old"), joining_as("other")];
    let generation = bench.settle(joins);
    let back = bench.join_now(joining_statically("one", "new"));
    assert_eq!((&*back.member_id, back.generation_id), ("new", generation));
    assert_eq!((&*back.leader, back.skip_assignment), ("new", true));
    assert_eq!(back.members.len(), 2, "a leader still hears of the others");
    assert_eq!(bench.state(), "Stable");
    let synced = bench.sync("new", generation, &[]);
    assert_eq!(bench.synced(synced).unwrap().assignment, "old", "what it had");
    let restored = bench.replayed().describe(GROUP).unwrap();
    assert!(restored.members.iter().any(|member| *member.member_id == *"new"));
}

#[test]
fn the_old_id_is_fenced() {
    let mut bench = Bench::new();
    let generation = bench.settle(vec![joining_statically("one", "old")]);
    bench.join_now(joining_statically("one", "new"));
    let name = Some("one".into());
    let fenced = bench.turn(|groups, turn| {
        groups.heartbeat(&GROUP.into(), &"old".into(), name.as_ref(), generation, turn)
    });
    assert_eq!(fenced, Err(ErrorCode::FencedInstanceId));
    assert_eq!(bench.heartbeat("old", generation), Err(ErrorCode::UnknownMemberId));
    let again = Join { member_id: "old".into(), ..joining_statically("one", "x") };
    let again = bench.join_now(again);
    assert_eq!(ErrorCode::from(again.error_code), ErrorCode::FencedInstanceId);
    let mut late = commit("old", generation, 5);
    late.instance_id = Some("one".into());
    assert_eq!(bench.commit(&late), Err(ErrorCode::FencedInstanceId));
    assert_eq!(bench.leave("old", Some("one")), ErrorCode::FencedInstanceId);
    assert_eq!(bench.heartbeat("new", generation), Ok(()));
}

#[test]
fn changed_protocols_are_a_rebalance() {
    let mut bench = Bench::new();
    bench.settle(vec![joining_statically("one", "old"), joining_as("other")]);
    let mut back = joining_statically("one", "new");
    back.info.protocols = knowing(&["sticky", "range"]);
    // The vote is the same: the others know nothing else.
    assert_eq!(bench.join_now(back.clone()).error_code, 0);
    assert_eq!(bench.leave("other", None), ErrorCode::None);
    assert_eq!(bench.state(), "PreparingRebalance");
    let waiting = bench.join(Join { member_id: "new".into(), ..back });
    let joined = bench.joined(waiting).unwrap();
    assert_eq!(joined.protocol_name.as_deref(), Some("sticky"));
}

#[test]
fn a_leader_of_an_old_client_is_told_that_someone_else_leads() {
    let mut bench = Bench::new();
    bench.settle(vec![joining_statically("one", "old")]);
    let back = Join { can_skip_assignment: false, ..joining_statically("one", "new") };
    let back = bench.join_now(back);
    assert_eq!((&*back.leader, back.skip_assignment, back.members.len()), ("old", false, 0));
}

#[test]
fn a_duplicate_that_waits_is_fenced_at_once() {
    let mut bench = Bench::new();
    let first = bench.join(joining_statically("one", "old"));
    let second = bench.join(joining_statically("one", "new"));
    let fenced = bench.joined(first).unwrap();
    assert_eq!(ErrorCode::from(fenced.error_code), ErrorCode::FencedInstanceId);
    bench.pass_ms(2 * DELAY_MS);
    let joined = bench.joined(second).unwrap();
    assert_eq!((&*joined.leader, joined.members.len()), ("new", 1));
}

#[test]
fn a_static_member_is_waited_for_until_its_session_ends() {
    let mut bench = Bench::new();
    let generation = bench.settle(vec![joining_as("a"), joining_statically("one", "s")]);
    bench.join(rejoining("a"));
    for _ in 0..REBALANCE_MS / 5_000 {
        let _in_progress = bench.heartbeat("s", generation);
        bench.pass_ms(5_000);
    }
    assert_eq!(bench.state(), "CompletingRebalance");
    let described = bench.groups.describe(GROUP).unwrap();
    assert_eq!(described.members.len(), 2, "it did not join, and is still a member");
}

#[test]
fn an_admin_removes_static_members_by_name() {
    let mut bench = Bench::new();
    bench.settle(vec![joining_statically("one", "a"), joining_statically("two", "b")]);
    assert_eq!(bench.leave("", Some("nobody")), ErrorCode::UnknownMemberId);
    assert_eq!(bench.leave("", None), ErrorCode::UnknownMemberId);
    assert_eq!(bench.state(), "Stable");
    assert_eq!(bench.leave("", Some("one")), ErrorCode::None);
    assert_eq!(bench.leave("", Some("two")), ErrorCode::None);
    assert_eq!(bench.state(), "Empty");
}

#[test]
fn a_return_that_cannot_be_written_changes_nothing() {
    let mut bench = Bench::new();
    let generation = bench.settle(vec![joining_statically("one", "old")]);
    bench.log.refuse = Some(ErrorCode::CoordinatorNotAvailable);
    let back = bench.join_now(joining_statically("one", "new"));
    assert_eq!(ErrorCode::from(back.error_code), ErrorCode::CoordinatorNotAvailable);
    assert_eq!(bench.heartbeat("old", generation), Ok(()));
}
