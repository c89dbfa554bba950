//! Tests of the built `aignostics` command, end to end.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod api;
mod applications;
mod browser;
mod bucket;
mod bucket_copy;
mod bucket_tools;
mod cancel;
mod clocks;
mod command;
#[cfg(target_os = "linux")]
mod completions;
mod conformance;
mod credential_commands;
mod credentials;
mod demo;
mod emulator;
mod emulator_durability;
mod emulator_options;
mod emulator_tls;
mod execute;
mod exit_codes;
mod external_issuer;
mod failures;
#[cfg(target_os = "linux")]
mod file_systems;
mod from_bucket;
mod full_disk;
mod guides;
mod help_pages;
mod interrupted_creations;
mod interruption;
#[cfg(target_os = "linux")]
mod kills;
mod login;
mod machine;
mod mcp;
mod mcp_clients;
mod mcp_confirmation;
mod metadata;
mod outages;
mod prepare;
mod private_networks;
mod profiles;
mod refresh;
mod results;
mod runs;
mod sharing;
mod shell;
mod slide_files;
mod slides;
mod stores;
mod stores_killed;
mod study;
mod study_lookup;
mod submission;
mod sync;
mod sync_faults;
mod sync_outages;
mod sync_stores;
mod system;
mod tables;
mod timeouts;
mod transfers;
mod upgrade;
mod uploads;
mod watch;

#[path = "../support/aging.rs"]
mod aging;
#[cfg(target_os = "linux")]
#[path = "../support/authority.rs"]
mod authority;
#[path = "../support/dicom.rs"]
mod dicom;
#[path = "../support/needs.rs"]
mod needs;
#[path = "../support/packages.rs"]
mod packages;
#[cfg(target_os = "linux")]
#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/proxy.rs"]
mod process;
#[cfg(target_os = "linux")]
#[path = "../support/proxy_program.rs"]
mod program;
#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/provider.rs"]
mod provider;
#[path = "../support/reference.rs"]
mod reference;
#[path = "../support/store_servers.rs"]
mod store_servers;
#[cfg(target_os = "linux")]
#[path = "../support/tls.rs"]
mod tls;
#[cfg(target_os = "linux")]
#[path = "../support/traced.rs"]
mod traced;
#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/user.rs"]
mod user;
#[path = "../support/webdriver.rs"]
mod webdriver;
