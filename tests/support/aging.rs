//! Shifts the times in stored logins, as if time had passed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use auth_core::{Clock, SystemClock};
use serde_json::Value;

const NANOS: i128 = 1_000_000_000;

/// Returns the files with tokens in a cache folder.
pub(crate) fn logins(cache: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(cache.join("logins")).unwrap().map(|file| file.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|extension| extension == "json")).collect()
}

/// Shifts all times in the stored logins, so that each access token expires in `milliseconds`. With a negative value,
/// it has already expired. The server still accepts the token. No process may use the login at the same time.
pub(crate) fn expire_in(cache: &Path, milliseconds: i64) {
    for file in logins(cache) {
        let mut login: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let mut latest = 0;
        each_timestamp(&mut login, &mut |moment| latest = latest.max(*moment));
        let now = SystemClock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
        let shift = i128::try_from(now).unwrap() + i128::from(milliseconds) * (NANOS / 1000) - latest;
        each_timestamp(&mut login, &mut |moment| *moment += shift);
        // The file is overwritten in place, so that it keeps its owner and its mode.
        fs::write(&file, login.to_string()).unwrap();
    }
}

/// Calls `change` for each time, in nanoseconds since 1970.
fn each_timestamp(value: &mut Value, change: &mut impl FnMut(&mut i128)) {
    match value {
        Value::Object(fields) => {
            let part = |name: &str| fields.get(name).and_then(Value::as_i64).map(i128::from);
            if let (Some(seconds), Some(nanos)) = (part("secs_since_epoch"), part("nanos_since_epoch")) {
                let mut moment = seconds * NANOS + nanos;
                change(&mut moment);
                let part = |number: i128| Value::from(i64::try_from(number).unwrap());
                fields.insert("secs_since_epoch".to_owned(), part(moment.div_euclid(NANOS)));
                fields.insert("nanos_since_epoch".to_owned(), part(moment.rem_euclid(NANOS)));
                return;
            }
            fields.values_mut().for_each(|field| each_timestamp(field, change));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| each_timestamp(value, change)),
        _ => {}
    }
}
