//! The locks and threads of a source. In unit tests, they come from `shuttle`, whose scheduler explores interleavings.
//! Otherwise, they come from the standard library.

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
