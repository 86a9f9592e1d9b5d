//! Incremental fetch sessions (KIP-227): the broker remembers which partitions a client reads and
//! from where, and a request names only what changed.
//!
//! Sessions belong to a shard, as connections do; a client that comes back on another one is told
//! that its session is unknown and starts a new one, as after any restart.

use std::collections::{BTreeMap, HashMap};

use thalweg_protocol::messages::fetch::{FetchPartition, FetchRequest, PartitionData};
use thalweg_protocol::{ErrorCode, KafkaStr};
use uuid::Uuid;

/// No session, and the end of one.
const FINAL_EPOCH: i32 = -1;
/// The start of a session.
const INITIAL_EPOCH: i32 = 0;

/// A partition as a fetch names it: by the topic's name up to version 12, by its id from 13.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FetchKey {
    pub(crate) name: KafkaStr,
    pub(crate) id: Uuid,
    pub(crate) partition: i32,
}

/// One partition to read, and what the client was last told of it.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) key: FetchKey,
    pub(crate) fetch: FetchPartition,
    told: Option<(i64, i64)>,
}

/// What a request amounts to once its session is taken into account.
pub(crate) struct Plan {
    /// The session the answer belongs to; 0 for none.
    pub(crate) session_id: i32,
    /// In the order in which to read.
    pub(crate) wanted: Vec<Wanted>,
    /// Whether the answer leaves out what has not changed.
    pub(crate) incremental: bool,
}

struct Session {
    next_epoch: i32,
    by_id: bool,
    /// By reading order: what was served last is read last next time.
    order: BTreeMap<u64, Wanted>,
    places: HashMap<FetchKey, u64>,
    next_place: u64,
    last_used: u64,
}

/// The sessions of one shard.
pub(crate) struct FetchSessions {
    sessions: HashMap<i32, Session>,
    max: usize,
    uses: u64,
}

impl FetchSessions {
    /// Room for `max` sessions.
    pub(crate) fn new(max: usize) -> FetchSessions {
        FetchSessions { sessions: HashMap::new(), max, uses: 0 }
    }

    /// Applies a request to its session.
    pub(crate) fn plan(&mut self, request: &FetchRequest, by_id: bool) -> Result<Plan, ErrorCode> {
        let (id, epoch) = (request.session_id, request.session_epoch);
        if epoch == FINAL_EPOCH || epoch == INITIAL_EPOCH {
            self.sessions.remove(&id);
            let wanted = named(request);
            let session_id = match epoch {
                INITIAL_EPOCH if !wanted.is_empty() => self.open(&wanted, by_id),
                _ => 0,
            };
            return Ok(Plan { session_id, wanted, incremental: false });
        }
        self.uses += 1;
        let session = self.sessions.get_mut(&id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.next_epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.by_id != by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        session.last_used = self.uses;
        session.next_epoch = epoch.checked_add(1).unwrap_or(1);
        session.forget(request);
        for wanted in named(request) {
            session.put(wanted);
        }
        let wanted = session.order.values().cloned().collect();
        Ok(Plan { session_id: id, wanted, incremental: true })
    }

    /// Leaves out of an incremental answer what the client knows already, and remembers the rest.
    pub(crate) fn told(&mut self, plan: &Plan, answers: &mut Vec<(FetchKey, PartitionData)>) {
        let Some(session) = self.sessions.get_mut(&plan.session_id) else { return };
        answers.retain(|(key, data)| {
            let changed = session.tell(key, data);
            changed || !plan.incremental
        });
    }

    fn open(&mut self, wanted: &[Wanted], by_id: bool) -> i32 {
        if self.max == 0 {
            return 0;
        }
        if self.sessions.len() >= self.max {
            // The client of the one unused for longest will start anew, should it come back.
            let oldest = self.sessions.iter().min_by_key(|(_, session)| session.last_used);
            if let Some(id) = oldest.map(|(id, _)| *id) {
                self.sessions.remove(&id);
            }
        }
        self.uses += 1;
        let mut session = Session {
            next_epoch: 1,
            by_id,
            order: BTreeMap::new(),
            places: HashMap::new(),
            next_place: 0,
            last_used: self.uses,
        };
        for wanted in wanted {
            session.put(wanted.clone());
        }
        let id = loop {
            let id = (Uuid::new_v4().as_u64_pair().0 & 0x7fff_ffff).try_into().unwrap_or(0);
            if id != 0 && !self.sessions.contains_key(&id) {
                break id;
            }
        };
        self.sessions.insert(id, session);
        id
    }
}

impl Session {
    fn put(&mut self, mut wanted: Wanted) {
        if let Some(known) = self.places.get(&wanted.key).and_then(|at| self.order.get_mut(at)) {
            wanted.told = known.told;
            *known = wanted;
            return;
        }
        let place = self.next_place;
        self.next_place += 1;
        self.places.insert(wanted.key.detached(), place);
        wanted.key = wanted.key.detached();
        self.order.insert(place, wanted);
    }

    fn forget(&mut self, request: &FetchRequest) {
        for topic in &request.forgotten_topics_data {
            for partition in &topic.partitions {
                let key = FetchKey {
                    name: topic.topic.clone(),
                    id: topic.topic_id,
                    partition: *partition,
                };
                if let Some(place) = self.places.remove(&key) {
                    self.order.remove(&place);
                }
            }
        }
    }

    /// Whether the client does not know this yet; from now on it does.
    fn tell(&mut self, key: &FetchKey, data: &PartitionData) -> bool {
        let Some(place) = self.places.get(key).copied() else { return true };
        let Some(mut wanted) = self.order.remove(&place) else { return true };
        let state = Some((data.high_watermark, data.log_start_offset));
        let failed = data.error_code != ErrorCode::None.code();
        let served = data.records.as_ref().is_some_and(|records| !records.is_empty());
        let changed = failed || served || wanted.told != state;
        // After an error the next answer is news whatever it says.
        wanted.told = if failed { None } else { state };
        let place = if served { self.next_place } else { place };
        if served {
            self.next_place += 1;
            self.places.insert(key.clone(), place);
        }
        self.order.insert(place, wanted);
        changed
    }
}

impl FetchKey {
    /// The same key without holding on to the frame it came in.
    fn detached(&self) -> FetchKey {
        FetchKey { name: self.name.detached(), ..self.clone() }
    }
}

fn named(request: &FetchRequest) -> Vec<Wanted> {
    let topics = request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|fetch| Wanted {
            key: FetchKey {
                name: topic.topic.clone(),
                id: topic.topic_id,
                partition: fetch.partition,
            },
            fetch: fetch.clone(),
            told: None,
        })
    });
    topics.collect()
}

#[cfg(test)]
mod tests {
    use thalweg_protocol::messages::fetch::{FetchTopic, ForgottenTopic};

    use super::*;

    fn request(session_id: i32, session_epoch: i32, partitions: &[(i32, i64)]) -> FetchRequest {
        let partitions = partitions.iter().map(|(partition, fetch_offset)| FetchPartition {
            partition: *partition,
            fetch_offset: *fetch_offset,
            ..FetchPartition::default()
        });
        let topic = FetchTopic {
            topic: "t".into(),
            partitions: partitions.collect(),
            ..FetchTopic::default()
        };
        FetchRequest { session_id, session_epoch, topics: vec![topic], ..FetchRequest::default() }
    }

    fn answers(plan: &Plan, high_watermark: i64) -> Vec<(FetchKey, PartitionData)> {
        let data = PartitionData { high_watermark, ..PartitionData::default() };
        plan.wanted.iter().map(|wanted| (wanted.key.clone(), data.clone())).collect()
    }

    #[test]
    fn an_incremental_fetch_names_only_changes_and_gets_only_changes() {
        let mut sessions = FetchSessions::new(10);
        let full = sessions.plan(&request(0, 0, &[(0, 5), (1, 6)]), false).expect("new session");
        assert_ne!(full.session_id, 0);
        let mut told = answers(&full, 10);
        sessions.told(&full, &mut told);
        assert_eq!(told.len(), 2, "the first answer is whole");

        let next = sessions.plan(&request(full.session_id, 1, &[(1, 9)]), false).expect("known");
        let offsets: Vec<_> = next.wanted.iter().map(|wanted| wanted.fetch.fetch_offset).collect();
        assert_eq!(offsets, [5, 9]);
        let mut told = answers(&next, 10);
        told[0].1.high_watermark = 11;
        sessions.told(&next, &mut told);
        assert_eq!(told.len(), 1, "only the partition whose watermark moved");
    }

    #[test]
    fn what_was_served_is_read_last_next_time() {
        let mut sessions = FetchSessions::new(10);
        let plan = sessions.plan(&request(0, 0, &[(0, 0), (1, 0)]), false).expect("new session");
        let mut told = answers(&plan, 10);
        told[0].1.records = Some(bytes::Bytes::from_static(b"records").into());
        sessions.told(&plan, &mut told);
        let next = sessions.plan(&request(plan.session_id, 1, &[]), false).expect("known");
        let order: Vec<_> = next.wanted.iter().map(|wanted| wanted.key.partition).collect();
        assert_eq!(order, [1, 0]);
    }

    #[test]
    fn wrong_ids_epochs_and_kinds_of_names_are_told_apart() {
        let mut sessions = FetchSessions::new(10);
        let plan = sessions.plan(&request(0, 0, &[(0, 0)]), false).expect("new session");
        let id = plan.session_id;
        let refused = |sessions: &mut FetchSessions, request: &FetchRequest, by_id| {
            sessions.plan(request, by_id).err()
        };
        assert_eq!(
            refused(&mut sessions, &request(id ^ 1, 1, &[]), false),
            Some(ErrorCode::FetchSessionIdNotFound)
        );
        assert_eq!(
            refused(&mut sessions, &request(id, 2, &[]), false),
            Some(ErrorCode::InvalidFetchSessionEpoch)
        );
        assert_eq!(
            refused(&mut sessions, &request(id, 1, &[]), true),
            Some(ErrorCode::FetchSessionTopicIdError)
        );
    }

    #[test]
    fn forgotten_partitions_and_ended_sessions_are_gone() {
        let mut sessions = FetchSessions::new(10);
        let plan = sessions.plan(&request(0, 0, &[(0, 0), (1, 0)]), false).expect("new session");
        let mut forget = request(plan.session_id, 1, &[]);
        forget.forgotten_topics_data = vec![ForgottenTopic {
            topic: "t".into(),
            partitions: vec![0],
            ..ForgottenTopic::default()
        }];
        let next = sessions.plan(&forget, false).expect("known");
        assert_eq!(next.wanted.len(), 1);
        sessions.plan(&request(plan.session_id, -1, &[]), false).expect("ends the session");
        assert!(sessions.plan(&request(plan.session_id, 2, &[]), false).is_err());
    }

    #[test]
    fn the_number_of_sessions_is_bounded() {
        let mut sessions = FetchSessions::new(3);
        for _ in 0..10 {
            sessions.plan(&request(0, 0, &[(0, 0)]), false).expect("new session");
        }
        assert_eq!(sessions.sessions.len(), 3);
    }
}
