//! What a group refuses, and with which code: first joins without an id (KIP-394), and the rest.

use thalweg_protocol::ErrorCode;

use super::bench::*;
use crate::group::classic::{Join, Sync};

#[test]
fn a_new_dynamic_member_is_sent_away_with_an_id_first() {
    let mut bench = Bench::new();
    let sent_away = bench.join_now(Join { asks_for_id_first: true, ..joining_as("id") });
    assert_eq!(ErrorCode::from(sent_away.error_code), ErrorCode::MemberIdRequired);
    assert_eq!(&*sent_away.member_id, "id");
    let back = bench.join(Join { asks_for_id_first: true, ..rejoining("id") });
    bench.pass_ms(DELAY_MS);
    assert_eq!(&*bench.joined(back).unwrap().member_id, "id");
    let mut static_member = joining_statically("one", "s");
    static_member.asks_for_id_first = true;
    let static_member = bench.join(static_member);
    assert_eq!(bench.joined(static_member), None, "a static member is taken in at once");
}

#[test]
fn only_members_of_this_generation_are_heard() {
    let mut bench = Bench::new();
    let generation = bench.settle(vec![joining_as("a")]);
    assert_eq!(bench.heartbeat("b", generation), Err(ErrorCode::UnknownMemberId));
    assert_eq!(bench.heartbeat("a", generation - 1), Err(ErrorCode::IllegalGeneration));
    assert_eq!(bench.leave("b", None), ErrorCode::UnknownMemberId);
    let stranger = bench.join_now(rejoining("b"));
    assert_eq!(ErrorCode::from(stranger.error_code), ErrorCode::UnknownMemberId);
    for (id, generation, code) in [
        ("b", generation, ErrorCode::UnknownMemberId),
        ("a", generation + 1, ErrorCode::IllegalGeneration),
    ] {
        let waiter = bench.sync(id, generation, &[]);
        assert_eq!(ErrorCode::from(bench.synced(waiter).unwrap().error_code), code);
        assert_eq!(bench.commit(&commit(id, generation, 1)), Err(code));
    }
    assert_eq!(bench.commit(&commit("", -1, 1)), Err(ErrorCode::UnknownMemberId));
    assert_eq!(bench.commit(&commit("a", generation, 1)), Ok(vec![ErrorCode::None]));
}

#[test]
fn protocols_must_be_those_of_the_group() {
    let mut bench = Bench::new();
    let nothing = Join { protocol_type: "".into(), ..joining_as("x") };
    let refused = bench.join_now(nothing);
    assert_eq!(ErrorCode::from(refused.error_code), ErrorCode::InconsistentGroupProtocol);
    let generation = bench.settle(vec![joining_as("a")]);
    let refused = bench.join_now(Join { protocol_type: "connect".into(), ..joining_as("x") });
    assert_eq!(ErrorCode::from(refused.error_code), ErrorCode::InconsistentGroupProtocol);
    for (kind, name) in [("connect", "range"), ("consumer", "sticky")] {
        let waiter = bench.sync_with(&Sync {
            member_id: "a".into(),
            instance_id: None,
            generation,
            protocol_type: Some(kind.into()),
            protocol_name: Some(name.into()),
            assignments: Default::default(),
        });
        let code = ErrorCode::from(bench.synced(waiter).unwrap().error_code);
        assert_eq!(code, ErrorCode::InconsistentGroupProtocol);
    }
    assert_eq!(bench.state(), "Stable");
}

#[test]
fn commits_are_taken_while_preparing_and_refused_while_completing() {
    let mut bench = Bench::new();
    let generation = bench.settle(vec![joining_as("a"), joining_as("b")]);
    bench.join(rejoining("a"));
    assert_eq!(bench.state(), "PreparingRebalance");
    assert_eq!(bench.commit(&commit("b", generation, 7)), Ok(vec![ErrorCode::None]));
    bench.join(rejoining("b"));
    assert_eq!(bench.state(), "CompletingRebalance");
    let early = bench.commit(&commit("b", generation + 1, 8));
    assert_eq!(early, Err(ErrorCode::RebalanceInProgress));
    let late = bench.commit(&commit("b", generation, 8));
    assert_eq!(late, Err(ErrorCode::IllegalGeneration));
}

#[test]
fn nobody_is_known_to_a_group_that_is_not_there() {
    let mut bench = Bench::new();
    assert_eq!(bench.heartbeat("a", 1), Err(ErrorCode::UnknownMemberId));
    assert_eq!(bench.leave("a", None), ErrorCode::UnknownMemberId);
    let join = bench.join_now(rejoining("a"));
    assert_eq!(ErrorCode::from(join.error_code), ErrorCode::UnknownMemberId);
    let sync = bench.sync("a", 1, &[]);
    let code = ErrorCode::from(bench.synced(sync).unwrap().error_code);
    assert_eq!(code, ErrorCode::UnknownMemberId);
    assert_eq!(bench.commit(&commit("a", 1, 1)), Err(ErrorCode::GroupIdNotFound));
    let old = crate::group::offsets::Commit { version: 8, ..commit("a", 1, 1) };
    assert_eq!(bench.commit(&old), Err(ErrorCode::IllegalGeneration));
    assert_eq!(bench.state(), "Dead", "none of this made a group");
}

#[test]
fn an_assignment_that_cannot_be_written_is_nobodys() {
    let mut bench = Bench::new();
    let (a, b) = (bench.join(joining_as("a")), bench.join(joining_as("b")));
    bench.pass_ms(2 * DELAY_MS);
    assert!(bench.joined(a).is_some() && bench.joined(b).is_some());
    let follower = bench.sync("b", 1, &[]);
    bench.log.refuse = Some(ErrorCode::NotCoordinator);
    let leader = bench.sync("a", 1, &[("a", "x"), ("b", "y")]);
    for waiter in [leader, follower] {
        let told = bench.synced(waiter).unwrap();
        assert_eq!(ErrorCode::from(told.error_code), ErrorCode::NotCoordinator);
        assert!(told.assignment.is_empty());
    }
    assert_eq!(bench.state(), "PreparingRebalance");
    assert!(bench.log.records.is_empty());
}
