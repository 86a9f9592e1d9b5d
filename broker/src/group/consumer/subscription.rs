//! What members subscribe to, by name and by pattern, and whether the topics there are have changed
//! for the group.

use std::collections::BTreeSet;

use thalweg_protocol::KafkaStr;
use uuid::Uuid;

use super::Refusal;
use super::draft::Draft;
use super::member::MemberInfo;
use super::regex::{compile, resolve};
use crate::group::turn::Turn;

/// How long patterns are not tried again after topics have changed: trying is work for every
/// pattern and every topic.
const REFRESH_MS_MIN: u64 = 10_000;

impl Draft<'_> {
    /// The names of all topics that a member subscribes to, be they there or not.
    pub(super) fn topic_names<'s>(
        &'s self,
        info: &'s MemberInfo,
    ) -> impl Iterator<Item = &'s KafkaStr> {
        let resolved = info.topic_regex.as_ref().and_then(|pattern| self.regex(pattern));
        info.topic_names.iter().chain(resolved.into_iter().flat_map(|resolved| &resolved.topics))
    }

    /// The topics there are that a member subscribes to.
    pub(super) fn topic_ids(&self, info: &MemberInfo) -> BTreeSet<Uuid> {
        let topics = self.topic_names(info).filter_map(|name| self.image.topic(name));
        topics.map(|topic| topic.id).collect()
    }

    /// A hash of all topics that anybody subscribes to, which another partition count changes, and
    /// another topic of the same name.
    pub(super) fn metadata_hash(&self) -> i64 {
        let members = self.members();
        let names: BTreeSet<&KafkaStr> =
            members.iter().flat_map(|(_, member)| self.topic_names(&member.info)).collect();
        let mut hash = Fnv::new();
        for topic in names.into_iter().filter_map(|name| self.image.topic(name)) {
            hash.add(topic.id.as_bytes());
            hash.add(&topic.partition_count().to_be_bytes());
        }
        hash.0.cast_signed()
    }

    /// Resolves the patterns that are new, and all if the topics have changed since; drops those
    /// that nobody uses. Returns whether any stands for other topics now.
    pub(super) fn update_regexes(&mut self, turn: &Turn<'_>) -> Result<bool, Refusal> {
        let used = self.patterns();
        let stale = self.may_refresh(turn);
        let mut changed = false;
        for pattern in &used {
            let before = self.regex(pattern);
            if before.is_some() && !stale {
                continue;
            }
            let resolved = resolve(&compile(pattern)?, self.image, turn.wall_ms);
            if before.is_none_or(|before| before.topics != resolved.topics) {
                self.put_regex(pattern, Some(resolved));
                changed = true;
            }
        }
        self.drop_unused_regexes();
        Ok(changed)
    }

    /// The patterns that members use.
    fn patterns(&self) -> BTreeSet<KafkaStr> {
        let members = self.members();
        members.iter().filter_map(|(_, member)| member.info.topic_regex.clone()).collect()
    }

    /// Forgets the patterns that nobody uses.
    pub(super) fn drop_unused_regexes(&mut self) {
        if self.group.regexes.is_empty() {
            return;
        }
        let used = self.patterns();
        let group = self.group;
        for pattern in group.regexes.keys().filter(|pattern| !used.contains(*pattern)) {
            self.put_regex(pattern, None);
        }
    }

    /// Whether the patterns are to be tried again on the topics there are now.
    pub(super) fn may_refresh(&self, turn: &Turn<'_>) -> bool {
        let resolved_ms = self.group.regexes_resolved_ms;
        self.group.image_resolved != Some(self.image.applied)
            && resolved_ms.is_none_or(|at| turn.now_ms >= at.saturating_add(REFRESH_MS_MIN))
    }
}

/// FNV-1a: it stays in the log, so it must be the same in every build.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
