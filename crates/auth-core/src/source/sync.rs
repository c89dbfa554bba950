//! The locks and threads of a source. Unit tests run them under a scheduler that explores interleavings; integration
//! tests use the real ones.

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
