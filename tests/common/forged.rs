//! A file that passes for torchvision's `resnet18-f37072fd.pth`: the published weights cannot lie here, and the
//! program's check of the eight digits is not to be softened for a test. So a network of the right shapes, with synthetic
//! values, carries four of them that were searched for until its SHA-256 began with `f37072fd`: 2^32 hashes, ten minutes
//! of one processor. Which also shows what eight digits are good for: against damage, not against intent.

use sha2::{Digest as _, Sha256};

/// What [`search`] found.
const NONCE: u64 = 117_338_624;

/// Bytes of the four last values of `fc.bias`, whose low 12 bits each are the nonce.
const TAIL: usize = 8;

/// The whole file: safetensors (containers are told by content), f16, 23.4 MB.
pub(crate) fn resnet18() -> Vec<u8> {
    let mut bytes = body();
    set_nonce(&mut bytes, NONCE);
    bytes
}

/// Names and shapes of ResNet-18, in the order of the file.
fn tensors() -> Vec<(String, Vec<usize>)> {
    let mut tensors = Vec::new();
    let mut convolution = |conv: String, bn: String, shape: [usize; 4]| {
        tensors.push((format!("{conv}.weight"), shape.to_vec()));
        for part in ["weight", "bias", "running_mean", "running_var"] {
            tensors.push((format!("{bn}.{part}"), vec![shape[0]]));
        }
    };
    convolution("conv1".into(), "bn1".into(), [64, 3, 7, 7]);
    let mut channels = 64;
    for stage in 1..=4 {
        let planes = 32 << stage;
        for block in 0..2 {
            let name = format!("layer{stage}.{block}");
            convolution(format!("{name}.conv1"), format!("{name}.bn1"), [planes, channels, 3, 3]);
            convolution(format!("{name}.conv2"), format!("{name}.bn2"), [planes, planes, 3, 3]);
            if channels != planes {
                let shortcut = format!("{name}.downsample");
                convolution(format!("{shortcut}.0"), format!("{shortcut}.1"), [planes, channels, 1, 1]);
            }
            channels = planes;
        }
    }
    tensors.push(("fc.weight".into(), vec![1000, 512]));
    tensors.push(("fc.bias".into(), vec![1000]));
    tensors
}

fn body() -> Vec<u8> {
    let mut header = String::from("{");
    let mut end = 0;
    for (name, shape) in tensors() {
        let start = end;
        end += 2 * shape.iter().product::<usize>();
        let comma = if start == 0 { "" } else { "," };
        header += &format!(r#"{comma}"{name}":{{"dtype":"F16","shape":{shape:?},"data_offsets":[{start},{end}]}}"#);
    }
    header.push('}');
    // The last bytes and SHA-256's padding fit one block, so that a try of the search costs one.
    while (8 + header.len() + end) % 64 != 32 {
        header.push(' ');
    }
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    // Positive values of 0.008 to 0.06, as variances must be, no stretch of them like another.
    let values = (0..end as u32 / 2).map(|index| 0x2000 | (index.wrapping_mul(2_654_435_761) >> 20) as u16);
    bytes.extend(values.flat_map(u16::to_le_bytes));
    bytes
}

fn tail(nonce: u64) -> [u8; TAIL] {
    let mut tail = [0; TAIL];
    for (index, pair) in tail.chunks_exact_mut(2).enumerate() {
        pair.copy_from_slice(&((nonce >> (12 * index)) as u16 & 0x0fff).to_le_bytes());
    }
    tail
}

fn set_nonce(bytes: &mut [u8], nonce: u64) {
    let at = bytes.len() - TAIL;
    bytes[at..].copy_from_slice(&tail(nonce));
}

/// Prints the nonce.
pub(crate) fn search() {
    let bytes = body();
    let start = Sha256::new_with_prefix(&bytes[..bytes.len() - TAIL]);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let found = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for first in 0..threads {
            let (start, found) = (&start, &found);
            scope.spawn(move || {
                for nonce in (first..1 << 48).step_by(threads as usize) {
                    let hash = start.clone().chain_update(tail(nonce)).finalize();
                    if hash[..4] == [0xf3, 0x70, 0x72, 0xfd] {
                        println!("NONCE: {nonce}");
                        found.store(true, std::sync::atomic::Ordering::Relaxed);
                    }
                    if nonce % 4096 < threads && found.load(std::sync::atomic::Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
    });
}
