//! Detection of machines on which the user cannot see a browser.

use std::path::Path;

/// Returns the reason why the user cannot see a browser that this process opens, or `None` if no such reason is known.
pub fn headless_reason() -> Option<&'static str> {
    find_reason(
        |name| std::env::var_os(name).is_some_and(|value| !value.is_empty()),
        |path| Path::new(path).exists(),
        cfg!(all(unix, not(target_os = "macos"))),
    )
}

fn find_reason(
    is_set: impl Fn(&str) -> bool,
    exists: impl Fn(&str) -> bool,
    needs_display: bool,
) -> Option<&'static str> {
    if is_set("SSH_CONNECTION") || is_set("SSH_TTY") {
        return Some("this is a session over SSH");
    }
    if is_set("WSL_DISTRO_NAME") || is_set("WSL_INTEROP") {
        return Some("this is WSL, which the browser of Windows cannot always reach");
    }
    if ["/.dockerenv", "/run/.containerenv"].into_iter().any(&exists) || is_set("KUBERNETES_SERVICE_HOST") {
        return Some("this is a container");
    }
    if needs_display && !is_set("DISPLAY") && !is_set("WAYLAND_DISPLAY") {
        return Some("no display is available");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headless_machine_is_detected_by_variables_and_files() {
        for (set_variables, files, needs_display, expected) in [
            (&["DISPLAY"][..], &[][..], true, None),
            (&["WAYLAND_DISPLAY"], &[], true, None),
            (&[], &[], false, None),
            (&[], &[], true, Some("display")),
            (&["DISPLAY", "SSH_CONNECTION"], &[], true, Some("SSH")),
            (&["SSH_TTY"], &[], false, Some("SSH")),
            (&["DISPLAY", "WSL_DISTRO_NAME"], &[], true, Some("WSL")),
            (&["DISPLAY"], &["/.dockerenv"], true, Some("container")),
            (&["DISPLAY"], &["/run/.containerenv"], true, Some("container")),
            (&["DISPLAY", "KUBERNETES_SERVICE_HOST"], &[], true, Some("container")),
        ] {
            let reason = find_reason(|name| set_variables.contains(&name), |path| files.contains(&path), needs_display);
            assert_eq!(reason.is_some(), expected.is_some(), "{set_variables:?} {files:?}: {reason:?}");
            assert!(reason.unwrap_or_default().contains(expected.unwrap_or_default()), "{reason:?}");
        }
    }
}
