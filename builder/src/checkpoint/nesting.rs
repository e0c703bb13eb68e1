//! Where training frameworks put the weights in what they save.

/// Keys under which training scripts nest the weights, in order of preference.
pub(super) const NESTING_KEYS: [&str; 4] = ["state_dict", "model", "model_ema", "ema"];
