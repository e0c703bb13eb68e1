//! Decoding and resizing on threads of their own while the provider runs.
//!
//! Images come out in the order they went in. No thread begins an image further ahead than a window, so memory does
//! not grow with the number of images, nor when one image takes long.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
#[cfg(not(unix))]
use std::time::Instant;

use fast_image_resize::Resizer;
use serde::Serialize;

use super::decode;
use super::decode::{Decoded, Exif, ImageError};
use crate::input::preprocess;
use onnx_file::metadata::Preprocess;

/// An image on its way into a model.
#[derive(Debug)]
pub struct Prepared {
    /// Its position among all images.
    pub index: usize,
    /// One normalised `[3, H, W]` tensor for each preprocessing asked for, or why there is none.
    pub tensors: Result<Vec<Vec<f32>>, ImageError>,
    /// Whether its file says that it lies on a side, or is mirrored.
    pub oriented: bool,
    /// Processor time it took.
    pub time: Time,
}

/// Processor time of one thread, in seconds; wall time where the platform does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Time {
    /// Reading and decoding.
    pub decode_s: f64,
    /// Resizing, cropping and normalising.
    pub resize_s: f64,
}

impl Time {
    /// Adds another's.
    pub fn add(&mut self, other: Time) {
        self.decode_s += other.decode_s;
        self.resize_s += other.resize_s;
    }
}

/// How many images are prepared at once and ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Threads, at least 1.
    pub threads: usize,
    /// Images that may be finished or in work before they are taken, at least 1.
    pub window: usize,
}

impl Extent {
    /// A thread for each usable processor, and a batch and more ahead of the one that runs.
    pub fn for_batch(batch: usize) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Extent { threads, window: batch.saturating_mul(2).saturating_add(2 * threads) }
    }
}

/// Prepares `paths` by every one of `preprocess`, and hands them to `take` in order, until it breaks off.
pub fn prepare<T>(
    paths: &[impl AsRef<Path> + Sync],
    preprocess: &[Preprocess],
    exif: Exif,
    extent: Extent,
    mut take: impl FnMut(Prepared) -> ControlFlow<T>,
) -> Option<T> {
    let queue = Queue::new(paths.len(), extent.window.max(1));
    std::thread::scope(|scope| {
        for _ in 0..extent.threads.clamp(1, paths.len().max(1)) {
            scope.spawn(|| {
                give_way();
                let mut resizer = Resizer::new();
                while let Some(index) = queue.begin() {
                    queue.finish(one(index, paths[index].as_ref(), preprocess, exif, &mut resizer));
                }
            });
        }
        let _stop = StopOnDrop(&queue);
        for index in 0..paths.len() {
            if let ControlFlow::Break(value) = take(queue.take(index)) {
                return Some(value);
            }
        }
        None
    })
}

/// Lets the provider go first where both want a core: in turns of a batch each finds its data in the cache, while a
/// core that changes between them every few milliseconds loads both again and again.
fn give_way() {
    // Nice values are a thread's own on Linux alone. Images are prepared all the same where it may not be changed.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(10);
}

fn one(index: usize, path: &Path, preprocess: &[Preprocess], exif: Exif, resizer: &mut Resizer) -> Prepared {
    let (mut time, mut oriented) = (Time::default(), false);
    // A decoder that panics on a damaged file must cost one image, not the evaluation.
    let tensors = catch_unwind(AssertUnwindSafe(|| {
        let begun = Clock::now();
        let decoded_image = decode::read_as(path, exif);
        let decoded = Clock::now();
        time.decode_s = begun.seconds_until(&decoded);
        let Decoded { image, oriented: is_oriented } = decoded_image?;
        oriented = is_oriented;
        let tensor = |how: &Preprocess| {
            preprocess::crop(how, &image, resizer).map(|cropped| preprocess::normalize(how, &cropped))
        };
        let tensors = preprocess.iter().map(tensor).collect::<Result<Vec<_>, _>>();
        time.resize_s = decoded.seconds_until(&Clock::now());
        tensors.map_err(|error| ImageError::Unsizable { path: path.to_owned(), reason: error.to_string() })
    }));
    let panicked = |_| ImageError::Undecodable { path: path.to_owned(), reason: "the decoder failed on it".to_owned() };
    Prepared { index, tensors: tensors.unwrap_or_else(|panic| Err(panicked(panic))), oriented, time }
}

/// Who works on what; see [`prepare`]. Nobody is woken in vain: on small images that would take longer than a resize.
struct Queue {
    count: usize,
    window: usize,
    state: Mutex<State>,
    /// Something was taken, so that an image more may be begun.
    free: Condvar,
    /// Enough is finished to be taken.
    ready: Condvar,
}

#[derive(Default)]
struct State {
    begun: usize,
    taken: usize,
    finished: BTreeMap<usize, Prepared>,
    stopped: bool,
    /// Threads that wait for a free place.
    idle: usize,
    /// Whether someone waits to take the next image.
    awaited: bool,
}

impl Queue {
    fn new(count: usize, window: usize) -> Self {
        Queue { count, window, state: Mutex::default(), free: Condvar::new(), ready: Condvar::new() }
    }

    /// The state is consistent whenever the lock is free: a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next image to prepare, as soon as it is within the window; `None` when there is no more to do.
    fn begin(&self) -> Option<usize> {
        let mut state = self.lock();
        while !state.stopped && state.begun < self.count && state.begun - state.taken >= self.window {
            state.idle += 1;
            state = self.free.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
        if state.stopped || state.begun == self.count {
            return None;
        }
        state.begun += 1;
        Some(state.begun - 1)
    }

    fn finish(&self, prepared: Prepared) {
        let mut state = self.lock();
        state.finished.insert(prepared.index, prepared);
        let wake = state.awaited && self.worth_waking(&state);
        drop(state);
        if wake {
            self.ready.notify_one();
        }
    }

    /// Whether the next image is finished, and half a window of them: whoever takes them then takes many at once.
    fn worth_waking(&self, state: &State) -> bool {
        let enough = self.window.div_ceil(2).min(self.count - state.taken);
        state.finished.contains_key(&state.taken) && state.finished.len() >= enough
    }

    fn take(&self, index: usize) -> Prepared {
        let mut state = self.lock();
        loop {
            if let Some(prepared) = state.finished.remove(&index) {
                state.taken = index + 1;
                let idle = state.idle > 0;
                drop(state);
                if idle {
                    self.free.notify_one();
                }
                return prepared;
            }
            state.awaited = true;
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.awaited = false;
        }
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.free.notify_all();
    }
}

/// Ends the threads however the scope is left, or it would wait for them for ever.
struct StopOnDrop<'a>(&'a Queue);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Processor time of this thread where the platform tells, wall time elsewhere.
struct Clock {
    #[cfg(unix)]
    thread: rustix::time::Timespec,
    #[cfg(not(unix))]
    wall: Instant,
}

impl Clock {
    #[cfg(unix)]
    fn now() -> Self {
        Clock { thread: rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime) }
    }

    #[cfg(unix)]
    fn seconds_until(&self, later: &Clock) -> f64 {
        (later.thread.tv_sec - self.thread.tv_sec) as f64 + (later.thread.tv_nsec - self.thread.tv_nsec) as f64 / 1e9
    }

    #[cfg(not(unix))]
    fn now() -> Self {
        Clock { wall: Instant::now() }
    }

    #[cfg(not(unix))]
    fn seconds_until(&self, later: &Clock) -> f64 {
        (later.wall - self.wall).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use image::RgbImage;

    use super::*;
    use onnx_file::metadata::{Crop, IMAGENET_V1};

    const SMALL: Preprocess = Preprocess { resize: 4, crop: Crop::Square(4), ..IMAGENET_V1 };

    fn images(folder: &Path, count: usize) -> Vec<PathBuf> {
        let make = |index: usize| {
            let path = folder.join(format!("{index}.png"));
            let side = if index.is_multiple_of(5) { 200 } else { 8 };
            RgbImage::from_pixel(side, side, image::Rgb([index as u8; 3])).save(&path).unwrap();
            path
        };
        (0..count).map(make).collect()
    }

    #[test]
    fn images_come_out_in_order_and_a_bad_one_is_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = images(folder.path(), 30);
        std::fs::write(&paths[7], b"no image").unwrap();
        paths[11] = folder.path().join("missing.png");
        for (threads, window) in [(1, 1), (4, 3), (3, 100)] {
            let mut seen = Vec::new();
            let broken: Option<()> =
                prepare(&paths, &[SMALL, SMALL], Exif::Apply, Extent { threads, window }, |prepared| {
                    seen.push((prepared.index, prepared.tensors.map(|tensors| tensors.len()).unwrap_or(0)));
                    ControlFlow::Continue(())
                });
            let expected: Vec<(usize, usize)> = (0..30).map(|i| (i, if i == 7 || i == 11 { 0 } else { 2 })).collect();
            assert_eq!((seen, broken), (expected, None));
        }
    }

    #[test]
    fn no_image_is_begun_beyond_the_window() {
        let queue = Queue::new(100, 5);
        let begun = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while let Some(index) = queue.begin() {
                        begun.fetch_max(index + 1, Ordering::SeqCst);
                        queue.finish(Prepared { index, tensors: Ok(vec![]), oriented: false, time: Time::default() });
                    }
                });
            }
            for index in 0..100usize {
                if index.is_multiple_of(20) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                assert!(begun.load(Ordering::SeqCst) <= index + 5);
                assert_eq!(queue.take(index).index, index);
            }
        });
    }

    #[test]
    fn a_batch_as_large_as_can_be_told_is_a_window_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let paths = images(folder.path(), 3);
        let mut seen = 0;
        let _: Option<()> = prepare(&paths, &[SMALL], Exif::Apply, Extent::for_batch(usize::MAX), |_| {
            seen += 1;
            ControlFlow::Continue(())
        });
        assert_eq!(seen, 3);
    }

    #[test]
    fn breaking_off_ends_the_threads() {
        let folder = tempfile::tempdir().unwrap();
        let paths = images(folder.path(), 20);
        let found = prepare(&paths, &[SMALL], Exif::Apply, Extent { threads: 2, window: 4 }, |prepared| {
            if prepared.index == 3 { ControlFlow::Break("enough") } else { ControlFlow::Continue(()) }
        });
        assert_eq!(found, Some("enough"));
        assert_eq!(
            prepare::<_>(&[] as &[PathBuf], &[SMALL], Exif::Apply, Extent { threads: 2, window: 4 }, |_| {
                ControlFlow::Break(())
            }),
            None
        );
    }

    #[test]
    fn the_time_of_each_stage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let time = |side: u32, size: u32| {
            let path = folder.path().join(format!("{side}.png"));
            RgbImage::from_fn(side, side, |x, y| image::Rgb([x as u8, y as u8, (x ^ y) as u8])).save(&path).unwrap();
            let how = Preprocess { resize: size, crop: Crop::Square(size), ..IMAGENET_V1 };
            let mut time = Time::default();
            let _: Option<()> = prepare(&[path], &[how], Exif::Apply, Extent { threads: 1, window: 1 }, |prepared| {
                time.add(prepared.time);
                ControlFlow::Continue(())
            });
            time
        };
        let enlarged = time(8, 2000);
        assert!(enlarged.decode_s > 0.0 && enlarged.resize_s > 5.0 * enlarged.decode_s, "{enlarged:?}");
        let reduced = time(2000, 8);
        assert!(reduced.resize_s > 0.0 && reduced.decode_s > reduced.resize_s, "{reduced:?}");
    }
}
