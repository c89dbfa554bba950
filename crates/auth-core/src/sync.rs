//! What the blocking source is synchronised with. The unit tests run it under a scheduler that tries
//! many interleavings; those of the asynchronous source are integration tests, without it.

#[cfg(not(test))]
pub(crate) use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

#[cfg(test)]
pub(crate) use shuttle::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
#[cfg(test)]
pub(crate) use std::sync::PoisonError;
