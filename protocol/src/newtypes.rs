//! The numbers that matter, each with a type of its own, so that an offset is never passed for an
//! epoch. Messages carry the raw integers; these begin where a handler has understood them.

use std::fmt;

use uuid::Uuid;

macro_rules! newtypes {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            /// The raw value, for messages and files.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        }

        impl From<$inner> for $name {
            fn from(raw: $inner) -> Self {
                $name(raw)
            }
        }
    )+};
}

newtypes! {
    /// The place of a record in its partition, as clients count: from 0, without holes of our
    /// making.
    Offset(i64);
    /// The reign of one partition leader. It only grows, and it is the Raft term.
    LeaderEpoch(i32);
    /// The identity of an idempotent or transactional producer.
    ProducerId(i64);
    /// The identity of a topic, which its name is not: a topic made anew has another.
    TopicId(Uuid);
    /// The identity of a broker.
    NodeId(i32);
}
