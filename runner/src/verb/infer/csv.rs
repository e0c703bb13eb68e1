//! Results of `infer` as comma-separated values.

use super::inference::Inference;
use crate::report::csv::{number, render, strings};
use crate::report::document::one_line;

/// A line for each class of each image, best first; one without a class for an image that could not be read or
/// classified, and one without an image for what ended it early.
pub fn csv(inference: &Inference) -> String {
    let heading = strings(&["image", "rank", "class", "label", "probability", "score", "error"]);
    let lines = inference.images.iter().flat_map(|image| {
        if let Some(error) = &image.error {
            let mut line = vec![image.path.clone()];
            line.resize(6, String::new());
            line.push(error.to_string());
            return vec![line];
        }
        let line = |(rank, class): (usize, &crate::input::classify::Class)| {
            vec![
                image.path.clone(),
                (rank + 1).to_string(),
                class.index.to_string(),
                class.label.clone().unwrap_or_default(),
                number(class.probability),
                number(class.score),
                String::new(),
            ]
        };
        image.top.iter().enumerate().map(line).collect()
    });
    let ended = inference.error.iter().map(|error| {
        let mut line = vec![String::new(); 6];
        line.push(one_line(&error.to_string()));
        line
    });
    render(std::iter::once(heading).chain(lines).chain(ended))
}
