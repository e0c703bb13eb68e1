//! The table of `check`.

use onnx_file::text::Lines;

use crate::check::Checked;
use crate::stacks::Standing;

/// A line for each stack, and below it what stands against it.
pub fn checked(found: &Checked) -> String {
    let mut text = Lines::default();
    let _ = writeln!(text, "{}: IR {}, opset {}", found.file, found.ir_version, found.opset);
    for answer in &found.stacks {
        let how = match answer.standing {
            Standing::Tried(day) => format!("tried {day}"),
            Standing::Documented(day) => format!("by its documentation of {day}"),
        };
        let takes = if answer.takes { "yes" } else { "no" };
        let _ = writeln!(text, "{takes:<4} {:<16} {} {}, {how}", answer.stack, answer.title, answer.version);
        for (kind, objection) in
            answer.objections.iter().map(|o| ("", o)).chain(answer.hints.iter().map(|o| ("hint: ", o)))
        {
            let fix = objection.fix.as_ref().map_or_else(String::new, |fix| format!("; {fix}"));
            let _ = writeln!(text, "       {kind}{}{fix}", objection.text);
        }
    }
    let takes = found.stacks.iter().filter(|answer| answer.takes).count();
    let _ = writeln!(text, "{takes} of {} take it, as far as the versions tried tell", found.stacks.len());
    text.into()
}
