//! Tests of the built `aignostics` command, end to end.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod api;
mod browser;
mod bucket;
mod cancelling;
mod catalogue;
mod clocks;
mod command;
#[cfg(target_os = "linux")]
mod completions;
mod conformance;
mod creations;
mod credential_commands;
mod credentials;
mod demo;
mod disk;
mod durability;
mod emulator;
mod emulator_options;
mod emulator_tls;
mod execute;
mod failures;
mod guides;
mod interrupt;
#[cfg(target_os = "linux")]
mod kills;
mod login;
mod machine;
mod metadata;
#[cfg(target_os = "linux")]
mod mounts;
mod networks;
mod other_provider;
mod outages;
mod pages;
mod prepare;
mod profiles;
mod refresh;
mod results;
mod runs;
mod sharing;
mod shell;
mod slide_files;
mod slides;
mod statuses;
mod study;
mod study_lookup;
mod submission;
mod system;
mod tables;
mod timeouts;
mod transfers;
mod uploads;
mod watching;

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
