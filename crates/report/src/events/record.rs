//! TFRecord: length, its checksum, the bytes, their checksum; all little-endian.
//! <https://www.tensorflow.org/tutorials/load_data/tfrecord>

use crc::{CRC_32_ISCSI, Crc};

const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// A checksum that is part of what is checked again is changed, or it would check badly.
const MASK: u32 = 0xa282_ead8;

pub(super) fn frame(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    [&length[..], &checksum(&length), bytes, &checksum(bytes)].concat()
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    CRC32C.checksum(bytes).rotate_right(15).wrapping_add(MASK).to_le_bytes()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The records of a file, whose checksums must hold. They are computed bit by bit, by no table.
    pub(in crate::events) fn read(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let (length, rest) = bytes.split_at(8);
            let (length_check, rest) = rest.split_at(4);
            assert_eq!(length_check, masked(length));
            let (body, rest) = rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
            let (body_check, rest) = rest.split_at(4);
            assert_eq!(body_check, masked(body));
            found.push(body.to_vec());
            bytes = rest;
        }
        found
    }

    fn masked(bytes: &[u8]) -> [u8; 4] {
        let crc = bitwise(bytes);
        crc.rotate_left(17).wrapping_add(0xa282_ead8).to_le_bytes()
    }

    fn bitwise(bytes: &[u8]) -> u32 {
        let mut crc = !0u32;
        for byte in bytes {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
            }
        }
        !crc
    }

    #[test]
    fn checksums_are_those_of_rfc_3720() {
        let ascending: Vec<u8> = (0..32).collect();
        let expected: [(&[u8], u32); 4] = [
            (b"123456789", 0xe306_9283),
            (&[0; 32], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&ascending, 0x46dd_794e),
        ];
        for (bytes, crc) in expected {
            assert_eq!((CRC32C.checksum(bytes), bitwise(bytes)), (crc, crc));
        }
    }

    #[test]
    fn records_are_framed() {
        let records = [b"first".to_vec(), Vec::new(), vec![7; 300]];
        let bytes: Vec<u8> = records.iter().flat_map(|record| frame(record)).collect();
        assert_eq!(read(&bytes), records);
    }
}
