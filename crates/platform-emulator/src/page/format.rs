//! Formatting of text, times and sizes for HTML pages.

use jiff::fmt::friendly::{Designator, Spacing, SpanPrinter};
use jiff::{SignedDuration, Timestamp};

/// The units of sizes, largest first.
const UNITS: [(u64, &str); 4] = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")];

/// Escapes text for HTML content and for attribute values in double quotes.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '&' => escaped += "&amp;",
            '"' => escaped += "&quot;",
            other => escaped.push(other),
        }
    }
    escaped
}

/// Returns a `time` element with a relative time, such as "3 minutes ago". Its tooltip is the exact time.
pub(crate) fn time_ago(then: Timestamp, now: Timestamp) -> String {
    let elapsed = now.duration_since(then);
    let text = match elapsed.as_secs() {
        // `then` is in the future if the clock was moved back.
        ..0 => exact_time(then),
        0..5 => "just now".to_owned(),
        _ => format!("{} ago", format_duration(elapsed)),
    };
    let text = if elapsed > SignedDuration::from_hours(7 * 24) { exact_time(then) } else { text };
    format!(r#"<time datetime="{then}" title="{}">{text}</time>"#, exact_time(then))
}

/// Returns a time such as "30 Nov 2026, 14:18 UTC".
pub(crate) fn exact_time(time: Timestamp) -> String {
    time.strftime("%-d %b %Y, %H:%M UTC").to_string()
}

/// Returns a duration in its largest unit, such as "3 minutes".
pub(crate) fn format_duration(duration: SignedDuration) -> String {
    let printer = SpanPrinter::new().designator(Designator::Verbose).spacing(Spacing::BetweenUnitsAndDesignators);
    let (seconds, span) = (duration.as_secs().max(0), jiff::Span::new());
    if seconds == 0 {
        return "less than a second".to_owned();
    }
    let span = match seconds {
        1..60 => span.try_seconds(seconds),
        60..3600 => span.try_minutes(seconds / 60),
        3600..86_400 => span.try_hours(seconds / 3600),
        _ => span.try_days(seconds / 86_400),
    };
    span.map(|span| printer.span_to_string(&span)).unwrap_or_default()
}

/// Returns a size such as "1.2 MB".
pub(crate) fn format_size(bytes: u64) -> String {
    let Some((unit, name)) = UNITS.iter().find(|(unit, _)| bytes >= *unit) else { return format!("{bytes} B") };
    let tenths = bytes / (unit / 10);
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

/// Returns a number with its noun, such as "1 item" and "2 items".
pub(crate) fn count_with_noun(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_in_their_largest_unit() {
        let sizes = [0, 999, 1000, 1_250_000, 999_999_999, 1_000_000_000, u64::MAX].map(format_size);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "1.2 MB", "999.9 MB", "1.0 GB", "18446744.0 TB"]);
        let durations =
            [-5, 0, 1, 59, 60, 3599, 7200, 86_400].map(|seconds| format_duration(SignedDuration::from_secs(seconds)));
        let expected = [
            "less than a second",
            "less than a second",
            "1 second",
            "59 seconds",
            "1 minute",
            "59 minutes",
            "2 hours",
            "1 day",
        ];
        assert_eq!(durations, expected);
        assert_eq!(
            [count_with_noun(0, "run"), count_with_noun(1, "run"), count_with_noun(2, "run")],
            ["0 runs", "1 run", "2 runs"]
        );
    }

    #[test]
    fn recent_times_are_relative_and_have_the_exact_time_as_title() {
        let now: Timestamp = "2026-11-30T14:18:05Z".parse().unwrap();
        let at = |seconds| time_ago(now - SignedDuration::from_secs(seconds), now);
        assert_eq!(
            at(120),
            r#"<time datetime="2026-11-30T14:16:05Z" title="30 Nov 2026, 14:16 UTC">2 minutes ago</time>"#
        );
        assert!(at(4).contains(">just now<"), "{}", at(4));
        assert!(at(-60).contains(">30 Nov 2026, 14:19 UTC<"), "{}", at(-60));
        assert!(at(30 * 86_400).contains(">31 Oct 2026, 14:18 UTC<"), "{}", at(30 * 86_400));
    }
}
