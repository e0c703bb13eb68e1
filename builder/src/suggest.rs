//! "Did you mean ...?": the names nearest to one that is not there.

/// The up to three of `names` with the fewest letters to insert, delete, replace or swap from `asked`, at most a third
/// of its letters: beyond that a hint misleads. Upper and lower case count as the same letter. Nearest first, then by
/// name.
pub fn nearest<'a>(asked: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let asked = asked.to_lowercase();
    let most = (asked.chars().count() / 3).max(1);
    let distance = |name: &'a str| (strsim::osa_distance(&name.to_lowercase(), &asked), name);
    let mut ranked: Vec<(usize, &str)> = names.into_iter().map(distance).collect();
    ranked.retain(|(edits, _)| *edits <= most);
    ranked.sort_unstable();
    ranked.dedup();
    ranked.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

/// `; did you mean 'layer1.0.conv2' or 'layer1.1.conv2'?`, to be appended to a message; empty where nothing is near.
pub fn question(near: &[String]) -> String {
    let names: Vec<String> = near.iter().map(|name| format!("'{name}'")).collect();
    if names.is_empty() { String::new() } else { format!("; did you mean {}?", names.join(" or ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_come_first_and_the_far_not_at_all() {
        let names = ["layer1.0.conv2", "layer1.0.conv1", "layer1.1.conv2", "layer2.0.conv2", "fc"];
        assert_eq!(nearest("layer1.0.con2", names), ["layer1.0.conv2", "layer1.0.conv1", "layer1.1.conv2"]);
        assert_eq!(nearest("cf", names), ["fc"], "a swap is one edit, and one is always granted");
        assert_eq!(nearest("FC", names), ["fc"]);
        assert_eq!(nearest("bathroom", names), [""; 0]);
        assert_eq!(nearest("fc", ["fc", "fc"]), ["fc"]);
    }

    #[test]
    fn a_third_of_the_letters_is_the_limit() {
        assert_eq!(nearest("abcdef", ["abcdxy"]), ["abcdxy"]);
        assert_eq!(nearest("abcdef", ["abcxyz"]), [""; 0]);
    }

    #[test]
    fn the_question_names_what_is_near() {
        assert_eq!(question(&[]), "");
        assert_eq!(question(&["a".into(), "b".into()]), "; did you mean 'a' or 'b'?");
    }
}
