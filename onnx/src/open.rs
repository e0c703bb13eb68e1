//! Files that others may have put there, opened so that nothing hangs and read so that nothing fills the memory.
//!
//! Opening a pipe waits for its writer, and a device may never end. So every input is opened without waiting, must then
//! be a regular file, and is read up to a limit that holds whatever length the file system tells.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// The longest of the small files that are read whole: labels, preprocessing, tuning.
pub const SMALL: u64 = 64 << 20;

/// Opens the regular file at `path`, without waiting for anybody.
///
/// # Errors
/// Whatever the file system says; [`io::ErrorKind::InvalidInput`] for a pipe, a device, a socket, and
/// [`io::ErrorKind::IsADirectory`] for a folder.
pub fn file(path: &Path) -> io::Result<File> {
    let file = options().read(true).open(path).map_err(told)?;
    check(&file)?;
    Ok(file)
}

/// Opens the folder at `path`, to lock it or to have its entries on the disk. Not every system can.
///
/// # Errors
/// Whatever the file system says; [`io::ErrorKind::NotADirectory`] for all else.
pub fn folder(path: &Path) -> io::Result<File> {
    let folder = options().read(true).open(path).map_err(told)?;
    if folder.metadata()?.is_dir() { Ok(folder) } else { Err(io::ErrorKind::NotADirectory.into()) }
}

/// As [`file()`]; where `path` itself is a symbolic link, it is refused.
///
/// # Errors
/// As for [`file()`].
pub fn file_itself(path: &Path) -> io::Result<File> {
    let file = options_without_links().read(true).open(path).map_err(told)?;
    check(&file)?;
    Ok(file)
}

/// The content of the regular file at `path`, of `limit` bytes at most.
///
/// # Errors
/// As for [`file()`]; [`io::ErrorKind::FileTooLarge`] beyond `limit`, [`io::ErrorKind::OutOfMemory`] where it does not
/// fit.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_all(file(path)?, limit)
}

/// As [`read`], text in UTF-8.
///
/// # Errors
/// As for [`read`]; [`io::ErrorKind::InvalidData`] where it is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read(path, limit)?).map_err(|error| {
        let text = format!("it is not UTF-8 text: byte {} begins no character", error.utf8_error().valid_up_to());
        io::Error::new(io::ErrorKind::InvalidData, text)
    })
}

/// The rest of `file`, of `limit` bytes at most.
///
/// # Errors
/// As for [`read`].
pub fn read_all(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let too_large = || {
        let text = format!("it has more than the {limit} bytes that are read of such a file");
        io::Error::new(io::ErrorKind::FileTooLarge, text)
    };
    let told = file.metadata()?.len();
    if told > limit {
        return Err(too_large());
    }
    let mut content = Vec::new();
    content.try_reserve_exact(usize::try_from(told).map_err(|_| too_large())?)?;
    file.take(limit.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > limit { Err(too_large()) } else { Ok(content) }
}

/// Opens `path` for a lock that is held as long as the file is: made where it is not there, otherwise left as it is.
///
/// # Errors
/// Whatever the file system says; for a symbolic link, and for what [`file()`] refuses.
pub fn lock_file(path: &Path) -> io::Result<File> {
    if std::fs::symlink_metadata(path).is_ok_and(|there| there.is_symlink()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a symbolic link; remove it"));
    }
    let file = options_without_links().read(true).write(true).create(true).truncate(false).open(path).map_err(told)?;
    check(&file)?;
    Ok(file)
}

/// Opens the pipe or device at `path` for writing: a pipe that nobody reads is an error, and nothing to wait for.
///
/// # Errors
/// Whatever the file system says.
pub fn for_writing(path: &Path) -> io::Result<File> {
    let file = options().write(true).open(path);
    #[cfg(unix)]
    {
        let unread = |error: io::Error| match error.raw_os_error() {
            Some(number) if number == rustix::io::Errno::NXIO.raw_os_error() => {
                io::Error::other("nobody reads this pipe; start its reader first")
            }
            _ => error,
        };
        let file = file.map_err(unread)?;
        // What is written waits for the reader, as it should.
        rustix::fs::fcntl_setfl(&file, rustix::fs::OFlags::empty())?;
        Ok(file)
    }
    #[cfg(not(unix))]
    {
        file
    }
}

/// Whether both names lead to the same file, be it through links of either kind. `false` where one of them is not there.
pub fn same(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let number = |path: &Path| std::fs::metadata(path).map(|there| (there.dev(), there.ino()));
        matches!((number(a), number(b)), (Ok(a), Ok(b)) if a == b)
    }
    #[cfg(not(unix))]
    {
        matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
    }
}

/// How many names `file` has, its hard links.
///
/// # Errors
/// Whatever the file system says.
pub fn names(file: &File) -> io::Result<u64> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        file.metadata().map(|there| there.nlink())
    }
    #[cfg(not(unix))]
    {
        file.metadata().map(|_| 1)
    }
}

fn check(file: &File) -> io::Result<()> {
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder, not a file"));
    }
    if kind.is_file() { Ok(()) } else { Err(irregular()) }
}

fn irregular() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "it is a pipe or a device, not a regular file; copy its content to a file",
    )
}

/// What the system says of a socket or a pipe that it does not open is puzzling.
fn told(error: io::Error) -> io::Error {
    #[cfg(unix)]
    if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) {
        return irregular();
    }
    error
}

#[cfg(unix)]
fn options() -> OpenOptions {
    with_flags(rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY)
}

#[cfg(unix)]
fn options_without_links() -> OpenOptions {
    use rustix::fs::OFlags;
    with_flags(OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW)
}

#[cfg(unix)]
fn with_flags(flags: rustix::fs::OFlags) -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = OpenOptions::new();
    options.custom_flags(flags.bits() as i32);
    options
}

#[cfg(not(unix))]
fn options() -> OpenOptions {
    OpenOptions::new()
}

#[cfg(not(unix))]
fn options_without_links() -> OpenOptions {
    OpenOptions::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert_eq!(read(&path, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read(folder.path(), 9).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        fs::write(&path, [b'a', 0xff]).unwrap();
        let error = read_text(&path, 9).unwrap_err();
        assert!(error.to_string().contains("byte 1"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_a_device_and_a_socket_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, socket, zero) = (folder.path().join("p"), folder.path().join("s"), folder.path().join("z"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &zero).unwrap();
        for path in [&pipe, &socket, &zero] {
            let error = read(path, SMALL).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{}: {error}", path.display());
        }
        assert!(lock_file(&pipe).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_without_a_reader_is_an_error_and_one_with_a_reader_takes_all() {
        use std::io::Write as _;
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("p");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let error = for_writing(&pipe).unwrap_err().to_string();
        assert!(error.contains("nobody reads"), "{error}");
        let path = pipe.clone();
        let reader = std::thread::spawn(move || fs::read(path).unwrap().len());
        // More than a pipe holds.
        let content = vec![7; 1 << 20];
        let mut written = for_writing(&pipe);
        while written.is_err() {
            std::thread::yield_now();
            written = for_writing(&pipe);
        }
        let mut file = written.unwrap();
        file.write_all(&content).unwrap();
        drop(file);
        assert_eq!(reader.join().unwrap(), content.len());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_tells_no_length_is_read_up_to_the_limit_all_the_same() {
        // Files of the kernel say 0 and hold more.
        let path = Path::new("/proc/self/status");
        assert_eq!(fs::metadata(path).unwrap().len(), 0);
        assert!(read(path, SMALL).unwrap().len() > 100);
        assert_eq!(read(path, 10).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[cfg(unix)]
    #[test]
    fn a_lock_neither_follows_a_link_nor_empties_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let (lock, victim) = (folder.path().join(".lock"), folder.path().join("victim"));
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, &lock).unwrap();
        assert!(lock_file(&lock).is_err());
        fs::remove_file(&lock).unwrap();
        fs::write(&lock, "of somebody").unwrap();
        drop(lock_file(&lock).unwrap());
        assert_eq!((fs::read(&victim).unwrap(), fs::read(&lock).unwrap()), (b"precious".into(), b"of somebody".into()));
    }

    #[cfg(unix)]
    #[test]
    fn links_of_both_kinds_lead_to_the_same_file_and_copies_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a"), "x").unwrap();
        fs::copy(at("a"), at("copy")).unwrap();
        fs::hard_link(at("a"), at("hard")).unwrap();
        std::os::unix::fs::symlink(at("a"), at("soft")).unwrap();
        for (name, expected) in [("a", true), ("hard", true), ("soft", true), ("copy", false), ("absent", false)] {
            assert_eq!(same(&at("a"), &at(name)), expected, "{name}");
        }
        assert!(!same(&at("absent"), &at("absent")));
    }
}
