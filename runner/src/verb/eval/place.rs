//! Which line of a list of numbers an image has: by the number in its name, or by its place in the order of names.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

/// The line, from 0, of each of `paths`, which are in the order of text, in a list of so many `lines`. Where `of_kit`,
/// ImageNet's names tell the line, and some of the images may be missing.
///
/// # Errors
/// Why the lines cannot be told.
pub(crate) fn lines_of(paths: &[PathBuf], lines: usize, of_kit: bool) -> Result<Vec<usize>, String> {
    let said: Vec<Option<usize>> = paths.iter().map(|path| number_in_name(path)).collect();
    let every: Option<Vec<usize>> = said.iter().copied().collect();
    if let Some(places) = every.filter(|_| of_kit || paths.len() != lines) {
        return match places.iter().position(|place| *place >= lines) {
            Some(at) => Err(format!("it has {lines} lines, and none for {}", paths[at].display())),
            None => Ok(places),
        };
    }
    if paths.len() != lines {
        return Err(format!("it has {lines} lines for {} images; list them by name", paths.len()));
    }
    let has_unnumbered = said.contains(&None);
    let moved = |(at, said): (usize, &Option<usize>)| said.is_some_and(|place| has_unnumbered && place != at);
    if let Some(at) = said.iter().enumerate().position(moved) {
        return Err(format!(
            "by its name, {} is on another line than by its place in the order of names, for some images are not \
             numbered; list them by name",
            paths[at].display()
        ));
    }
    let mut neighbours = paths.iter().zip(paths.iter().skip(1));
    if let Some((before, after)) = neighbours.find(|(one, other)| by_numbers(one, other).is_gt()) {
        return Err(format!(
            "it goes by the order of names, and {} comes before {} as text but after it as a number; list them by name",
            before.display(),
            after.display()
        ));
    }
    Ok((0..lines).collect())
}

/// Whether every image is called like those of ImageNet's validation set.
pub(crate) fn all_numbered(paths: &[PathBuf]) -> bool {
    !paths.is_empty() && paths.iter().all(|path| number_in_name(path).is_some())
}

/// Place of `ILSVRC2012_val_00000001.JPEG` among the images, from 0.
fn number_in_name(path: &Path) -> Option<usize> {
    let stem = path.file_stem()?.to_string_lossy().into_owned();
    let number: usize = stem.strip_prefix("ILSVRC2012_val_")?.parse().ok()?;
    number.checked_sub(1)
}

/// The order of paths in which the numbers within names are compared as numbers.
fn by_numbers(one: &Path, other: &Path) -> Ordering {
    let mut others = other.components();
    for component in one.components() {
        let Some(other) = others.next() else { return Ordering::Greater };
        let (name, other) = (component.as_os_str().to_string_lossy(), other.as_os_str().to_string_lossy());
        let order = names_by_numbers(&name, &other);
        if order.is_ne() {
            return order;
        }
    }
    others.next().map_or(Ordering::Equal, |_| Ordering::Less)
}

fn names_by_numbers(one: &str, other: &str) -> Ordering {
    let (mut rest, mut others) = (one.as_bytes(), other.as_bytes());
    loop {
        let (number, other_number) = (digits(rest), digits(others));
        let order = if number.is_empty() || other_number.is_empty() {
            rest.first().cmp(&others.first())
        } else {
            let (one, other) = (without_zeros(number), without_zeros(other_number));
            one.len().cmp(&other.len()).then_with(|| one.cmp(other))
        };
        if order.is_ne() || rest.is_empty() {
            return order.then_with(|| one.cmp(other));
        }
        rest = &rest[number.len().max(1)..];
        others = &others[other_number.len().max(1)..];
    }
}

/// The digits that a name begins with.
fn digits(name: &[u8]) -> &[u8] {
    let end = name.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(name.len());
    &name[..end]
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    let start = digits.iter().position(|digit| *digit != b'0').unwrap_or(digits.len());
    &digits[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(names: &[&str], lines: usize, of_kit: bool) -> Result<Vec<usize>, String> {
        let mut paths: Vec<PathBuf> = names.iter().map(PathBuf::from).collect();
        paths.sort();
        lines_of(&paths, lines, of_kit)
    }

    #[test]
    fn imagenets_names_tell_the_line_where_every_image_has_one() {
        let numbered = ["s/ILSVRC2012_val_00000002.JPEG", "s/ILSVRC2012_val_00000004.JPEG"];
        assert_eq!(lines(&numbered, 4, true), Ok(vec![1, 3]));
        assert_eq!(lines(&numbered, 50, false), Ok(vec![1, 3]));
        assert!(lines(&numbered, 3, true).unwrap_err().contains("none for s/ILSVRC2012_val_00000004"));
        let mixed = ["ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000002.JPEG", "cover.jpg"];
        assert!(lines(&mixed, 2, true).unwrap_err().contains("2 lines for 3 images"));
        assert_eq!(lines(&["ILSVRC2012_val_00000001.JPEG", "z.jpg"], 2, true), Ok(vec![0, 1]));
        let shifted = lines(&["A.jpg", "ILSVRC2012_val_00000001.JPEG"], 2, true).unwrap_err();
        assert!(shifted.contains("list them by name"), "{shifted}");
    }

    #[test]
    fn names_in_another_order_as_numbers_are_refused() {
        let plain: Vec<String> = (0..12).map(|number| format!("{number}.png")).collect();
        let plain: Vec<&str> = plain.iter().map(String::as_str).collect();
        assert!(lines(&plain, 12, false).unwrap_err().contains("list them by name"));
        for names in [["img_9.png", "img_10.png"], ["9/a.png", "10/a.png"], ["a9b.png", "a10.png"]] {
            assert!(lines(&names, 2, false).is_err(), "{names:?}");
        }
        for names in [["01.png", "10.png"], ["a.png", "b.png"], ["a.png", "a1.png"], ["a/9.png", "a-10.png"]] {
            assert_eq!(lines(&names, 2, false), Ok(vec![0, 1]), "{names:?}");
        }
    }
}
