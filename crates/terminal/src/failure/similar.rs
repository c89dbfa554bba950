/// The maximum number of names that an error lists.
pub const MAX_NAMES: usize = 20;

/// The similarity (Jaro-Winkler, 0 to 1) above which a name is suggested.
const MIN_SIMILARITY: f64 = 0.8;

/// Returns lines for the error about a name that does not exist, `unknown`: the most similar name, then up to 20
/// existing names.
pub fn similar(unknown: &str, existing: &[String]) -> Vec<String> {
    if existing.is_empty() {
        return vec!["nothing exists".to_owned()];
    }
    let similar = existing.iter().map(|name| (strsim::jaro_winkler(unknown, name), name));
    let similar =
        similar.filter(|(similarity, _)| *similarity > MIN_SIMILARITY).max_by(|left, right| left.0.total_cmp(&right.0));
    let similar = similar.map(|(_, name)| format!("did you mean '{name}'?"));
    let lines = existing.iter().take(MAX_NAMES).map(|name| format!("exists: {name}"));
    similar.into_iter().chain(lines).chain((existing.len() > MAX_NAMES).then(|| "and more".to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_name_comes_first_and_the_others_are_limited() {
        assert_eq!(similar("a", &[]), ["nothing exists"]);
        let names = ["he-tme", "other"].map(str::to_owned);
        assert_eq!(similar("he-tm", &names), ["did you mean 'he-tme'?", "exists: he-tme", "exists: other"]);
        let many: Vec<_> = (0..30).map(|number| format!("name-{number}")).collect();
        let lines = similar("x", &many);
        assert_eq!((lines.len(), lines.last().unwrap().as_str()), (21, "and more"));
    }
}
