//! Memory that threads which decode images share: each takes what its image needs before it begins, and waits while the
//! others hold too much. So images of any size go through in any number, and as many at once as there is memory for.

use std::sync::{Condvar, Mutex, PoisonError};

/// Bytes that are taken in turns.
#[derive(Debug, Default)]
pub(crate) struct Share {
    taken: Mutex<u64>,
    freed: Condvar,
}

/// Bytes taken, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Taken<'s> {
    of: &'s Share,
    bytes: u64,
}

impl Share {
    /// Nothing taken.
    pub(crate) const fn new() -> Share {
        Share { taken: Mutex::new(0), freed: Condvar::new() }
    }

    /// Waits until `bytes` more are within `limit`; what is more than that by itself gets its turn alone.
    pub(crate) fn take(&self, bytes: u64, limit: u64) -> Taken<'_> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = |taken: &mut u64| *taken > 0 && taken.saturating_add(bytes) > limit;
        let mut taken = self.freed.wait_while(taken, wait).unwrap_or_else(PoisonError::into_inner);
        *taken = taken.saturating_add(bytes);
        Taken { of: self, bytes }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.of.taken.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
        self.of.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn never_more_than_the_limit_is_taken_at_once_and_nobody_waits_for_ever() {
        let (share, held, most) = (Share::new(), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..8u64 {
                let (share, held, most) = (&share, &held, &most);
                scope.spawn(move || {
                    for turn in 0..200 {
                        let bytes = 1 + (thread * 7 + turn * 3) % 10;
                        let taken = share.take(bytes, 12);
                        most.fetch_max(held.fetch_add(bytes, Ordering::SeqCst) + bytes, Ordering::SeqCst);
                        std::thread::yield_now();
                        held.fetch_sub(bytes, Ordering::SeqCst);
                        drop(taken);
                    }
                });
            }
        });
        let most = most.into_inner();
        assert!((2..=12).contains(&most), "{most}");
        drop(share.take(1000, 12));
        assert_eq!(*share.taken.lock().unwrap(), 0);
    }
}
