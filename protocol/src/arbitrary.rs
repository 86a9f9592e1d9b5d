//! Makes up values of every message at every version, for tests. A field that is added to a table
//! is made up from then on: no test can forget one.
//!
//! Behind the feature `arbitrary`, which only tests and fuzz targets enable.

use bytes::Bytes;
use uuid::Uuid;

use crate::message::{Message, layout};
use crate::primitives::{KafkaStr, Layout, Records, TaggedField, TaggedFields};

/// A stream of choices that its seed decides.
#[derive(Debug, Clone)]
pub struct Source {
    state: u64,
    /// Of 8 fields, how many stay at their default.
    defaults_of_8: u64,
}

/// Tags from here on are unknown to every message, and to everyone else.
const UNKNOWN_TAGS_START: u32 = 1000;

impl Source {
    /// A source in which few fields stay at their default.
    pub fn new(seed: u64) -> Self {
        Source { state: seed, defaults_of_8: 1 }
    }

    /// A source in which most fields stay at their default.
    pub fn sparse(seed: u64) -> Self {
        Source { state: seed, defaults_of_8: 7 }
    }

    /// The next choice (SplitMix64).
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next_u64() % bound).unwrap_or_default()
    }

    /// True once in `odds` times.
    pub fn one_in(&mut self, odds: usize) -> bool {
        self.below(odds) == 0
    }

    pub(crate) fn leaves_default(&mut self) -> bool {
        self.next_u64() % 8 < self.defaults_of_8
    }

    /// Mostly short, sometimes long enough to be referred to instead of copied.
    fn bytes(&mut self) -> Bytes {
        let len = if self.one_in(8) { 256 + self.below(100) } else { self.below(24) };
        (0..len).map(|_| self.next_u64().to_le_bytes()[0]).collect()
    }
}

/// Makes up a message that has all its fields of `version`.
pub fn arbitrary<M: Message + Arbitrary>(source: &mut Source, version: i16) -> Option<M> {
    Some(M::arbitrary(source, layout::<M>(version)?))
}

/// A type whose values can be made up.
pub trait Arbitrary: Sized {
    /// A value that can be written at `layout`. It may be null; whether the field can be is not
    /// known.
    fn arbitrary(source: &mut Source, layout: Layout) -> Self;
}

macro_rules! numbers {
    ($($number:ty),+) => {$(
        impl Arbitrary for $number {
            fn arbitrary(source: &mut Source, _: Layout) -> Self {
                let bytes = source.next_u64().to_le_bytes();
                <$number>::from_le_bytes(*bytes.first_chunk().unwrap_or(&[0; size_of::<$number>()]))
            }
        }
    )+};
}

numbers!(i8, i16, i32, i64, u16);

impl Arbitrary for bool {
    fn arbitrary(source: &mut Source, _: Layout) -> Self {
        source.one_in(2)
    }
}

impl Arbitrary for f64 {
    fn arbitrary(source: &mut Source, layout: Layout) -> Self {
        // Never NaN, which is unlike itself.
        f64::from(i32::arbitrary(source, layout)) / 8.0
    }
}

impl Arbitrary for Uuid {
    fn arbitrary(source: &mut Source, _: Layout) -> Self {
        Uuid::from_u64_pair(source.next_u64(), source.next_u64())
    }
}

impl Arbitrary for KafkaStr {
    fn arbitrary(source: &mut Source, _: Layout) -> Self {
        const LETTERS: [char; 6] = ['a', 'z', '0', '-', 'ß', '河'];
        let len = if source.one_in(16) { source.below(400) } else { source.below(12) };
        let text: String =
            (0..len).filter_map(|_| LETTERS.get(source.below(LETTERS.len()))).collect();
        KafkaStr::from(text)
    }
}

impl Arbitrary for Bytes {
    fn arbitrary(source: &mut Source, _: Layout) -> Self {
        source.bytes()
    }
}

impl Arbitrary for Records {
    fn arbitrary(source: &mut Source, _: Layout) -> Self {
        (0..source.below(4)).map(|_| source.bytes()).collect::<Vec<_>>().into()
    }
}

impl<T: Arbitrary> Arbitrary for Vec<T> {
    fn arbitrary(source: &mut Source, layout: Layout) -> Self {
        (0..source.below(4)).map(|_| T::arbitrary(source, layout)).collect()
    }
}

impl<T: Arbitrary> Arbitrary for Option<T> {
    fn arbitrary(source: &mut Source, layout: Layout) -> Self {
        (!source.one_in(4)).then(|| T::arbitrary(source, layout))
    }
}

impl Arbitrary for TaggedFields {
    fn arbitrary(source: &mut Source, layout: Layout) -> Self {
        if !layout.flexible || !source.one_in(6) {
            return TaggedFields::default();
        }
        let tags = UNKNOWN_TAGS_START..;
        let fields = tags.step_by(7).take(1 + source.below(3));
        TaggedFields::new(fields.map(|tag| TaggedField { tag, value: source.bytes() }).collect())
    }
}
