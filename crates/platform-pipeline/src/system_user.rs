/// Returns the name of a bucket folder for the user of this process: the name of the system user or, if no environment
/// variable contains it, as in many containers, the user id.
pub fn system_user() -> String {
    let names = ["USER", "LOGNAME", "USERNAME"];
    let user = names.into_iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    user.map_or_else(unnamed_user, |user| user.replace(['/', '\\'], "_"))
}

#[cfg(unix)]
fn unnamed_user() -> String {
    format!("uid-{}", rustix::process::getuid().as_raw())
}

#[cfg(not(unix))]
fn unnamed_user() -> String {
    "user".to_owned()
}
