//! Names of the classes.

/// Class names, by index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// What a person reads.
    pub names: Vec<String>,
    /// WordNet ids where there are any, else empty.
    pub ids: Vec<String>,
}

impl Labels {
    /// ImageNet-1k's classes: WordNet ids and lemmas.
    pub fn imagenet() -> Self {
        Self::parse(include_str!("../../data/imagenet.txt"))
    }

    /// One label a line; `n01440764 tench` gives a WordNet id and a name.
    pub fn parse(text: &str) -> Self {
        let text = text.trim_start_matches('\u{feff}').trim_end();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        let split = |line: &&str| {
            let (id, name) = line.split_once([' ', '\t'])?;
            let digits = id.strip_prefix('n').filter(|d| d.len() == 8)?;
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| (id.to_string(), name.trim().to_string()))
        };
        match lines.iter().map(split).collect::<Option<Vec<_>>>() {
            Some(pairs) if !pairs.is_empty() => {
                let (ids, names) = pairs.into_iter().unzip();
                Self { names, ids }
            }
            _ => Self { names: lines.into_iter().map(str::to_string).collect(), ids: Vec::new() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imagenet_has_a_thousand_classes_keyed_by_index() {
        let labels = Labels::imagenet();
        assert_eq!((labels.names.len(), labels.ids.len()), (1000, 1000));
        assert_eq!(labels.names[0], "tench, Tinca tinca");
        assert_eq!((labels.names[134].as_str(), labels.names[517].as_str()), ("crane", "crane"));
        assert_ne!(labels.ids[134], labels.ids[517]);
    }

    #[test]
    fn plain_labels_are_one_a_line() {
        let labels = Labels::parse("\u{feff}cat\nblack dog\n\n");
        assert_eq!(labels, Labels { names: vec!["cat".into(), "black dog".into()], ids: vec![] });
    }
}
