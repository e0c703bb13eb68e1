//! The directory of a zip archive, read so that no second reader can see another archive in the same bytes: it is
//! found at the very end and nowhere else, each entry's two headers agree, and every byte of the file belongs to
//! exactly one entry. Layout: APPNOTE.TXT 6.3.10; torch writes zip64 records, data descriptors and padded extra fields.

use crate::checkpoint::error::Fault;
use crate::checkpoint::file::Source;
use std::collections::HashSet;

/// Longest directory accepted: some 200,000 entries.
const MAX_DIRECTORY: u64 = 1 << 24;
/// Deflate cannot expand further than this.
const MAX_RATIO: u64 = 1032;
/// What all compressed entries together may expand to, whatever the file's size, and times the file's size. Weights
/// hardly compress; the pickle compresses some tenfold.
const MAX_INFLATED: (u64, u64) = (1 << 26, 16);

const END: u32 = 0x0605_4b50;
const END64: u32 = 0x0606_4b50;
const END64_LOCATOR: u32 = 0x0706_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;
const DESCRIPTOR: u32 = 0x0807_4b50;

const END_LEN: u64 = 22;
const END64_LEN: u64 = 56;
const LOCATOR_LEN: u64 = 20;
const CENTRAL_LEN: usize = 46;
const LOCAL_LEN: u64 = 30;
const MAX_DESCRIPTOR: u64 = 24;

/// The extra field of 64-bit sizes.
const ZIP64: u16 = 1;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

const FLAG_ENCRYPTED: u16 = 1;
const FLAG_DESCRIPTOR: u16 = 1 << 3;
/// Patches, strong encryption, masked headers.
const FLAGS_UNREADABLE: u16 = 1 << 5 | 1 << 6 | 1 << 13;

/// One entry, its two headers compared.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) deflated: bool,
    pub(super) crc: u32,
    /// Bytes in the archive.
    pub(super) stored: u64,
    /// Bytes once decompressed.
    pub(super) len: u64,
    /// Where its data begins.
    pub(super) data: u64,
    header: u64,
    flags: u16,
}

/// Little-endian fields of a record that was read whole.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u16(&self, at: usize) -> u16 {
        self.0.get(at..at + 2).map_or(0, |bytes| u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from(self.u16(at)) | u32::from(self.u16(at + 2)) << 16
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from(self.u32(at)) | u64::from(self.u32(at + 4)) << 32
    }
}

fn bad(offset: u64, what: impl Into<String>) -> Fault {
    Fault::Zip { offset, what: what.into() }
}

/// All entries of the archive `source`, in the order of its directory.
///
/// # Errors
///
/// If the archive is damaged, ambiguous, encrypted, or expands too far.
pub(super) fn entries(source: &Source) -> Result<Vec<Entry>, Fault> {
    let Directory { start, end, count } = directory(source)?;
    if end - start > MAX_DIRECTORY {
        return Err(bad(start, format!("a directory of {} bytes; {MAX_DIRECTORY} are the limit", end - start)));
    }
    let mut bytes = vec![0; (end - start) as usize];
    source.read_at(&mut bytes, start)?;
    let mut entries = Vec::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let offset = end - rest.len() as u64;
        let (entry, length) = central(rest, offset)?;
        entries.push(entry);
        rest = &rest[length..];
    }
    if entries.len() as u64 != count {
        return Err(bad(start, format!("{} entries in the directory, {count} declared", entries.len())));
    }
    let mut names = HashSet::new();
    if let Some(twice) = entries.iter().find(|entry| !names.insert(entry.name.as_str())) {
        return Err(Fault::DuplicateEntry { entry: twice.name.clone() });
    }
    refuse_bombs(&entries, source.len())?;
    for entry in &mut entries {
        local(source, entry, start)?;
    }
    account_for_every_byte(source, &entries, start)?;
    Ok(entries)
}

/// Where the directory is, and how many entries it declares.
struct Directory {
    start: u64,
    end: u64,
    count: u64,
}

fn directory(source: &Source) -> Result<Directory, Fault> {
    let len = source.len();
    let end_at = len.checked_sub(END_LEN).ok_or_else(|| bad(0, "too short for its end record"))?;
    let bytes: [u8; END_LEN as usize] = source.array_at(end_at)?;
    let fields = Fields(&bytes);
    // No comment: what follows the record could be taken for another one.
    if fields.u32(0) != END || fields.u16(20) != 0 {
        return Err(no_end(source)?);
    }
    let (mut count, mut size, mut start) = (fields.u16(10).into(), fields.u32(12).into(), fields.u32(16).into());
    let (disk, directory_disk, count_here) = (fields.u16(4), fields.u16(6), fields.u16(8));
    if disk != 0 || directory_disk != 0 || count_here != fields.u16(10) {
        return Err(bad(end_at, "an archive in several parts"));
    }
    let mut end = end_at;
    if let Some(at) = end64(source, end_at)? {
        let bytes: [u8; END64_LEN as usize] = source.array_at(at)?;
        let fields = Fields(&bytes);
        let wide = (fields.u64(32), fields.u64(40), fields.u64(48));
        if fields.u32(0) != END64 || fields.u64(4) != END64_LEN - 12 || at + END64_LEN + LOCATOR_LEN != end_at {
            return Err(bad(at, "no zip64 end record where its locator points"));
        }
        if fields.u32(16) != 0 || fields.u32(20) != 0 || fields.u64(24) != wide.0 {
            return Err(bad(at, "an archive in several parts"));
        }
        let agree = |narrow: u64, all_ones: u64, wide: u64| narrow == all_ones || narrow == wide;
        if !agree(count, 0xffff, wide.0) || !agree(size, 0xffff_ffff, wide.1) || !agree(start, 0xffff_ffff, wide.2) {
            return Err(bad(at, "the zip64 end record and the end record disagree"));
        }
        (count, size, start) = wide;
        end = at;
    }
    if start.checked_add(size) != Some(end) {
        return Err(bad(
            end_at,
            format!("a directory of {size} bytes at {start} does not end where the end record begins"),
        ));
    }
    Ok(Directory { start, end, count })
}

/// Where the zip64 end record is, if the archive has one.
fn end64(source: &Source, end_at: u64) -> Result<Option<u64>, Fault> {
    let Some(locator_at) = end_at.checked_sub(LOCATOR_LEN) else { return Ok(None) };
    let bytes: [u8; LOCATOR_LEN as usize] = source.array_at(locator_at)?;
    let fields = Fields(&bytes);
    if fields.u32(0) != END64_LOCATOR {
        return Ok(None);
    }
    let at = fields.u64(8);
    if fields.u32(4) != 0 || fields.u32(16) != 1 || at.checked_add(END64_LEN) != Some(locator_at) {
        return Err(bad(locator_at, "a zip64 locator that does not point at the record before it"));
    }
    Ok(Some(at))
}

/// Why there is no end record at the end: the file goes on after it, or ends before it.
fn no_end(source: &Source) -> Result<Fault, Fault> {
    // A comment of up to 65,535 bytes may follow the record.
    let from = source.len().saturating_sub(END_LEN + 0xffff);
    let mut tail = vec![0; (source.len() - from) as usize];
    source.read_at(&mut tail, from)?;
    let signature = END.to_le_bytes();
    Ok(match tail.windows(4).rposition(|window| window == signature) {
        Some(at) if tail.len() - at > END_LEN as usize => {
            let offset = from + at as u64 + END_LEN;
            Fault::TrailingBytes { after: "the zip archive".to_owned(), offset, count: source.len() - offset }
        }
        _ => bad(source.len(), "no end record, so the file is cut short"),
    })
}

/// The entry at the start of `bytes`, which are at `offset` in the file, and the length of its record.
fn central(bytes: &[u8], offset: u64) -> Result<(Entry, usize), Fault> {
    let fields = Fields(bytes);
    if bytes.len() < CENTRAL_LEN || fields.u32(0) != CENTRAL {
        return Err(bad(offset, "no directory entry where one should be"));
    }
    let lengths = [28, 30, 32].map(|at| usize::from(fields.u16(at)));
    let length = CENTRAL_LEN + lengths.iter().sum::<usize>();
    let Some(record) = bytes.get(..length) else { return Err(bad(offset, "a directory entry beyond the directory")) };
    let (name, extra) = record[CENTRAL_LEN..].split_at(lengths[0]);
    let name = entry_name(name).ok_or_else(|| bad(offset, "an entry's name is not plain UTF-8"))?;
    let (flags, method) = (fields.u16(8), fields.u16(10));
    if flags & FLAG_ENCRYPTED != 0 {
        return Err(Fault::Encrypted { entry: name });
    }
    if flags & FLAGS_UNREADABLE != 0 {
        return Err(bad(offset, format!("entry `{name}` has the flags {flags:#06x}")));
    }
    if method != STORED && method != DEFLATED {
        return Err(Fault::Compression { entry: name, method });
    }
    if fields.u16(34) != 0 {
        return Err(bad(offset, format!("entry `{name}` is in another part of the archive")));
    }
    let narrow = [fields.u32(24), fields.u32(20), fields.u32(42)];
    let [len, stored, header] = widen(narrow, &extra[..lengths[1]])
        .ok_or_else(|| bad(offset, format!("entry `{name}` has broken extra fields")))?;
    if method == STORED && stored != len {
        return Err(bad(offset, format!("entry `{name}` is stored as {stored} bytes but has {len}")));
    }
    let crc = fields.u32(16);
    Ok((Entry { name, deflated: method == DEFLATED, crc, stored, len, data: 0, header, flags }, length))
}

/// A name without bytes that file systems or other readers treat in different ways.
fn entry_name(bytes: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(bytes).ok()?;
    (!name.is_empty() && !name.contains(['\0', '\\'])).then(|| name.to_owned())
}

/// Values of 32 bits, those of all ones replaced from the zip64 field of `extra`, in the order of the format. `None` if
/// that is missing, or if the fields do not fill `extra` exactly: a wrong length of it would shift what follows.
fn widen<const N: usize>(narrow: [u32; N], mut extra: &[u8]) -> Option<[u64; N]> {
    let mut values = narrow.map(u64::from);
    let mut missing = narrow.contains(&u32::MAX);
    while !extra.is_empty() {
        let fields = Fields(extra.get(..4)?);
        let (id, len) = (fields.u16(0), usize::from(fields.u16(2)));
        let body = extra.get(4..4 + len)?;
        if id == ZIP64 && missing {
            let mut words = body.chunks_exact(8);
            for value in values.iter_mut().filter(|value| **value == u64::from(u32::MAX)) {
                *value = Fields(words.next()?).u64(0);
            }
            missing = false;
        }
        extra = &extra[4 + len..];
    }
    (!missing).then_some(values)
}

fn refuse_bombs(entries: &[Entry], file_len: u64) -> Result<(), Fault> {
    let limit = MAX_INFLATED.0.saturating_add(file_len.saturating_mul(MAX_INFLATED.1));
    let mut inflated = 0u64;
    for entry in entries.iter().filter(|entry| entry.deflated) {
        inflated = inflated.saturating_add(entry.len);
        // A few bytes of slack: an empty deflate stream has two.
        if inflated > limit || entry.len > entry.stored.saturating_mul(MAX_RATIO) {
            let limit = limit.min(entry.stored.saturating_mul(MAX_RATIO));
            return Err(Fault::Inflates { entry: entry.name.clone(), from: entry.stored, to: inflated, limit });
        }
    }
    Ok(())
}

/// Compares the header beside the data with the one in the directory, and finds the data.
fn local(source: &Source, entry: &mut Entry, directory: u64) -> Result<(), Fault> {
    let at = entry.header;
    if at.checked_add(LOCAL_LEN).is_none_or(|end| end > directory) {
        return Err(bad(at, format!("entry `{}` begins beyond the entries", entry.name)));
    }
    let bytes: [u8; LOCAL_LEN as usize] = source.array_at(at)?;
    let fields = Fields(&bytes);
    if fields.u32(0) != LOCAL {
        return Err(bad(at, format!("no header of entry `{}`", entry.name)));
    }
    let (name_len, extra_len) = (usize::from(fields.u16(26)), usize::from(fields.u16(28)));
    let mut tail = vec![0; name_len + extra_len];
    entry.data = at + LOCAL_LEN + tail.len() as u64;
    if entry.data.checked_add(entry.stored).is_none_or(|end| end > directory) {
        return Err(bad(at, format!("entry `{}` of {} bytes reaches beyond the entries", entry.name, entry.stored)));
    }
    source.read_at(&mut tail, at + LOCAL_LEN)?;
    let (name, extra) = tail.split_at(name_len);

    let disagree = |field, local: String, central: String| {
        Err(Fault::HeadersDisagree { entry: entry.name.clone(), field, local, central, offset: at })
    };
    if name != entry.name.as_bytes() {
        return disagree("name", String::from_utf8_lossy(name).into_owned(), entry.name.clone());
    }
    if fields.u16(6) != entry.flags {
        return disagree("flags", format!("{:#06x}", fields.u16(6)), format!("{:#06x}", entry.flags));
    }
    let method = if entry.deflated { DEFLATED } else { STORED };
    if fields.u16(8) != method {
        return disagree("compression method", fields.u16(8).to_string(), method.to_string());
    }
    let Some([len, stored]) = widen([fields.u32(22), fields.u32(18)], extra) else {
        return Err(bad(at, format!("entry `{}` has broken extra fields", entry.name)));
    };
    // With a descriptor after the data, the header before it may leave these at 0.
    let open = entry.flags & FLAG_DESCRIPTOR != 0;
    let crc = fields.u32(14);
    for (field, local, central) in [
        ("CRC-32", u64::from(crc), u64::from(entry.crc)),
        ("stored size", stored, entry.stored),
        ("size", len, entry.len),
    ] {
        if local != central && !(open && local == 0) {
            return disagree(field, local.to_string(), central.to_string());
        }
    }
    Ok(())
}

/// Header, data and descriptor of the entries, one after the other, fill the file up to the directory.
fn account_for_every_byte(source: &Source, entries: &[Entry], directory: u64) -> Result<(), Fault> {
    let mut order: Vec<&Entry> = entries.iter().collect();
    order.sort_by_key(|entry| entry.header);
    let ends = order.iter().skip(1).map(|entry| (entry.header, entry.name.as_str()));
    let ends = ends.chain([(directory, "the directory")]);
    let first = order.first().map_or(directory, |entry| entry.header);
    if first != 0 {
        return Err(bad(0, format!("{first} bytes before the first entry")));
    }
    for (entry, (next, next_name)) in order.iter().zip(ends) {
        let end = entry.data + entry.stored;
        if end > next {
            return Err(Fault::OverlappingEntries {
                first: entry.name.clone(),
                second: next_name.to_owned(),
                offset: next,
            });
        }
        let gap = next - end;
        // A descriptor that is announced must be there: without it, a longer header would shift the data unnoticed.
        let open = entry.flags & FLAG_DESCRIPTOR != 0;
        if open && gap <= MAX_DESCRIPTOR {
            descriptor(source, entry, end, gap as usize)?;
        } else if gap != 0 {
            let after = format!("the zip entry `{}`", entry.name);
            return Err(Fault::TrailingBytes { after, offset: end, count: gap });
        }
    }
    Ok(())
}

/// Compares the `length` bytes after the data, at `offset`: an optional signature, CRC-32, and both sizes in 32 or 64
/// bits.
fn descriptor(source: &Source, entry: &Entry, offset: u64, length: usize) -> Result<(), Fault> {
    let mut bytes = vec![0; length];
    source.read_at(&mut bytes, offset)?;
    let signed = Fields(&bytes).u32(0) == DESCRIPTOR;
    let (fields, stored, len) = match (length, signed) {
        (12, _) => (Fields(&bytes), Fields(&bytes).u32(4).into(), Fields(&bytes).u32(8).into()),
        (16, true) => (Fields(&bytes[4..]), Fields(&bytes).u32(8).into(), Fields(&bytes).u32(12).into()),
        (20, _) => (Fields(&bytes), Fields(&bytes).u64(4), Fields(&bytes).u64(12)),
        (24, true) => (Fields(&bytes[4..]), Fields(&bytes).u64(8), Fields(&bytes).u64(16)),
        _ => return Err(bad(offset, format!("{length} bytes after entry `{}` are no data descriptor", entry.name))),
    };
    for (field, local, central) in [
        ("CRC-32", u64::from(fields.u32(0)), u64::from(entry.crc)),
        ("stored size", stored, entry.stored),
        ("size", len, entry.len),
    ] {
        if local != central {
            let (local, central) = (local.to_string(), central.to_string());
            return Err(Fault::HeadersDisagree { entry: entry.name.clone(), field, local, central, offset });
        }
    }
    Ok(())
}
