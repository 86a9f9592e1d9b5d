//! A record on its way into the log.

use std::time::{SystemTime, UNIX_EPOCH};

use thalweg_protocol::batch::Header;

/// A record to be sent. It borrows all its parts: sending copies them once, into the batch.
///
/// ```
/// # use thalweg_client::Record;
/// let record = Record::to("orders").key("customer-17").value(b"...").header("trace", "4bf92f35");
/// ```
#[derive(Debug, Clone)]
#[must_use = "a record goes nowhere until it is sent"]
pub struct Record<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: Option<i32>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Vec<Header<'a>>,
}

impl<'a> Record<'a> {
    /// An empty record for `topic`: no key, no value, no headers, stamped when it is sent.
    pub fn to(topic: &'a str) -> Self {
        Record {
            topic,
            partition: None,
            timestamp: None,
            key: None,
            value: None,
            headers: Vec::new(),
        }
    }

    /// Its key, which also decides its partition unless that is given. An empty key is a key.
    pub fn key(mut self, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.key = Some(key.as_ref());
        self
    }

    /// Its value. Without one it is a tombstone: in a compacted topic it deletes its key.
    pub fn value(mut self, value: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.value = Some(value.as_ref());
        self
    }

    /// One more header. Headers keep their order, and a name may occur twice.
    pub fn header(mut self, name: &'a str, value: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        let header = Header { key: name.as_bytes(), value: Some(value.as_ref()) };
        self.headers.push(header);
        self
    }

    /// One more header, whose value is null.
    pub fn null_header(mut self, name: &'a str) -> Self {
        self.headers.push(Header { key: name.as_bytes(), value: None });
        self
    }

    /// When it happened, in milliseconds since 1970.
    pub fn timestamp(mut self, ms: i64) -> Self {
        self.timestamp = Some(ms);
        self
    }

    /// The partition it goes to, whatever its key.
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    pub(crate) fn timestamp_or_now(&self) -> i64 {
        self.timestamp.unwrap_or_else(now_ms)
    }

    /// An upper bound on what the record takes in a batch.
    pub(crate) fn size_max(&self) -> usize {
        let headers = self.headers.iter().map(|header| {
            header.key.len() + header.value.map_or(0, <[u8]>::len) + 2 * VARINT_LEN_MAX
        });
        RECORD_OVERHEAD_MAX
            + self.key.map_or(0, <[u8]>::len)
            + self.value.map_or(0, <[u8]>::len)
            + headers.sum::<usize>()
    }
}

/// The time as records carry it: milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "a record's own time is the machine's")]
pub(crate) fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

const VARINT_LEN_MAX: usize = 5;

/// Five lengths and counts, one byte of attributes, a timestamp of up to ten bytes.
const RECORD_OVERHEAD_MAX: usize = 5 * VARINT_LEN_MAX + 1 + 10;

#[cfg(test)]
mod tests {
    use thalweg_protocol::batch::BatchBuilder;

    use super::*;

    #[test]
    fn the_bound_on_the_size_holds() {
        let value = vec![0; 100_000];
        let records = [
            Record::to("t"),
            Record::to("t").key("k").value(&value).header("h", "").null_header("n"),
        ];
        for record in records {
            let builder = BatchBuilder::with_capacity(0);
            let size = builder.record_size(i64::MAX, record.key, record.value, &record.headers);
            assert!(size <= record.size_max());
        }
    }
}
