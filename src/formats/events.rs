//! TensorBoard's event files: records framed as TFRecord frames them, each an `Event` of TensorFlow's `event.proto` with a
//! scalar. `tests/fixtures/events.py` has the real package write and read the same.

use prost::Message;

/// What a run calls its event files, one a folder; TensorBoard reads what has `tfevents` in it. Those of other writers have
/// other names that start so.
pub const FILE: &str = "events.out.tfevents.goldfish";

/// One point of a curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scalar<'a> {
    /// The curve's name; what stands before a slash is its group.
    pub tag: &'a str,
    /// The step that it stands at.
    pub step: u64,
    /// Seconds since 1970.
    pub time: f64,
    /// Its height.
    pub value: f32,
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// An event file of the points, in their order.
pub fn events<'a>(scalars: impl IntoIterator<Item = Scalar<'a>>) -> Vec<u8> {
    let mut scalars = scalars.into_iter().peekable();
    let mut file = Vec::new();
    let version = Event {
        wall_time: scalars.peek().map_or(0.0, |first| first.time),
        step: 0,
        what: Some(What::FileVersion("brain.Event:2".into())),
    };
    record(&mut file, &version);
    for scalar in scalars {
        let value = Value {
            tag: scalar.tag.into(),
            simple_value: Some(scalar.value),
        };
        let event = Event {
            wall_time: scalar.time,
            step: i64::try_from(scalar.step).unwrap_or(i64::MAX),
            what: Some(What::Summary(Summary { value: vec![value] })),
        };
        record(&mut file, &event);
    }
    file
}

/// Appends a record: its length, the length's checksum, its bytes, their checksum.
fn record(file: &mut Vec<u8>, event: &Event) {
    let data = event.encode_to_vec();
    let length = (data.len() as u64).to_le_bytes();
    file.extend(length);
    file.extend(masked(&length).to_le_bytes());
    file.extend(&data);
    file.extend(masked(&data).to_le_bytes());
}

/// A checksum that may itself lie in what is summed: turned, and shifted by a number.
fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli): the files are short, so bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let bit = |crc: u32| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| bit(crc));
    !bytes.iter().fold(!0, byte)
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, B.4, and the usual check word.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
