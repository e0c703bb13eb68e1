//! Checkpoint files: the container is recognised by content, names map to tensors.
