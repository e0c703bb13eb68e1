//! Results as JSON, for programs: stable within a schema version, units in the names of fields.

use serde::Serialize;

/// Writes a result as indented JSON with a newline at its end. Numbers that are not finite become null.
///
/// # Errors
/// None for this program's results; serde's, should a result ever hold what JSON cannot say.
pub fn render(result: &impl Serialize) -> Result<String, serde_json::Error> {
    // JSON leaves DEL, C1 and the controls of direction as they are; a terminal does not.
    serde_json::to_string_pretty(result).map(|text| onnx_file::text::json(&text).into_owned() + "\n")
}
