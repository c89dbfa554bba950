use std::future::Future;

use futures_util::stream::{self, Stream, TryStreamExt};
use platform_api::ApiError;

use crate::Error;

/// How many entries are asked for at a time: the most that the platform gives.
pub(crate) const SIZE: i64 = 100;

/// All entries of a list, page after page. A page that is not full is the last; a page beyond the
/// end may be answered with 404. An error is an error, never the end.
pub(crate) fn all<T, F, Answer>(fetch: F) -> impl Stream<Item = Result<T, Error>>
where
    F: Fn(i64) -> Answer,
    Answer: Future<Output = Result<Vec<T>, ApiError>>,
{
    let pages = stream::try_unfold((Some(1), fetch), |(page, fetch)| async move {
        let Some(page) = page else { return Ok(None) };
        let entries = match fetch(page).await {
            Err(error) if error.is_not_found() && page > 1 => return Ok(None),
            answer => answer?,
        };
        let full = i64::try_from(entries.len()).is_ok_and(|count| count >= SIZE);
        let next = full.then_some(page + 1);
        Ok::<_, Error>(Some((stream::iter(entries.into_iter().map(Ok)), (next, fetch))))
    });
    pages.try_flatten()
}
