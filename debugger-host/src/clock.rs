//! Dates and times of day, in UTC, for messages of scripts and for recordings. Called by
//! [`crate::session`] and [`crate::answer`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, as so long after the beginning of 1970.
#[must_use]
pub(crate) fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// `2026-11-22` and `22:28:12.345`, so long after the beginning of 1970.
#[must_use]
pub(crate) fn date_and_time(since: Duration) -> (String, String) {
    (date(since), time(since))
}

/// `2026-11-22T22:28:12.345678Z`.
#[must_use]
pub(crate) fn instant(since: Duration) -> String {
    let (date, time) = date_and_time(since);
    format!("{date}T{time}{:03}Z", since.subsec_micros() % 1000)
}

/// The Gregorian date, by the days of 400-year eras that begin on a first of March.
fn date(since: Duration) -> String {
    let days = since.as_secs() / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

fn time(since: Duration) -> String {
    let seconds = since.as_secs() % 86_400;
    format!(
        "{:02}:{:02}:{:02}.{:03}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        since.subsec_millis()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_over_leap_years() {
        for (seconds, text) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_735_689_599, "2024-12-31"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(date(Duration::from_secs(seconds)), text);
        }
        assert_eq!(time(Duration::from_millis(86_399_007)), "23:59:59.007");
        assert_eq!(
            instant(Duration::from_micros(86_399_007_050)),
            "1970-01-01T23:59:59.007050Z"
        );
    }
}
