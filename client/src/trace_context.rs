//! A trace's way through the log: the W3C trace context, written into the headers of a record and
//! read from them (<https://www.w3.org/TR/trace-context/>).
//!
//! It is bytes, not telemetry: whatever library an application traces with, its trace and span ids
//! go in and come out. Headers that are not as the specification says are as good as absent.

use thalweg_protocol::batch::Record as BatchRecord;

use crate::record::Record;

/// The header that says which trace and span a record comes from.
pub const TRACEPARENT: &str = "traceparent";
/// The header in which tracing systems keep their own notes.
pub const TRACESTATE: &str = "tracestate";

/// A place in a trace: the span that comes before whatever is done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// Which trace; not all zero.
    pub trace_id: [u8; 16],
    /// Which span of it; not all zero.
    pub span_id: [u8; 8],
    /// Whether the trace is being recorded.
    pub is_sampled: bool,
    /// What tracing systems have noted, as it stands; may be empty.
    pub state: String,
}

/// A trace context as headers, for a record to borrow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceHeaders {
    traceparent: String,
    tracestate: String,
}

/// The notes beyond this length are left behind: nobody need pass on more.
const STATE_LEN_MAX: usize = 512;

/// `00-` and 32, 16 and 2 hexadecimal digits, with dashes between.
const TRACEPARENT_LEN: usize = 55;

const SAMPLED: u8 = 1;

impl TraceContext {
    /// Reads the two headers; none if the first is not one.
    pub fn parse(traceparent: &[u8], tracestate: Option<&[u8]>) -> Option<Self> {
        let (text, beyond) = traceparent.split_at_checked(TRACEPARENT_LEN)?;
        let mut fields = text.split(|byte| *byte == b'-');
        let [version]: [u8; 1] = hex(fields.next()?)?;
        let (trace_id, span_id) = (hex(fields.next()?)?, hex(fields.next()?)?);
        let [flags]: [u8; 1] = hex(fields.next()?)?;
        // Later versions may say more, after one more dash; version ff is none.
        let is_well_formed = match version {
            0 => beyond.is_empty(),
            0xff => false,
            _ => beyond.is_empty() || beyond.starts_with(b"-"),
        };
        let is_somewhere = trace_id != [0; 16] && span_id != [0; 8];
        (is_well_formed && is_somewhere && fields.next().is_none()).then(|| TraceContext {
            trace_id,
            span_id,
            is_sampled: flags & SAMPLED != 0,
            state: tracestate.and_then(readable).unwrap_or_default(),
        })
    }

    /// The context in the headers of a record that was read; of headers of one name the last
    /// counts.
    pub fn of(record: &BatchRecord) -> Option<Self> {
        let (mut traceparent, mut tracestate) = (None, None);
        for header in record.headers().iter() {
            if header.key == TRACEPARENT.as_bytes() {
                traceparent = header.value;
            } else if header.key == TRACESTATE.as_bytes() {
                tracestate = header.value;
            }
        }
        TraceContext::parse(traceparent?, tracestate)
    }

    /// The same trace, in another span.
    pub fn in_span(&self, span_id: [u8; 8]) -> Self {
        TraceContext { span_id, ..self.clone() }
    }

    /// The headers that say so.
    pub fn to_headers(&self) -> TraceHeaders {
        let mut traceparent = String::with_capacity(TRACEPARENT_LEN);
        traceparent.push_str("00-");
        self.trace_id.iter().for_each(|byte| push_hex(&mut traceparent, *byte));
        traceparent.push('-');
        self.span_id.iter().for_each(|byte| push_hex(&mut traceparent, *byte));
        traceparent.push('-');
        push_hex(&mut traceparent, u8::from(self.is_sampled));
        TraceHeaders { traceparent, tracestate: self.state.clone() }
    }
}

impl<'a> Record<'a> {
    /// Says which trace the record belongs to.
    ///
    /// ```
    /// # use thalweg_client::{Record, TraceContext};
    /// let parent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    /// let context = TraceContext::parse(parent, None).expect("well-formed");
    /// let headers = context.in_span([1; 8]).to_headers();
    /// let record = Record::to("orders").value("...").traced(&headers);
    /// ```
    pub fn traced(self, headers: &'a TraceHeaders) -> Self {
        let record = self.header(TRACEPARENT, &headers.traceparent);
        match headers.tracestate.as_str() {
            "" => record,
            state => record.header(TRACESTATE, state),
        }
    }
}

/// So many bytes in lower-case hexadecimal digits.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, odd) = digits.as_chunks::<2>();
    if pairs.len() != N || !odd.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(bytes)
}

fn push_hex(text: &mut String, byte: u8) {
    for nibble in [byte >> 4, byte & 0xf] {
        text.extend(char::from_digit(u32::from(nibble), 16));
    }
}

fn readable(state: &[u8]) -> Option<String> {
    let is_plain = state.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    let text = (is_plain && state.len() <= STATE_LEN_MAX).then_some(state)?;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use thalweg_protocol::batch::{BatchBuilder, BatchOptions, BatchView};

    use super::*;

    const PARENT: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn sample() -> TraceContext {
        TraceContext::parse(PARENT, Some(b"vendor=note")).unwrap()
    }

    #[test]
    fn a_context_goes_through_a_record_and_back() {
        let headers = sample().to_headers();
        assert_eq!(headers.traceparent.as_bytes(), PARENT);
        let record = Record::to("t").traced(&headers);
        let mut builder = BatchBuilder::with_capacity(0);
        builder.append(0, None, None, &record.headers).unwrap();
        let batch = builder.finish(&BatchOptions::default()).unwrap();
        let read = BatchView::parse(batch).unwrap().records(1 << 20).unwrap().next().unwrap();
        assert_eq!(TraceContext::of(&read.unwrap()), Some(sample()));
    }

    #[test]
    fn what_the_specification_forbids_is_no_context() {
        let text = std::str::from_utf8(PARENT).unwrap();
        let bad = [
            text.to_uppercase(),
            text.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            text.replace("00f067aa0ba902b7", &"0".repeat(16)),
            text.replacen("00-", "ff-", 1),
            format!("{text}-more"),
            text.replacen("4bf9", "4b-9", 1),
            text.replacen("4bf9", "4bg9", 1),
            text[1..].to_owned(),
        ];
        for bad in bad {
            assert_eq!(TraceContext::parse(bad.as_bytes(), None), None, "{bad}");
        }
        for len in 0..PARENT.len() {
            assert_eq!(TraceContext::parse(&PARENT[..len], None), None);
        }
        let later = format!("{}-more", text.replacen("00-", "01-", 1));
        assert!(TraceContext::parse(later.as_bytes(), None).is_some(), "a version to come");
    }

    #[test]
    fn notes_that_are_too_long_or_no_text_are_left_behind() {
        let long = vec![b'a'; STATE_LEN_MAX + 1];
        for state in [&long[..], b"\xff", b"a\nb"] {
            assert_eq!(TraceContext::parse(PARENT, Some(state)).unwrap().state, "");
        }
    }
}
