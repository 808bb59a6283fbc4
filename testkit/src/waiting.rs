//! Awaiting a change of shared state: a mutex with a bell, so that no test sleeps and hopes.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;

/// A value that tasks change and tests wait for.
#[derive(Debug, Default)]
pub(crate) struct Watched<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T> Watched<T> {
    /// Reads the value; a panic of another test thread does not hide it.
    pub(crate) fn read(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Changes the value and wakes everybody who waits.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.read());
        self.changed.notify_waiters();
        result
    }

    /// Waits until `probe` yields something; `None` when the time is over.
    pub(crate) async fn wait_for<R>(&self, timeout: Duration, mut probe: impl FnMut(&T) -> Option<R>) -> Option<R> {
        let wait = async {
            loop {
                let mut changed = std::pin::pin!(self.changed.notified());
                // Registered before the look, so that a change between look and wait is not missed.
                changed.as_mut().enable();
                let found = probe(&self.read());
                match found {
                    Some(found) => return found,
                    None => changed.await,
                }
            }
        };
        tokio::time::timeout(timeout, wait).await.ok()
    }
}
