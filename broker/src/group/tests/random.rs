//! Random histories: whatever members do and however long they take, a group has one generation and
//! one leader, every request is answered once and in bounded time, and the log tells what there is.

use proptest::prelude::*;

use super::bench::*;
use crate::group::groups::{Group, GroupKind};

const MEMBERS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Join { asks_first: bool },
    JoinStatic { name: usize },
    Rejoin { member: usize, changed: bool },
    Sync { member: usize },
    Heartbeat { member: usize },
    Leave { member: usize },
    Commit { member: usize },
    Pass { ms: u64 },
    Refuse(bool),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let member = 0..MEMBERS;
    prop_oneof![
        3 => any::<bool>().prop_map(|asks_first| Step::Join { asks_first }),
        2 => (0..2_usize).prop_map(|name| Step::JoinStatic { name }),
        4 => (member.clone(), any::<bool>())
            .prop_map(|(member, changed)| Step::Rejoin { member, changed }),
        6 => member.clone().prop_map(|member| Step::Sync { member }),
        2 => member.clone().prop_map(|member| Step::Heartbeat { member }),
        1 => member.clone().prop_map(|member| Step::Leave { member }),
        2 => member.prop_map(|member| Step::Commit { member }),
        6 => prop_oneof![Just(0), Just(1_000), Just(4_000), Just(30_000), 0..90_000_u64]
            .prop_map(|ms| Step::Pass { ms }),
        1 => prop::bool::weighted(0.3).prop_map(Step::Refuse),
        1 => Just(Step::Restart),
    ]
}

/// The members that there are, in order.
fn member_ids(bench: &Bench) -> Vec<String> {
    let described = bench.groups.describe(GROUP);
    let members = described.map(|group| group.members).unwrap_or_default();
    members.iter().map(|member| member.member_id.to_string()).collect()
}

fn generation(bench: &Bench) -> i32 {
    bench.groups.get(GROUP).map_or(0, |group| {
        let GroupKind::Classic(classic) = &group.kind else { panic!("{group:?}") };
        classic.generation()
    })
}

fn run(bench: &mut Bench, number: usize, step: &Step) {
    let ids = member_ids(bench);
    let id = |member: usize| ids.get(member).cloned().unwrap_or_else(|| "nobody".to_owned());
    let now = generation(bench);
    match *step {
        Step::Join { asks_first } => {
            let mut join = joining_as(&format!("m{number}"));
            join.asks_for_id_first = asks_first;
            bench.join(join);
            if asks_first && number.is_multiple_of(2) {
                bench.join(rejoining(&format!("m{number}")));
            }
        }
        Step::JoinStatic { name } => {
            bench.join(joining_statically(&format!("static{name}"), &format!("s{number}")));
        }
        Step::Rejoin { member, changed } => {
            let mut join = rejoining(&id(member));
            if changed {
                join.info.protocols = knowing(&["range", "sticky"]);
            }
            bench.join(join);
        }
        Step::Sync { member } => {
            let parts: Vec<_> = ids.iter().map(|id| (id.as_str(), id.as_str())).collect();
            bench.sync(&id(member), now, &parts);
        }
        Step::Heartbeat { member } => drop(bench.heartbeat(&id(member), now)),
        Step::Leave { member } => drop(bench.leave(&id(member), None)),
        Step::Commit { member } => {
            let offset = i64::try_from(number).unwrap();
            drop(bench.commit(&commit(&id(member), now, offset)));
        }
        Step::Pass { ms } => bench.pass_ms(ms),
        Step::Refuse(refuse) => {
            bench.log.refuse =
                refuse.then_some(thalweg_protocol::ErrorCode::CoordinatorNotAvailable);
        }
        // Whoever waited at the old coordinator asks again at the new one, as a new request.
        Step::Restart => {
            bench.forget_waiters();
            bench.groups = bench.replayed();
            bench.turn(|groups, turn| groups.on_loaded(GROUP, turn));
        }
    }
}

fn check_log(bench: &Bench) {
    let replayed = bench.replayed();
    let record_of = |group: &Group| {
        let GroupKind::Classic(classic) = &group.kind else { panic!("{group:?}") };
        (classic.state().name(), classic.to_record())
    };
    let live = bench.groups.get(GROUP).map(record_of);
    if let Some((state @ ("Stable" | "Empty"), live)) = live
        && generation(bench) > 0
    {
        let (_, loaded) = replayed.get(GROUP).map(record_of).expect("it was written");
        assert_eq!(live, loaded, "{state}");
    }
    let offsets = |groups: &crate::group::groups::Groups| {
        groups.get(GROUP).map(|group| group.offsets.clone()).unwrap_or_default()
    };
    assert_eq!(offsets(&bench.groups), offsets(&replayed));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 400 }))]
    #[test]
    fn a_group_stays_one_group(steps in prop::collection::vec(step(), 1..80)) {
        let mut bench = Bench::new();
        let mut refused = false;
        let mut last_generation = 0;
        for (number, step) in steps.iter().enumerate() {
            run(&mut bench, number, step);
            refused |= matches!(step, Step::Refuse(true));
            if let Some(Group { kind: GroupKind::Classic(classic), .. }) = bench.groups.get(GROUP) {
                classic.check_invariants();
            }
            if matches!(step, Step::Restart) {
                last_generation = generation(&bench);
            }
            assert!(generation(&bench) >= last_generation, "a generation came back");
            last_generation = generation(&bench);
            // An empty group need not be written: then its old members come back, and go again.
            if !refused {
                check_log(&bench);
            }
        }
        bench.pass_ms(30 * 60 * 1000);
        assert_eq!(bench.unanswered(), 0, "a request was forgotten");
        assert!(["Dead", "Empty"].contains(&bench.state().as_str()), "{}", bench.state());
    }
}
