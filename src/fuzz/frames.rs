//! Writes messages of AWS's event stream (see `decode::eventstream`): bytes of a fuzzer alone never have right checksums.

/// A message for each line (its type, its kind, its payload, with a space between), and how many.
pub(super) fn frames(lines: &[u8]) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let count = lines.clone().count();
    for line in lines {
        let mut words =
            line.splitn(3, |byte| *byte == b' ').map(|word| word.get(..word.len().min(60_000)).unwrap_or(word));
        let mut word = || words.next().unwrap_or_default();
        let (message_type, kind, payload) = (word(), word(), word());
        let kind_name: &[u8] = match message_type {
            b"exception" => b":exception-type",
            b"error" => b":error-code",
            _ => b":event-type",
        };
        let error: &[u8] = if message_type == b"error" { payload } else { b"" };
        let headers = [(&b":message-type"[..], message_type), (kind_name, kind), (b":error-message", error)];
        push_message(&mut out, &headers, payload);
    }
    (out, count)
}

/// Appends one message; headers that are empty are left out.
fn push_message(out: &mut Vec<u8>, headers: &[(&[u8], &[u8])], payload: &[u8]) {
    let mut written = Vec::new();
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        written.push(u8::try_from(name.len()).unwrap_or_default());
        written.extend_from_slice(name);
        // 7 = a string.
        written.push(7);
        written.extend(u16::try_from(value.len()).unwrap_or_default().to_be_bytes());
        written.extend_from_slice(value);
    }
    let big_endian = |number: usize| u32::try_from(number).unwrap_or_default().to_be_bytes();
    let start = out.len();
    out.extend(big_endian(16 + written.len() + payload.len()));
    out.extend(big_endian(written.len()));
    push_checksum(out, start);
    out.extend(written);
    out.extend_from_slice(payload);
    push_checksum(out, start);
}

/// Appends the checksum of what begins at `start`.
fn push_checksum(out: &mut Vec<u8>, start: usize) {
    let checksum = checksum(out.get(start..).unwrap_or_default());
    out.extend(checksum.to_be_bytes());
}

/// CRC-32, bit by bit: not the code that is tested.
fn checksum(bytes: &[u8]) -> u32 {
    let shifted = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| shifted(crc)))
}
