//! `WWW-Authenticate` (RFC 9110, sections 11.2 to 11.6).
//!
//! A comma separates challenges, and also the parameters of one challenge. The text after the comma decides between the two: a name
//! followed by `=` is another parameter, and anything else is the next challenge. Parsing ends at invalid text; the
//! challenges before it are returned.

/// An authentication challenge of a server.
///
/// ```
/// use auth_core::Challenge;
///
/// let challenges = Challenge::parse(r#"Bearer realm="api", error="invalid_token", Negotiate dG9rZW4="#);
/// assert_eq!(challenges[0].parameter("error"), Some("invalid_token"));
/// assert_eq!(challenges[1].token68(), Some("dG9rZW4="));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    scheme: String,
    token68: Option<String>,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// Parses all challenges of one header. Invalid text ends the list and is not an error.
    pub fn parse(header: &str) -> Vec<Self> {
        let mut reader = Reader(header);
        std::iter::from_fn(|| reader.challenge()).collect()
    }

    /// Returns the scheme as sent by the server. Schemes are case-insensitive.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Returns true if the scheme is `scheme`, ignoring case.
    pub fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// Returns the value that some schemes, such as `Negotiate`, have instead of parameters (`token68`; RFC 9110,
    /// section 11.2).
    pub fn token68(&self) -> Option<&str> {
        self.token68.as_deref()
    }

    /// Returns the value of the first parameter with this name, ignoring case. Quotes and escapes are removed.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// The remaining text of a header.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    fn challenge(&mut self) -> Option<Challenge> {
        self.skip([' ', '\t', ',']);
        let scheme = self.token()?.to_owned();
        let mut challenge = Challenge { scheme, token68: None, parameters: Vec::new() };
        if self.skip([' ', '\t']) == 0 {
            return self.at_end_of_element().then_some(challenge);
        }
        if let Some(token68) = self.attempt(Self::token68) {
            challenge.token68 = Some(token68.to_owned());
            return Some(challenge);
        }
        while let Some(parameter) = self.attempt(Self::parameter) {
            challenge.parameters.push(parameter);
            let mut ahead = *self;
            ahead.skip([' ', '\t', ',']);
            if ahead.attempt(Self::parameter).is_none() {
                break;
            }
            self.skip([' ', '\t', ',']);
        }
        Some(challenge)
    }

    /// Parses a `token68`, which must be followed by a comma or the end of the header: `abc==`, but not `abc=def`.
    fn token68(&mut self) -> Option<&'a str> {
        let start = self.0;
        let body = self.take(|character| character.is_ascii_alphanumeric() || "-._~+/".contains(character));
        let padding = self.take(|character| character == '=');
        self.skip([' ', '\t']);
        let found = &start[..body.len() + padding.len()];
        (!body.is_empty() && self.at_end_of_element()).then_some(found)
    }

    fn parameter(&mut self) -> Option<(String, String)> {
        let name = self.token()?;
        self.skip([' ', '\t']);
        self.0 = self.0.strip_prefix('=')?;
        self.skip([' ', '\t']);
        let value = if self.0.starts_with('"') { self.quoted()? } else { self.token()?.to_owned() };
        self.skip([' ', '\t']);
        self.at_end_of_element().then(|| (name.to_owned(), value))
    }

    /// Parses a quoted string with backslash escapes.
    fn quoted(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut characters = self.0.char_indices().skip(1);
        loop {
            match characters.next()? {
                (end, '"') => {
                    self.0 = &self.0[end + 1..];
                    return Some(text);
                }
                (_, '\\') => text.push(characters.next()?.1),
                (_, character) => text.push(character),
            }
        }
    }

    fn token(&mut self) -> Option<&'a str> {
        let token = self.take(|character| character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character));
        (!token.is_empty()).then_some(token)
    }

    fn take(&mut self, matches: impl Fn(char) -> bool) -> &'a str {
        let (taken, rest) = self.0.split_at(self.0.find(|character| !matches(character)).unwrap_or(self.0.len()));
        self.0 = rest;
        taken
    }

    fn skip<const N: usize>(&mut self, characters: [char; N]) -> usize {
        self.take(|character| characters.contains(&character)).len()
    }

    fn at_end_of_element(&self) -> bool {
        self.0.is_empty() || self.0.starts_with(',')
    }

    /// Parses with `read`. If that returns `None`, the position is unchanged.
    fn attempt<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let mut ahead = *self;
        let found = read(&mut ahead);
        if found.is_some() {
            *self = ahead;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the challenges of a header in a canonical form.
    fn parsed(header: &str) -> Vec<String> {
        let write = |challenge: &Challenge| {
            let parameters: Vec<_> =
                challenge.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!(
                "{} {}[{}]",
                challenge.scheme,
                challenge.token68.as_deref().unwrap_or_default(),
                parameters.join(";")
            )
        };
        Challenge::parse(header).iter().map(write).collect()
    }

    #[test]
    fn several_challenges_in_one_header_are_parsed() {
        for (header, expected) in [
            ("Bearer", vec!["Bearer []"]),
            (r#"Bearer realm="a", error=invalid_token"#, vec!["Bearer [realm=a;error=invalid_token]"]),
            (
                r#"Basic realm="a", Bearer realm="b", scope="x y""#,
                vec!["Basic [realm=a]", "Bearer [realm=b;scope=x y]"],
            ),
            ("Negotiate, NTLM, Basic realm=x", vec!["Negotiate []", "NTLM []", "Basic [realm=x]"]),
            ("Negotiate dG9rZW4=, Bearer realm=x", vec!["Negotiate dG9rZW4=[]", "Bearer [realm=x]"]),
            ("Negotiate a==", vec!["Negotiate a==[]"]),
            (
                r#"Newauth realm="apps", type=1, title="Login to \"apps\"", Basic realm="simple""#,
                vec![r#"Newauth [realm=apps;type=1;title=Login to "apps"]"#, "Basic [realm=simple]"],
            ),
            (r#" , ,Bearer  realm = "a" ,, error="b" , Digest , "#, vec!["Bearer [realm=a;error=b]", "Digest []"]),
            (r#"Bearer realm="a, Basic realm=\"b\"""#, vec![r#"Bearer [realm=a, Basic realm="b"]"#]),
            (r#"Bearer realm="never closed, Basic realm=x"#, vec!["Bearer []"]),
            ("Bearer realm=", vec!["Bearer realm=[]"]),
            ("=, Bearer", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(parsed(header), expected, "{header}");
        }
    }

    #[test]
    fn schemes_and_parameter_names_ignore_case() {
        let challenge = &Challenge::parse("BEARER Error=a, ERROR=b")[0];
        assert!(challenge.is("bearer") && challenge.parameter("error") == Some("a"));
        assert_eq!((challenge.scheme(), challenge.parameter("realm")), ("BEARER", None));
    }

    proptest! {
        #[test]
        fn parser_accepts_any_header(header in any::<String>()) {
            prop_assert!(Challenge::parse(&header).len() <= header.len());
        }

        #[test]
        fn written_challenges_round_trip(values in prop::collection::vec(any::<String>(), 1..4)) {
            let quote = |value: &String| format!("\"{}\"", value.replace('\\', r"\\").replace('"', r#"\""#));
            let written: Vec<_> = values.iter().map(|value| format!("Scheme a={0}, b={0}", quote(value))).collect();
            let read = Challenge::parse(&written.join(", "));
            prop_assert_eq!(read.len(), values.len());
            for (challenge, value) in read.iter().zip(&values) {
                prop_assert_eq!(challenge.parameter("a"), Some(value.as_str()));
                prop_assert_eq!(challenge.parameter("b"), Some(value.as_str()));
            }
        }
    }
}
