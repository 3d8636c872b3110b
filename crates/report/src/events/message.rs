//! The few messages of TensorFlow's event.proto and summary.proto that are written, in protobuf's wire format.

/// Wire types.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;

/// SessionLog.START: steps from this event's on are made again.
const START: u64 = 1;

/// tensorflow.Event.
pub(super) struct Event(Vec<u8>);

impl Event {
    /// The first of each file.
    pub(super) fn version(time: f64) -> Self {
        Self(at(time, 0).bytes(3, b"brain.Event:2").0)
    }

    /// `step` and those after it come anew.
    pub(super) fn start(time: f64, step: u64) -> Self {
        let session = Message::default().varint(1, START);
        Self(at(time, step).bytes(7, &session.0).0)
    }

    /// Figures by name.
    pub(super) fn scalars(time: f64, step: u64, figures: &[(String, f64)]) -> Self {
        let summary = figures.iter().fold(Message::default(), |summary, (tag, value)| {
            let value = Message::default().bytes(1, tag.as_bytes()).float(2, *value as f32);
            summary.bytes(1, &value.0)
        });
        Self(at(time, step).bytes(5, &summary.0).0)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

fn at(time: f64, step: u64) -> Message {
    Message::default().double(1, time).varint(2, step)
}

/// A message's fields, by number.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn tag(&mut self, field: u8, wire: u8) {
        self.0.push(field << 3 | wire);
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn varint(mut self, field: u8, value: u64) -> Self {
        self.tag(field, VARINT);
        self.raw_varint(value);
        self
    }

    fn double(mut self, field: u8, value: f64) -> Self {
        self.tag(field, FIXED64);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn float(mut self, field: u8, value: f32) -> Self {
        self.tag(field, FIXED32);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u8, bytes: &[u8]) -> Self {
        self.tag(field, BYTES);
        self.raw_varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A field's value.
    #[derive(Clone, Debug, PartialEq)]
    enum Field {
        Number(u64),
        Bytes(Vec<u8>),
    }

    fn varint(bytes: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let (byte, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    }

    fn fields(mut bytes: &[u8]) -> Vec<(u64, Field)> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes);
            let fixed = |bytes: &mut &[u8], count: usize| {
                let (value, rest) = bytes.split_at(count);
                *bytes = rest;
                value.to_vec()
            };
            let value = match tag as u8 & 7 {
                VARINT => Field::Number(varint(&mut bytes)),
                FIXED64 => Field::Bytes(fixed(&mut bytes, 8)),
                FIXED32 => Field::Bytes(fixed(&mut bytes, 4)),
                BYTES => {
                    let length = varint(&mut bytes) as usize;
                    Field::Bytes(fixed(&mut bytes, length))
                }
                other => panic!("wire type {other}"),
            };
            found.push((tag >> 3, value));
        }
        found
    }

    fn all(fields: &[(u64, Field)], number: u64) -> Vec<Vec<u8>> {
        let bytes = |field: &Field| match field {
            Field::Bytes(bytes) => bytes.clone(),
            Field::Number(number) => panic!("a number: {number}"),
        };
        fields.iter().filter(|(field, _)| *field == number).map(|(_, field)| bytes(field)).collect()
    }

    fn step(fields: &[(u64, Field)]) -> u64 {
        match fields.iter().find(|(field, _)| *field == 2) {
            Some((_, Field::Number(step))) => *step,
            other => panic!("{other:?}"),
        }
    }

    pub(in crate::events) fn version(event: &[u8]) -> Option<String> {
        Some(String::from_utf8(all(&fields(event), 3).pop()?).unwrap())
    }

    /// The step of a START.
    pub(in crate::events) fn start(event: &[u8]) -> Option<u64> {
        let event = fields(event);
        let session = all(&event, 7).pop()?;
        (fields(&session) == [(1, Field::Number(START))]).then(|| step(&event))
    }

    /// Time, step and figures.
    pub(in crate::events) fn scalars(event: &[u8]) -> (f64, u64, Vec<(String, f32)>) {
        let event = fields(event);
        let time = f64::from_le_bytes(all(&event, 1)[0].as_slice().try_into().unwrap());
        let figures = all(&fields(&all(&event, 5)[0]), 1).into_iter().map(|value| {
            let value = fields(&value);
            let figure = f32::from_le_bytes(all(&value, 2)[0].as_slice().try_into().unwrap());
            (String::from_utf8(all(&value, 1)[0].clone()).unwrap(), figure)
        });
        (time, step(&event), figures.collect())
    }

    #[test]
    fn bytes_are_as_protobuf_writes_them() {
        // From tensorboard's event_pb2: Event(wall_time=1.5, step=300, summary=Summary(value=[Summary.Value(tag="a",
        // simple_value=2.5)])).SerializeToString().
        let expected =
            b"\x09\x00\x00\x00\x00\x00\x00\xf8\x3f\x10\xac\x02\x2a\x0a\x0a\x08\x0a\x01a\x15\x00\x00\x20\x40";
        assert_eq!(Event::scalars(1.5, 300, &[("a".to_owned(), 2.5)]).bytes(), expected);
    }
}
