//! The locks and threads of a source. The unit tests run it under a scheduler that explores interleavings; the integration
//! tests run it without.

pub(crate) use std::sync::PoisonError;
#[cfg(not(test))]
pub(crate) use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

#[cfg(test)]
pub(crate) use shuttle::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
