//! Text that others wrote, made safe to show.
//!
//! Names, labels, metadata, file names and messages of other programs may hold what a terminal obeys: sequences that
//! set its title, clear it or write to the clipboard, and controls that reverse the direction of what follows. Here they
//! come out as `\u{1b}`. A report is made of [`Lines`], in which the newline that ends a line is the program's own and
//! every other one is not; and streams to a terminal are [`Terminal`]s, so that nothing gets around it.

use std::borrow::Cow;
use std::fmt::{self, Display, Write as _};
use std::io::{self, Write};

/// Shows its content on one line: every control character as `\u{1b}`, newlines and tabs included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown<T>(pub T);

impl<T: Display> Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Width and alignment are those of what is seen, so it must be known first.
        if f.width().is_some() || f.precision().is_some() {
            let mut text = String::new();
            write!(Escaping(&mut text), "{}", self.0)?;
            return f.pad(&text);
        }
        write!(Escaping(f), "{}", self.0)
    }
}

/// `text` as [`Shown`] shows it.
pub fn shown(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_control) { Cow::Owned(Shown(text).to_string()) } else { Cow::Borrowed(text) }
}

/// `json` with the control characters that JSON leaves as they are (DEL, C1, directions) as `\u009b`: the same
/// document, since they stand in strings only.
pub fn json(json: &str) -> Cow<'_, str> {
    let loose = |c: char| is_control(c) && !c.is_ascii_whitespace();
    if !json.chars().any(loose) {
        return Cow::Borrowed(json);
    }
    let mut text = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        // All of them lie in the plane that one escape reaches; a String takes whatever it is given.
        let _ = if loose(c) { write!(text, "\\u{:04x}", u32::from(c)) } else { text.write_char(c) };
    }
    Cow::Owned(text)
}

/// Whether a terminal may obey `c`, or a reader be misled by it: C0, DEL, C1, line separators, and the controls of
/// direction (Unicode Standard Annex 9).
pub fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A [`fmt::Write`] that escapes what passes through.
struct Escaping<W>(W);

impl<W: fmt::Write> fmt::Write for Escaping<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((at, c)) = rest.char_indices().find(|&(_, c)| is_control(c)) {
            self.0.write_str(&rest[..at])?;
            write!(self.0, "{}", c.escape_unicode())?;
            rest = &rest[at + c.len_utf8()..];
        }
        self.0.write_str(rest)
    }
}

/// Text of whole lines, made with `write!` and `writeln!`: of what is written at a time only a newline at the end is one,
/// and all other control characters come out as [`Shown`] shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines(String);

impl Lines {
    /// What `write!` and `writeln!` call.
    ///
    /// # Errors
    /// Those of what is formatted.
    pub fn write_fmt(&mut self, arguments: fmt::Arguments<'_>) -> fmt::Result {
        let written = fmt::format(arguments);
        let (line, end) = written.strip_suffix('\n').map_or((written.as_str(), ""), |line| (line, "\n"));
        Escaping(&mut self.0).write_str(line)?;
        self.0.write_str(end)
    }
}

impl From<Lines> for String {
    fn from(lines: Lines) -> Self {
        lines.0
    }
}

/// A stream to a terminal: control characters but newline and tab come out escaped, and bytes that are not UTF-8 as
/// U+FFFD.
#[derive(Debug)]
pub struct Terminal<W> {
    inner: W,
    /// The begun character that the last write ended with.
    begun: Vec<u8>,
}

impl<W: Write> Terminal<W> {
    /// Writes to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, begun: Vec::new() }
    }

    fn write_text(&mut self, text: &str) -> io::Result<()> {
        let mut rest = text;
        let unsafe_one = |&(_, c): &(usize, char)| is_control(c) && !matches!(c, '\n' | '\t');
        while let Some((at, c)) = rest.char_indices().find(unsafe_one) {
            write!(self.inner, "{}{}", &rest[..at], c.escape_unicode())?;
            rest = &rest[at + c.len_utf8()..];
        }
        self.inner.write_all(rest.as_bytes())
    }
}

impl<W: Write> Write for Terminal<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let joined = [&std::mem::take(&mut self.begun)[..], bytes].concat();
        let mut rest = &joined[..];
        while !rest.is_empty() {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.write_text(text)?;
                    break;
                }
                Err(error) => {
                    let (good, bad) = rest.split_at(error.valid_up_to());
                    self.write_text(&String::from_utf8_lossy(good))?;
                    let Some(length) = error.error_len() else {
                        self.begun = bad.to_vec();
                        break;
                    };
                    self.write_text("\u{fffd}")?;
                    rest = &bad[length..];
                }
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "\u{1b}]0;owned\u{7}a\nb\tc\u{7f}\u{9b}31m\u{202e}txt\u{2066}";

    #[test]
    fn nothing_that_a_terminal_obeys_is_shown() {
        let text = Shown(HOSTILE).to_string();
        assert!(!text.chars().any(is_control), "{text:?}");
        assert!(text.starts_with("\\u{1b}]0;owned\\u{7}a\\u{a}b\\u{9}c\\u{7f}\\u{9b}31m\\u{202e}txt"), "{text}");
        assert_eq!(shown(HOSTILE), text);
        assert!(matches!(shown("plain, é, 犬, a\u{200d}b"), Cow::Borrowed(_)));
    }

    #[test]
    fn columns_are_as_wide_as_what_is_seen() {
        assert_eq!(format!("{:<8}|{:>3}|", Shown("\u{7}"), Shown(7)), "\\u{7}   |  7|");
    }

    #[test]
    fn a_field_cannot_end_a_line() {
        let mut lines = Lines::default();
        writeln!(lines, "name {HOSTILE}").unwrap();
        write!(lines, "begun, ").unwrap();
        writeln!(lines, "ended\r").unwrap();
        writeln!(lines).unwrap();
        let text = String::from(lines);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.ends_with("\\u{2066}\nbegun, ended\\u{d}\n\n"), "{text}");
        assert!(!text.chars().any(|c| is_control(c) && c != '\n'));
    }

    #[test]
    fn json_stays_the_same_document() {
        assert_eq!(json("[\n  \"a\u{9b}\u{202e}\u{7f}\"]"), "[\n  \"a\\u009b\\u202e\\u007f\"]");
        assert!(matches!(json("{\n\t\"é\": 1\r\n}"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_terminal_keeps_lines_and_escapes_the_rest_however_it_is_cut() {
        let whole = ["one\n\ttwo é", HOSTILE].concat();
        for piece in [1, 2, 3, 5, 1000] {
            let mut out = Vec::new();
            let mut terminal = Terminal::new(&mut out);
            for bytes in whole.as_bytes().chunks(piece) {
                terminal.write_all(bytes).unwrap();
            }
            terminal.flush().unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.starts_with("one\n\ttwo é\\u{1b}]0;owned\\u{7}a\nb\tc\\u{7f}\\u{9b}31m"), "{piece}: {text}");
        }
    }

    #[test]
    fn a_terminal_replaces_bytes_that_are_no_text() {
        let mut out = Vec::new();
        Terminal::new(&mut out).write_all(b"a\xffb\xc3(c").unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "a\u{fffd}b\u{fffd}(c");
    }
}
