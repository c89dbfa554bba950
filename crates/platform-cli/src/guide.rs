//! Exit codes, environment variables, examples and groups for the help.

use terminal::Guide;

use crate::examples::EXAMPLES;

pub(crate) const GUIDE: Guide = Guide {
    program: "aignostics",
    exit_codes: EXIT_CODES,
    variables: VARIABLES,
    examples: EXAMPLES,
    aliases: &[("application run", "run")],
    grouped: ("run", RUN_GROUPS),
};

const EXIT_CODES: &[(&str, &str)] = &[
    ("0", "success"),
    ("1", "failure"),
    ("2", "invalid usage or input, not found, or unhealthy"),
    ("3", "conflict"),
    ("4", "login required or permission denied"),
    ("5", "quota exceeded"),
    ("6", "some items or artifacts failed"),
    ("7", "unusable slides stopped `run execute` before the submission"),
    ("130", "interrupted"),
    ("143", "terminated"),
];

/// The most important environment variables. `docs/settings.md` has all of them.
const VARIABLES: &[(&str, &str)] = &[
    ("AIGNOSTICS_API_ROOT", "Address of the platform"),
    ("AIGNOSTICS_PROFILE", "Name of the profile to use"),
    ("AIGNOSTICS_ACCESS_TOKEN_FILE", "File with the access token to use"),
    ("AIGNOSTICS_TOKEN_COMMAND", "Command that prints the access token to use"),
    ("AIGNOSTICS_REFRESH_TOKEN", "Refresh token to use instead of a login"),
    ("AIGNOSTICS_MCP_TOKEN", "Token that clients of `mcp serve --http` need"),
    ("AIGNOSTICS_SHARE_TOKEN", "Secret of a share token, for commands that read a run"),
    ("AIGNOSTICS_CACHE_DIR", "Folder for logins"),
    ("AIGNOSTICS_STATE_DIR", "Folder for the journals of submissions and uploads"),
    ("AIGNOSTICS_RETRY_FOR", "Maximum duration of an outage before a request fails, in seconds"),
    ("HTTPS_PROXY, HTTP_PROXY, NO_PROXY", "Proxies, and the hosts to reach without them"),
    ("NO_COLOR", "Disables colors"),
];

/// The groups of the subcommands of `run`.
const RUN_GROUPS: &[(&str, &[&str])] = &[
    ("Prepare and submit", &["prepare", "upload", "validate", "submit", "execute"]),
    ("Follow", &["wait", "watch"]),
    ("Results", &["download", "sync", "verify", "forget", "clean", "result"]),
    (
        "Manage",
        &[
            "list",
            "describe",
            "cancel",
            "cancel-by-filter",
            "dump-metadata",
            "dump-item-metadata",
            "update-metadata",
            "update-item-metadata",
        ],
    ),
    ("Share", &["share"]),
];

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_has_accepted_examples_and_a_group() {
        let problems = GUIDE.problems(&crate::Arguments::command(), |word| match word {
            "RUN" | "ID" => "0c9a1e0e-6b0c-4c52-9a0e-2f5a7c1d0b11",
            word => word,
        });
        assert!(problems.is_empty(), "{problems:#?}");
    }
}
